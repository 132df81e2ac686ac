"""Who sent a request, and by which way: for routes that not everybody may use."""

from __future__ import annotations

from typing import Any, NamedTuple

from push.http.framework.client_address import client_of
from push.wire.addresses import Networks, peer_ip


class Caller(NamedTuple):
    """`ip` as in `Request`. `is_near`: on this machine, and no proxy passed the request on.

    `is_secure`: it came over TLS, to this port or to a trusted proxy that says so. `host` and
    `origin` are headers, as they came; `origin` is None where there is none.
    """

    ip: str
    is_near: bool
    is_secure: bool
    host: str
    origin: str | None


def caller_of(request: Any, proxies: Networks) -> Caller:
    ip, is_near = client_of(request, proxies)
    peer = peer_ip(getattr(request.getClientAddress(), "host", None))
    forwarded = request.requestHeaders.getRawHeaders(b"x-forwarded-proto", ())
    is_secure = bool(request.isSecure()) or (
        peer in proxies and [value.strip().lower() for value in forwarded] == [b"https"]
    )
    origin = request.getHeader(b"origin")
    return Caller(
        ip,
        is_near,
        is_secure,
        (request.getHeader(b"host") or b"").decode("latin-1"),
        None if origin is None else origin.decode("latin-1"),
    )
