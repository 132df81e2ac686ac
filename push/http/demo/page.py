"""The page and its files, as they are in `push/web/demo`, and what a browser may do with them."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.resources import files
from urllib.parse import urlsplit

from push.http.framework.route import Response
from push.http.static_files import StaticFiles, page_headers, read_folder

# The JavaScript client, beside the page's own files so that it passes the same guard.
CLIENT = ("push.js", "push-chat.js", "push-tabs.js")


class Page:
    """All files of the demo, read once."""

    def __init__(self) -> None:
        web = files("push") / "web"
        client = {name: (web / name).read_bytes() for name in CLIENT}
        self._files = StaticFiles(read_folder(web / "demo") | client)

    def index(self, connectors: Iterable[str]) -> Response:
        """The page, which may connect to the hosts of `connectors` (URLs). Of a connector every
        port is allowed: one that is started later has another, and the page is not loaded again
        for it. So it is never a copy of before, whose headers may be others."""
        allowed = {f"{url.scheme}://{_host(url.netloc)}:*" for url in map(urlsplit, connectors)}
        return self._files.answer("index.html", None, page_headers(sorted(allowed)))

    def file(self, name: str, if_none_match: bytes | None) -> Response:
        """Raises `RequestError` `not_found`."""
        return self._files.answer(name, if_none_match, page_headers())


def _host(netloc: str) -> str:
    """Without the port; the brackets of an IPv6 address stay."""
    return netloc if netloc.endswith("]") else netloc.rpartition(":")[0] or netloc
