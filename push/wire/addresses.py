"""Hosts, ports and IP addresses as text: one spelling for each, and membership in networks."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import NamedTuple, Self
from urllib.parse import urlsplit

# RFC 6761, and what /etc/hosts of Linux distributions has beside it.
_LOOPBACK_NAMES = ("", "localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback")
# In place of the address of a client that a proxy did not tell: no address, so no ban and no target
# matches it, and limits count all such clients together.
UNKNOWN_IP = "unknown"
_MAPPED = IPv6Network("::ffff:0:0/96")
REDACTED = "redacted"
_HOST_PORT = re.compile(
    r"(?:\[(?P<ipv6>[0-9A-Fa-f:.]+(?:%\w+)?)\]|(?P<name>[^\s:\[\]/,?#@]+))(?::(?P<port>\d{1,5}))?",
    re.ASCII,
)
MAX_PORT = 65_535


def without_secrets(url: str) -> str:
    """`scheme://host:port` of a URL, for logs and their readers.

    Its user and password, its path and its query may be secrets. `REDACTED` for what is no URL.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return REDACTED
    if not parts.scheme or not host:
        return REDACTED
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}" + ("" if port is None else f":{port}")


class HostPort(NamedTuple):
    """A host, without brackets, and a port."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str, default_port: int | None = None) -> Self:
        """Of `host:port` or `[ipv6]:port`; without a port only if there is a default.

        Raises ValueError, which does not quote the text: it may be a part of a password.
        """
        found = _HOST_PORT.fullmatch(text)
        if found is None or (found["port"] is None and default_port is None):
            raise ValueError("expected host:port or [ipv6]:port")
        port = int(found["port"] or default_port or 0)
        if port > MAX_PORT:
            raise ValueError(f"{port} is not a port")
        return cls(found["ipv6"] or found["name"], port)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def plain_ip(text: str) -> str:
    """The usual spelling of an address; an IPv4 client of an IPv6 socket by its IPv4 address.

    Raises ValueError for a text that is not an address. A zone (`fe80::1%eth0`) is refused, too:
    it means something on one host only.
    """
    if "%" in text:
        raise ValueError(f"{text!r} has a zone")
    address = ip_address(text)
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return str(address)


def peer_ip(host: str | None) -> str:
    """What a socket says of its peer, in that spelling; "" when it says nothing (a unix socket)."""
    if not host or ":" not in host:
        return host or ""
    try:
        return plain_ip(host)
    except ValueError:
        return host  # with a zone


def counted_ip(ip: str) -> str:
    """What limits count an address by, for addresses as `peer_ip`: itself, or its IPv6 /64.

    A client that has one address of a /64 has all of them.
    """
    if ":" not in ip:
        return ip
    try:
        ip = plain_ip(ip.partition("%")[0])
        return str(ip_network((ip, 64), strict=False)) if ":" in ip else ip
    except ValueError:
        return ip


def is_loopback(host: str) -> bool:
    """Whether a host of a URL means the machine of the process that uses the URL.

    The unspecified address, where it is connected to, is loopback.
    """
    name = host.strip("[]").rstrip(".").lower()
    if name in _LOOPBACK_NAMES or name.endswith(".localhost"):
        return True
    try:
        address = ip_address(plain_ip(name.partition("%")[0]))
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def is_loopback_listener(host: str) -> bool:
    """Whether only this machine reaches what listens there. All do at the unspecified address."""
    try:
        return ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return is_loopback(host)


@lru_cache(1024)  # of few clients, who send many requests
def is_loopback_peer(ip: str) -> bool:
    """Whether a peer, by its address as `peer_ip`, is on this machine.

    Not so for a peer that is not known: no peer has the unspecified address or a name.
    """
    try:
        return ip == "" or ip_address(ip.partition("%")[0]).is_loopback
    except ValueError:
        return False


def parse_network(text: str) -> IPv4Network | IPv6Network:
    """An address, or a network like `10.0.0.0/8`. Raises ValueError with what is wrong."""
    if "%" in text:
        raise ValueError("a zone (%) is not supported")
    network = ip_network(text)
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
        raise ValueError("write an IPv4 network as such")
    return network


def normal_network(text: str) -> str:
    """An address or network in one spelling for each; a network of one address is that address.

    Raises ValueError with what is wrong.
    """
    if "/" not in text:
        return plain_ip(text)
    network = parse_network(text)
    return str(network[0] if network.num_addresses == 1 else network)


class Networks:
    """A list of networks, which may be empty. `ip in networks`: for addresses as `plain_ip`."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._networks = tuple(parse_network(text) for text in texts)

    def __bool__(self) -> bool:
        return bool(self._networks)

    def __contains__(self, ip: str) -> bool:
        if not self._networks:
            return False  # most servers name no proxies: nothing to read the address for
        try:
            address = ip_address(ip.partition("%")[0])
        except ValueError:
            return False
        return any(address in network for network in self._networks)
