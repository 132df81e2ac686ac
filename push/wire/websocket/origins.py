"""Which web pages may talk to this server: the policy for `Origin` ([connector] origins)."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

from push.wire.addresses import HostPort, is_loopback

SAME_HOST = "same-host"
ANY = "*"
_DEFAULT_PORTS = {"http": 80, "https": 443}


def normal_origin(text: str) -> str:
    """`scheme://host` or `scheme://host:port` in one spelling. Raises ValueError for all else."""
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise _no_origin() from None
    extra = parts.path or parts.query or parts.fragment or "@" in parts.netloc
    if not parts.scheme or not host or extra or not text.isascii():
        raise _no_origin()
    if port is None or port == _DEFAULT_PORTS.get(parts.scheme):
        return f"{parts.scheme}://{_bracketed(host)}"
    return f"{parts.scheme}://{HostPort(host, port)}"


def _no_origin() -> ValueError:
    return ValueError('expected an origin, as "https://example.com", "same-host" or "*"')


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


class Origins:
    """The origins that may connect.

    "same-host": pages from the host that the request names, whatever their port and scheme: the
    page and the connector of one machine have different ports. All names of loopback are one host:
    a page at localhost may be told 127.0.0.1. "*": any page. A request without `Origin` is not from
    a page, and passes.
    """

    def __init__(self, origins: Iterable[str] = (SAME_HOST,)) -> None:
        known = set(origins)
        self._same_host = SAME_HOST in known
        self._any = ANY in known
        self._known = {normal_origin(each) for each in known - {SAME_HOST, ANY}}

    def __bool__(self) -> bool:
        """Whether any page may."""
        return self._any or self._same_host or bool(self._known)

    def accepts(self, origin: str, host: str) -> bool:
        """Whether a page of `origin` may connect; `host` is the request's Host."""
        if self._any:
            return True
        try:
            normal = normal_origin(origin)
            if normal in self._known:
                return True
            return self._same_host and _are_one_host(
                urlsplit(normal).hostname, urlsplit(f"//{host}").hostname
            )
        except ValueError:
            return False


def _are_one_host(page: str | None, asked: str | None) -> bool:
    if not page or not asked:
        return False
    return page == asked or (is_loopback(page) and is_loopback(asked))
