"""The page and its files, as they are in `push/web/demo`, and what a browser may do with them."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.resources import files
from urllib.parse import urlsplit

from push.http.framework.route import Response
from push.wire.errors import RequestError

_TYPES = {
    "html": b"text/html; charset=utf-8",
    "css": b"text/css; charset=utf-8",
    "js": b"text/javascript; charset=utf-8",
    "json": b"application/json",
    "svg": b"image/svg+xml",
}


# The JavaScript client, beside the page's own files so that it passes the same guard.
CLIENT = ("push.js", "push-chat.js", "push-tabs.js")


def _read_files() -> dict[str, bytes]:
    web = files("push") / "web"
    found = [each for each in (web / "demo").iterdir() if each.name.rpartition(".")[2] in _TYPES]
    return {each.name: each.read_bytes() for each in (*found, *(web / name for name in CLIENT))}


class Page:
    """All files of the demo, read once."""

    def __init__(self) -> None:
        self._files = _read_files()

    def index(self, connectors: Iterable[str]) -> Response:
        """The page, which may connect to the hosts of `connectors` (URLs)."""
        return self._answer("index.html", _policy(connectors))

    def file(self, name: str) -> Response:
        """Raises `RequestError` `not_found`."""
        if name not in self._files:
            raise RequestError("not_found", "the demo has no such file")
        return self._answer(name, _policy(()))

    def _answer(self, name: str, policy: bytes) -> Response:
        return Response(
            200,
            self._files[name],
            _TYPES[name.rpartition(".")[2]],
            (
                (b"Content-Security-Policy", policy),
                (b"X-Content-Type-Options", b"nosniff"),
                (b"Referrer-Policy", b"no-referrer"),
                (b"Cache-Control", b"no-cache"),
                (b"Cross-Origin-Opener-Policy", b"same-origin"),
                (b"Cross-Origin-Resource-Policy", b"same-origin"),
            ),
        )


def _policy(connectors: Iterable[str]) -> bytes:
    """Nothing is loaded from elsewhere, nothing inline runs. Of a connector every port is allowed:
    one that is started later has another, and the page is not loaded again for it."""
    allowed = {f"{url.scheme}://{_host(url.netloc)}:*" for url in map(urlsplit, connectors)}
    return "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self'",
            " ".join(("connect-src 'self'", *sorted(allowed))),
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    ).encode()


def _host(netloc: str) -> str:
    """Without the port; the brackets of an IPv6 address stay."""
    return netloc if netloc.endswith("]") else netloc.rpartition(":")[0] or netloc
