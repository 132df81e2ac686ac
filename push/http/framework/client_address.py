"""The address of a client: the peer's, or the one that a trusted proxy names in X-Forwarded-For."""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import ip_address
from typing import Any

from twisted.web.http_headers import Headers

from push.wire.addresses import Networks, peer_ip, plain_ip

# Some proxies add the port: 192.0.2.7:4711, [2001:db8::7]:4711.
_WITH_PORT = re.compile(r"\[([^\[\]]*)\](?::\d{1,5})?|([^:]*):\d{1,5}", re.ASCII)


def client_of(request: Any, proxies: Networks) -> tuple[str, bool]:
    """The client's address ("" on a unix socket), and whether the client is on this machine."""
    headers: Headers = request.requestHeaders
    ip = peer_ip(getattr(request.getClientAddress(), "host", None))
    if ip in proxies:
        # Never near, whatever it says: all that a proxy sends comes from somebody else.
        return forwarded_ip(ip, headers.getRawHeaders(b"x-forwarded-for", ()), proxies), False
    return ip, _is_near(ip, headers)


def forwarded_ip(ip: str, values: Iterable[bytes], proxies: Networks) -> str:
    """The last address that is no trusted proxy, for a request that came from the proxy `ip`.

    Each proxy adds the address of its own peer at the end. So entries are believed from the end on
    as long as
    those who wrote them are trusted, and what a client wrote itself never is. An entry that is no
    address ends the search at the proxy that wrote it.
    """
    for entry in reversed(b",".join(values).split(b",")):
        try:
            ip = _entry_ip(entry.decode("ascii").strip(" \t"))
        except ValueError:
            break
        if ip not in proxies:
            break
    return ip


def _entry_ip(text: str) -> str:
    match = _WITH_PORT.fullmatch(text)
    return plain_ip((match[1] or match[2] or "") if match else text)


def _is_near(ip: str, headers: Headers) -> bool:
    """Whether the peer is on this machine, and no proxy that passes on a request of others."""
    if headers.hasHeader(b"x-forwarded-for") or headers.hasHeader(b"forwarded"):
        return False
    try:
        return ip == "" or ip_address(ip).is_loopback
    except ValueError:
        return False
