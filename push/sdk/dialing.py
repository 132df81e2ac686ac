"""What every client does to reach a server: in which order addresses are tried, and why one failed.

All addresses of a name are raced (RFC 8305). An address that does not answer costs the next one's
head start, not the connection: a name whose first address is dead, a host without IPv6, `localhost`
where only 127.0.0.1 listens.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from itertools import chain, zip_longest
from ssl import SSLCertVerificationError, SSLError

from push.sdk.address import ServerAddress
from push.sdk.errors import CertificateNotYetValid, CertificateUntrusted

HEAD_START_SECONDS = 0.25  # RFC 8305, "Connection Attempt Delay"
CLOSE_SECONDS = 2.0  # how long a peer may take to let a connection close
_NOT_YET_VALID = 9  # X509_V_ERR_CERT_NOT_YET_VALID

# The last: of a Python that was built without IPv6.
SocketAddress = tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]


@dataclass(frozen=True, slots=True)
class Address:
    """One address of a server's name, as the socket module wants it."""

    family: int
    sockaddr: SocketAddress


class AddressOrder:
    """Last, where a connection came to nothing: a proxy may accept for a server that is down."""

    def __init__(self) -> None:
        self._avoided: set[Address] = set()

    def sorted(self, addresses: list[Address]) -> list[Address]:
        if self._avoided.issuperset(addresses):
            self._avoided.clear()
        return sorted(addresses, key=self._avoided.__contains__)

    def met(self, address: Address, *, served: bool) -> None:
        """Whether a session was opened at `address`."""
        if served:
            self._avoided.clear()
        else:
            self._avoided.add(address)


def literal_address(server: ServerAddress) -> Address | None:
    """The address of a server that is named by one: nothing is to be looked up."""
    try:
        version = ip_address(server.host).version
    except ValueError:
        return None
    if "%" in server.host:
        return None
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    return Address(family, (server.host, server.port))


def in_turns(found: Iterable[tuple[int, SocketAddress]]) -> list[Address]:
    """The addresses of a name, as `getaddrinfo` gives them; the families take turns."""
    addresses = list(dict.fromkeys(Address(family, to) for family, to in found))
    first = [address for address in addresses if address.family == addresses[0].family]
    others = [address for address in addresses if address.family != addresses[0].family]
    turns = chain.from_iterable(zip_longest(first, others))
    return [address for address in turns if address is not None]


def certificate_error(
    server: ServerAddress, error: SSLCertVerificationError
) -> CertificateUntrusted:
    kind = CertificateUntrusted
    if error.verify_code == _NOT_YET_VALID:
        kind = CertificateNotYetValid
    return kind(f"{server}: {error.verify_message}")


def not_resolved(server: ServerAddress, seconds: float) -> str:
    return f"{server}: the name was not resolved in {seconds:g} s"


def no_connection(server: ServerAddress, failures: Iterable[str]) -> str:
    return f"{server}: {'; '.join(dict.fromkeys(failures)) or 'no address'}"


def explain(error: BaseException, seconds: float | None = None) -> str:
    """For people: asyncio says only "Connect call failed", once for each address of a name."""
    if isinstance(error, SSLError):
        return f"TLS: {error.reason or error}"
    if isinstance(error, TimeoutError) and error.errno is None and seconds is not None:
        return f"no connection within {seconds:g} s"
    numbers = set(re.findall(r"\[Errno (\d+)\]", str(error)))
    if len(numbers) == 1:
        return os.strerror(int(numbers.pop()))
    text = error.strerror if isinstance(error, OSError) else str(error)
    return text or str(error) or type(error).__name__
