"""The demo is for this machine, or for anybody over TLS; and never for pages of other sites.

The routes act without an API key. So what a key usually keeps out is kept out here:

* other machines, by the address and the way of the request;
* pages of other sites that a browser on this machine has open, by `Origin`. Besides, each route
  that does something takes a body in JSON, which such a page cannot send;
* names of other sites that were made to lead here, by `Host`.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from push.http.framework.client_address import HttpCaller
from push.wire.addresses import HostPort, is_loopback
from push.wire.errors import RequestError


def admit(caller: HttpCaller) -> None:
    """Raises `RequestError` `forbidden` for a caller who may not use the demo."""
    if caller.origin is not None and not _is_own(caller.origin, caller.host):
        raise RequestError("forbidden", "the demo answers its own page only")
    if caller.is_secure:
        return
    if not caller.is_near:
        raise RequestError(
            "forbidden", "the demo answers on the machine that it runs on, or over TLS"
        )
    if not _is_loopback_host(caller.host):
        raise RequestError("forbidden", "without TLS, open the demo as 127.0.0.1 or localhost")


def _is_own(origin: str, host: str) -> bool:
    try:
        return urlsplit(origin).netloc.lower() == host.lower() != ""
    except ValueError:
        return False


def _is_loopback_host(host: str) -> bool:
    try:
        name = HostPort.parse(host, 80).host
    except ValueError:
        return False
    return is_loopback(name)
