"""Where a request comes from, by which way, and where its client sent it.

The client's address is the peer's, or the one that a trusted proxy names in X-Forwarded-For.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import ip_address
from typing import NamedTuple

from push.http.edge.incoming import HeaderValues, IncomingRequest
from push.wire.addresses import UNKNOWN_IP, Networks, is_loopback_peer, peer_ip, plain_ip

# Some proxies add the port: 192.0.2.7:4711, [2001:db8::7]:4711.
_WITH_PORT = re.compile(r"\[([^\[\]]*)\](?::\d{1,5})?|([^:]*):\d{1,5}", re.ASCII)


class HttpCaller(NamedTuple):
    """Who sent a request, and by which way: for routes that not everybody may use.

    `ip` as in `Request`. `is_near`: on this machine, and no proxy passed the request on.
    `is_secure`: it came over TLS, to this port or to a trusted proxy that says so. `host` and
    `origin` are headers, as they came; `origin` is None where there is none.
    """

    ip: str
    is_near: bool
    is_secure: bool
    host: str
    origin: str | None


def client_of(request: IncomingRequest, proxies: Networks) -> tuple[str, bool]:
    """The client's address, and whether the client is on this machine.

    The address is "" on a unix socket, and `UNKNOWN_IP` where a trusted proxy does not tell it.
    """
    headers = request.requestHeaders
    ip = _peer_ip(request)
    if ip in proxies:
        # Never near, whatever its headers say: a proxy sends requests of others.
        return forwarded_ip(ip, headers.getRawHeaders(b"x-forwarded-for") or (), proxies), False
    return ip, _is_near(ip, headers)


def origin_of(request: IncomingRequest, proxies: Networks) -> str:
    """Scheme, host and port that the client used, as `https://push.example`.

    A trusted proxy, at which TLS may end, passes the header Host on.
    """
    is_secure = request.isSecure()
    if not is_secure and _peer_ip(request) in proxies:
        is_secure = request.getHeader(b"x-forwarded-proto") == b"https"
    host = request.getHeader(b"host")
    if host is None:  # HTTP/1.0
        address = request.getHost()
        name, port = getattr(address, "host", "localhost"), getattr(address, "port", 80)
        host = f"{name}:{port}".encode()
    return f"{'https' if is_secure else 'http'}://{host.decode('ascii', 'replace')}"


def caller_of(request: IncomingRequest, proxies: Networks) -> HttpCaller:
    ip, is_near = client_of(request, proxies)
    is_secure = origin_of(request, proxies).startswith("https:")
    host, origin = request.getHeader(b"host"), request.getHeader(b"origin")
    return HttpCaller(
        ip,
        is_near,
        is_secure,
        (host or b"").decode("latin-1"),
        None if origin is None else origin.decode("latin-1"),
    )


def _peer_ip(request: IncomingRequest) -> str:
    return peer_ip(getattr(request.getClientAddress(), "host", None))


def forwarded_ip(ip: str, values: Iterable[bytes], proxies: Networks) -> str:
    """The last address that is no trusted proxy, for a request that came from the proxy `ip`.

    Each proxy adds the address of its own client at the end. So entries are believed from the end
    on as long as a trusted proxy wrote them, and an entry that a client wrote itself never is.
    Without an entry, or with one that is no address, the client is not known: it is not the proxy.
    """
    entries = b",".join(values).split(b",")
    for entry in reversed(entries):
        try:
            ip = _entry_ip(entry.decode("ascii").strip(" \t"))
        except ValueError:
            return UNKNOWN_IP
        if ip not in proxies:
            break
    return ip


def _entry_ip(text: str) -> str:
    match = _WITH_PORT.fullmatch(text)
    ip = plain_ip((match[1] or match[2] or "") if match else text)
    if ip_address(ip).is_unspecified:
        raise ValueError(f"{ip} is no client's address")
    return ip


def _is_near(ip: str, headers: HeaderValues) -> bool:
    """Whether the peer is on this machine, and no proxy that passes on a request of others."""
    if headers.hasHeader(b"x-forwarded-for") or headers.hasHeader(b"forwarded"):
        return False
    return is_loopback_peer(ip)
