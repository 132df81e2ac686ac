"""Where events may be sent: what an API key may have sent to must be public.

What a name resolves to is judged by `push.webhooks.resolver`.
"""

from __future__ import annotations

import re
import socket
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
)
from urllib.parse import urlsplit

from push.wire.addresses import REDACTED
from push.wire.errors import RequestError, shortened

# Python's resolver fails otherwise on a longer label, in a way of which Twisted tells nobody.
_NAME = re.compile(r"[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?")
_MAX_NAME_CHARACTERS = 253
_VISIBLE = re.compile(r"[!-~]+")
_V4_COMPATIBLE = IPv6Network("::/96")
_NAT64 = IPv6Network("64:ff9b::/96")
_NAT64_LOCAL = IPv6Network("64:ff9b:1::/48")
_LAST_32 = 2**32 - 1
# All IPv6 addresses of the public internet are in this one.
_GLOBAL_UNICAST = IPv6Network("2000::/3")
# Of the IANA registries of special addresses (RFC 6890) what `is_global` of some Python takes for
# public: its list differs with the patch level.
_ALSO_SPECIAL = (
    IPv4Network("192.0.0.0/24"),  # IETF protocol assignments, anycast ones of the own network, too
    IPv4Network("192.31.196.0/24"),  # AS112, anycast (RFC 7535)
    IPv4Network("192.52.193.0/24"),  # AMT relays, anycast (RFC 7450)
    IPv4Network("192.88.99.0/24"),  # 6to4 relays, anycast, deprecated (RFC 7526)
    IPv4Network("192.175.48.0/24"),  # AS112, anycast (RFC 7534)
    IPv6Network("2001::/23"),  # IETF protocol assignments, Teredo and ORCHID among them
    IPv6Network("2620:4f:8000::/48"),  # AS112, anycast (RFC 7534)
    IPv6Network("3ffe::/16"),  # given back (RFC 3701)
    IPv6Network("3fff::/20"),  # documentation (RFC 9637)
)


def is_public(text: str) -> bool:
    """Whether an address, as a resolver gives it, is one of the public internet.

    An IPv6 address that leads to an IPv4 address (mapped, compatible, 6to4, Teredo, NAT64) is
    judged by that one as well.
    """
    address = ip_address(text)
    if isinstance(address, IPv6Address):
        if address in _NAT64_LOCAL or address.is_site_local:
            return False
        inner = _inner_address(address)
        if inner is not None:
            return _is_global(inner)
    return _is_global(address)


def _inner_address(address: IPv6Address) -> IPv4Address | None:
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    if address in _V4_COMPATIBLE or address in _NAT64:
        return IPv4Address(int(address) & _LAST_32)
    return None


def _is_global(address: IPv4Address | IPv6Address) -> bool:
    is_special = address.is_multicast or address.is_reserved or address.is_unspecified
    if address.version == 6 and address not in _GLOBAL_UNICAST:
        return False
    if any(address in network for network in _ALSO_SPECIAL):
        return False
    return address.is_global and not is_special and not address.is_loopback


def literal_address(host: str) -> str | None:
    """The address that `host` is, in every form that a resolver takes for one: `127.1`,
    `0x7f.1`, `2130706433`, `::1`, `fe80::1%eth0`. None for a name."""
    try:
        return str(ip_address(host))
    except ValueError:
        pass
    try:
        return socket.inet_ntoa(socket.inet_aton(host.rstrip(".")))
    except (OSError, ValueError):
        return None


def check_url(url: str, *, public: bool) -> str:
    """`url`, if events may be sent there; `public`: only with TLS and to public addresses.

    Raises `RequestError` `invalid` with field `url`. What a name resolves to is judged later.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise _invalid("expected https://host/path") from None
    if not _VISIBLE.fullmatch(url) or parts.scheme not in ("http", "https") or port == 0:
        raise _invalid("expected https://host/path")
    if public and parts.scheme != "https":
        raise _invalid("expected https: events may hold what only the receiver may read")
    if parts.query == REDACTED:
        raise _invalid("write its query again: only the server has it")
    if "@" in parts.netloc or parts.fragment or "#" in url:
        raise _invalid("a user, a password or a fragment is not sent")
    address = literal_address(host)
    is_name = _NAME.fullmatch(host) and len(host.rstrip(".")) <= _MAX_NAME_CHARACTERS
    if address is None and not is_name:
        raise _invalid("its host is neither a name nor an address")
    if public:
        name = host.rstrip(".").lower()
        if name == "localhost" or name.endswith(".localhost"):
            raise not_public(host)
        if address is not None and not is_public(address):
            raise not_public(host)
    return url


def shown_url(url: str) -> str:
    """The address of an endpoint as operators see it: its query may be a secret."""
    place, mark, query = url.partition("?")
    return f"{place}?{REDACTED}" if mark and query else url


def not_public(host: str) -> RequestError:
    return _invalid(
        f"{shortened(host, 100)} is not at a public address; endpoints that are private belong "
        "into the configuration, [webhooks] endpoints"
    )


def _invalid(what: str) -> RequestError:
    return RequestError("invalid", f"`url`: {what}", field="url")
