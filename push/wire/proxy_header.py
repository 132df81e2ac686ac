"""The PROXY protocol: the header by which a load balancer says whose connection it passes on.

Version 1 is a line of text, version 2 is binary (https://www.haproxy.org/download/3.0/doc/
proxy-protocol.txt). A header is refused at its first wrong byte, and before its end if it will be
too long. What follows the addresses in version 2 (TLS details, a checksum) is skipped.

Twisted's own parsers were not used: they want the first 8 or 16 bytes in one piece, take any text
for an address, buffer without a limit and refuse a plain `PROXY UNKNOWN`.
"""

from __future__ import annotations

import re
import struct
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from push.wire.addresses import plain_ip

MAX_V1_BYTES = 107  # of the specification, the line's end included
# Ours: room for what load balancers add to the addresses; the format has 64 KiB.
MAX_V2_BYTES = 4096

V1_START = b"PROXY "
V2_START = b"\r\n\r\n\x00\r\nQUIT\n"
_V2_FIXED_BYTES = 16
_LOCAL, _PROXY = 0, 1
_UNSPECIFIED, _TCP4, _TCP6 = 0x00, 0x11, 0x21
_TCP4_ADDRESSES = struct.Struct("!4s4sHH")
_TCP6_ADDRESSES = struct.Struct("!16s16sHH")
_PORT = re.compile(rb"0|[1-9][0-9]{0,4}")


class BadProxyHeader(ValueError):
    """The bytes are no header, or not one of a TCP connection; the text says why."""


class ProxyHeader(NamedTuple):
    """`size` bytes of header; `source` is the client's address and port.

    No source: the connection is the load balancer's own (a health check), or it does not know.
    """

    size: int
    source: tuple[str, int] | None


def parse_proxy_header(data: bytes) -> ProxyHeader | None:
    """The header that `data` begins with; None while more of it is needed."""
    if data[: len(V2_START)] == V2_START[: len(data)]:
        return _parse_v2(data)
    if data[: len(V1_START)] == V1_START[: len(data)]:
        return _parse_v1(data)
    raise BadProxyHeader("no PROXY header")


def _parse_v1(data: bytes) -> ProxyHeader | None:
    end = data.find(b"\r\n", 0, MAX_V1_BYTES)
    if end < 0:
        if len(data) >= MAX_V1_BYTES:
            raise BadProxyHeader(f"no end of line in {MAX_V1_BYTES} bytes")
        return None
    _, protocol, *fields = data[:end].split(b" ")
    size = end + 2
    if protocol == b"UNKNOWN":
        return ProxyHeader(size, None)
    if protocol not in (b"TCP4", b"TCP6"):
        raise BadProxyHeader("the protocol is none of TCP4, TCP6 and UNKNOWN")
    if len(fields) != 4:
        raise BadProxyHeader("two addresses and two ports are expected")
    source, destination, source_port, destination_port = fields
    ip = _v1_address(source, protocol)
    _v1_address(destination, protocol)
    port = _v1_port(source_port)
    _v1_port(destination_port)
    return ProxyHeader(size, (ip, port))


def _v1_address(text: bytes, protocol: bytes) -> str:
    family = IPv4Address if protocol == b"TCP4" else IPv6Address
    try:
        return plain_ip(str(family(text.decode("ascii"))))
    except ValueError:
        raise BadProxyHeader(f"an address is not one of {protocol.decode()}") from None


def _v1_port(text: bytes) -> int:
    if not _PORT.fullmatch(text) or int(text) > 65535:
        raise BadProxyHeader("a port is not a number up to 65535")
    return int(text)


def _parse_v2(data: bytes) -> ProxyHeader | None:
    if len(data) > 12 and data[12] not in (0x20 | _LOCAL, 0x20 | _PROXY):
        raise BadProxyHeader(f"version and command are {data[12]:#04x}")
    if len(data) < _V2_FIXED_BYTES:
        return None
    command, family = data[12] & 0x0F, data[13]
    size = _V2_FIXED_BYTES + int.from_bytes(data[14:16], "big")
    if size > MAX_V2_BYTES:
        raise BadProxyHeader(f"{size} bytes, more than {MAX_V2_BYTES}")
    if command == _PROXY and family not in (_UNSPECIFIED, _TCP4, _TCP6):
        raise BadProxyHeader(f"the protocol {family:#04x} is not TCP")
    addresses = {_TCP4: _TCP4_ADDRESSES, _TCP6: _TCP6_ADDRESSES}.get(family)
    if command == _LOCAL or addresses is None:
        return ProxyHeader(size, None) if len(data) >= size else None
    if size < _V2_FIXED_BYTES + addresses.size:
        raise BadProxyHeader("it is too short for its addresses")
    if len(data) < size:
        return None
    source, _, port, _ = addresses.unpack_from(data, _V2_FIXED_BYTES)
    ip = str((IPv4Address if family == _TCP4 else IPv6Address)(source))
    return ProxyHeader(size, (plain_ip(ip), port))
