"""From a server's name to a connection: all addresses of the name, raced (RFC 8305).

An address that does not answer costs the next one's head start, not the connection: a name whose
first address is dead, a host without IPv6, `localhost` where only 127.0.0.1 listens. Every attempt
has its own deadline. Written here because not every event loop has it (uvloop does not).
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from itertools import chain, zip_longest
from ssl import SSLCertVerificationError, SSLContext, SSLError, SSLObject
from typing import Any, TypeVar

from push.sdk.address import ServerAddress
from push.sdk.errors import CertificateNotYetValid, CertificateUntrusted, ConnectionFailed
from push.sdk.tls import check_fingerprint

HEAD_START_SECONDS = 0.25  # RFC 8305, "Connection Attempt Delay"
CLOSE_SECONDS = 2.0  # how long a peer may take to let a connection close
_NOT_YET_VALID = 9  # X509_V_ERR_CERT_NOT_YET_VALID

P = TypeVar("P", bound=asyncio.Protocol)


@dataclass(frozen=True, slots=True)
class Address:
    """One address of a server's name, as the socket module wants it."""

    family: int
    sockaddr: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Dialing:
    """`context` and `fingerprint` matter for `tls://` only. `attempt_seconds`: for the name, for
    each address and for each TLS handshake. `order` says in which order addresses are tried.
    """

    context: SSLContext | None
    fingerprint: bytes | None
    attempt_seconds: float
    order: Callable[[list[Address]], list[Address]]


async def dial(server: ServerAddress, make: Callable[[], P], options: Dialing) -> tuple[P, Address]:
    """Connect, and for TLS judge the certificate before anything is sent.

    Raises `CertificateUntrusted` and `ConnectionFailed`.
    """
    failures: list[str] = []
    addresses = options.order(await _resolve(server, options.attempt_seconds))
    while addresses:
        found = await _first_connected(addresses, options.attempt_seconds, failures)
        if found is None:
            break
        connected, address, addresses = found
        try:
            return await _start(server, make, connected, options), address
        except CertificateUntrusted:
            raise
        except ConnectionFailed as error:  # accepts and says nothing: the next address may do more
            failures.append(str(error))
    raise ConnectionFailed(f"{server}: {'; '.join(dict.fromkeys(failures)) or 'no address'}")


async def _resolve(server: ServerAddress, seconds: float) -> list[Address]:
    """The addresses of the name, the families taking turns."""
    with suppress(ValueError):  # no thread for what needs no look-up
        family = socket.AF_INET if ip_address(server.host).version == 4 else socket.AF_INET6
        if "%" not in server.host:
            return [Address(family, (server.host, server.port))]
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(seconds):
            found = await loop.getaddrinfo(server.host, server.port, type=socket.SOCK_STREAM)
    except TimeoutError:
        raise ConnectionFailed(f"{server}: the name was not resolved in {seconds:g} s") from None
    except (OSError, ValueError) as error:  # ValueError: a host name that cannot be one
        raise ConnectionFailed(f"{server}: {explain(error)}") from None
    addresses = list(dict.fromkeys(Address(family, to) for family, *_, to in found))
    first = [address for address in addresses if address.family == addresses[0].family]
    others = [address for address in addresses if address.family != addresses[0].family]
    turns = chain.from_iterable(zip_longest(first, others))
    return [address for address in turns if address is not None]


async def _first_connected(
    addresses: list[Address], seconds: float, failures: list[str]
) -> tuple[socket.socket, Address, list[Address]] | None:
    """The first socket that connects, and the addresses that have not failed yet; or None.

    What the others failed of is added to `failures`.
    """
    waiting = list(addresses)
    running: dict[asyncio.Task[socket.socket], Address] = {}
    try:
        while waiting or running:
            if waiting:
                address = waiting.pop(0)
                running[asyncio.ensure_future(_connect(address, seconds))] = address
            head_start = HEAD_START_SECONDS if waiting else None
            done, _ = await asyncio.wait(
                running, timeout=head_start, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                if (error := task.exception()) is None:
                    address = running.pop(task)
                    return task.result(), address, [*running.values(), *waiting]
                running.pop(task)
                failures.append(explain(error, seconds))
        return None
    finally:
        for task in running:
            task.cancel()
            task.add_done_callback(_close_unwanted)


def _close_unwanted(attempt: asyncio.Task[socket.socket]) -> None:
    """An attempt that lost the race may have connected in the same turn of the loop."""
    if not attempt.cancelled() and attempt.exception() is None:
        attempt.result().close()


async def _connect(address: Address, seconds: float) -> socket.socket:
    made = socket.socket(address.family, socket.SOCK_STREAM)
    try:
        made.setblocking(False)
        async with asyncio.timeout(seconds):
            await asyncio.get_running_loop().sock_connect(made, address.sockaddr)
    except BaseException:
        made.close()
        raise
    return made


async def _start(
    server: ServerAddress, make: Callable[[], P], connected: socket.socket, options: Dialing
) -> P:
    """TLS and the protocol on a connected socket."""
    seconds = options.attempt_seconds
    secure: dict[str, Any] = {}
    if server.secure:
        secure = {
            "ssl": options.context,
            "server_hostname": server.host,
            "ssl_handshake_timeout": seconds,
            "ssl_shutdown_timeout": CLOSE_SECONDS,
        }
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(seconds):
            transport, protocol = await loop.create_connection(make, sock=connected, **secure)
    except SSLCertVerificationError as error:
        connected.close()
        kind = CertificateUntrusted
        if error.verify_code == _NOT_YET_VALID:
            kind = CertificateNotYetValid
        raise kind(f"{server}: {error.verify_message}") from None
    except (OSError, ValueError) as error:
        connected.close()
        raise ConnectionFailed(explain(error, seconds)) from None
    except BaseException:
        connected.close()
        raise
    if server.secure and options.fingerprint is not None:
        ssl_object: SSLObject = transport.get_extra_info("ssl_object")
        try:
            check_fingerprint(ssl_object.getpeercert(binary_form=True), options.fingerprint)
        except CertificateUntrusted as error:
            transport.abort()
            raise CertificateUntrusted(f"{server}: {error}") from None
    return protocol


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
