"""Who sent a request, and by which way: for routes that not everybody may use."""

from __future__ import annotations

from typing import NamedTuple

from push.http.edge.incoming import IncomingRequest
from push.http.framework.client_address import client_of, origin_of
from push.wire.addresses import Networks


class HttpCaller(NamedTuple):
    """`ip` as in `Request`. `is_near`: on this machine, and no proxy passed the request on.

    `is_secure`: it came over TLS, to this port or to a trusted proxy that says so. `host` and
    `origin` are headers, as they came; `origin` is None where there is none.
    """

    ip: str
    is_near: bool
    is_secure: bool
    host: str
    origin: str | None


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
