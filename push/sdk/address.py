"""Where a device connects to: `tls://host:port` or `tcp://host:port`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from push.sdk.encoding import check_text
from push.sdk.errors import ConfigurationError
from push.wire import defaults
from push.wire.addresses import HostPort

# A host name as the DNS and resolvers take it: labels of up to 63 characters.
_HOST_NAME = re.compile(r"(?=.{1,254}\Z)[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?", re.ASCII)

DEFAULT_PORTS = {"tcp": defaults.TCP_PORT, "tls": defaults.TLS_PORT}


@dataclass(frozen=True, slots=True)
class ServerAddress:
    scheme: str
    host: str
    port: int

    @property
    def secure(self) -> bool:
        return self.scheme == "tls"

    def __str__(self) -> str:
        return f"{self.scheme}://{HostPort(self.host, self.port)}"


def check_host(host: str) -> None:
    """Raises ValueError for what is neither an address nor a name that could be looked up."""
    if ":" in host:
        ip_address(host.partition("%")[0])
        return
    name = host if host.isascii() else host.encode("idna").decode("ascii")
    if not _HOST_NAME.fullmatch(name):
        raise ValueError(f"{host[:100]!r} is no name of a host")


def parse_server(url: str) -> ServerAddress:
    """Raises `ConfigurationError` for anything but `tcp://` and `tls://` with a host."""
    try:
        parts = urlsplit(check_text(url, "server"))
        port = parts.port
        if port == 0:
            raise ValueError("0 is no port to connect to")
        if parts.hostname:
            check_host(parts.hostname)
    except ValueError as error:
        raise ConfigurationError(f"server {url!r}: {error}") from None
    if parts.scheme not in DEFAULT_PORTS:
        raise ConfigurationError(f"server {url!r}: must begin with tls:// or tcp://")
    if not parts.hostname or parts.path not in ("", "/") or parts.query or "@" in parts.netloc:
        raise ConfigurationError(f"server {url!r}: must be {parts.scheme}://host:port")
    return ServerAddress(parts.scheme, parts.hostname, port or DEFAULT_PORTS[parts.scheme])


def usable_servers(urls: Iterable[str], *, plain_allowed: bool) -> list[ServerAddress]:
    """The servers of a list from the network that this client can and may use, in its order."""
    found = []
    for url in urls:
        try:
            server = parse_server(url)
        except ConfigurationError:
            continue  # another carrier, or a server newer than we are
        if server.secure or plain_allowed:
            found.append(server)
    return without_fallback(found)


def without_fallback(servers: Iterable[ServerAddress]) -> list[ServerAddress]:
    """The servers to try of a list: the TLS ones if there is one.

    An attacker that blocks TLS would otherwise get token and secret in clear at the next server.
    """
    known = list(servers)
    return [server for server in known if server.secure] or known
