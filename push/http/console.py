"""The console as a browser loads it, from `push/web/console`. Its files need no key and have no
secrets: what they show they ask for with the key of the person who signed in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from html import escape
from importlib.resources import files

from push.http.framework.route import App, Request, Response, Route, routes_of
from push.http.static_files import FILE_REPLIES, StaticFiles, page_headers, read_folder

FOLDERS = ("lib", "parts", "screens", "vendor")


class Console:
    """All files of the console. `pages` are addresses of this server to link to."""

    def __init__(self, version: str, pages: Sequence[str]) -> None:
        found = _packaged()
        template = found["index.html"].decode()
        self._files = StaticFiles({**found, "index.html": _page(template, version, pages)})
        self.app = App("console", "The operator's console, at /.", routes_of(self))

    def index(self, if_none_match: bytes | None) -> Response:
        return self._files.answer("index.html", if_none_match, page_headers())

    @Route(
        "GET",
        "/console/{file}",
        "A file of the console",
        FILE_REPLIES,
        problems=("not_found",),
        cached=True,
    )
    async def console_file(self, call: Request) -> Response:
        return self._files.answer(call.path["file"], call.if_none_match, page_headers())

    @Route(
        "GET",
        "/console/{folder}/{file}",
        "A file of the console, in a folder",
        FILE_REPLIES,
        problems=("not_found",),
        cached=True,
    )
    async def console_folder_file(self, call: Request) -> Response:
        name = f"{call.path['folder']}/{call.path['file']}"
        return self._files.answer(name, call.if_none_match, page_headers())


@cache
def _packaged() -> Mapping[str, bytes]:
    """What is in the package, by address: read once."""
    root = files("push") / "web" / "console"
    found = read_folder(root)
    for folder in FOLDERS:
        within = read_folder(root / folder)
        found |= {f"{folder}/{name}": content for name, content in within.items()}
    return found


def _page(template: str, version: str, pages: Sequence[str]) -> bytes:
    """The links are there for a browser without JavaScript, too."""
    links = "\n".join(f'        <li><a href="{path}">{path}</a></li>' for path in pages)
    values = {"{version}": escape(version), "{pages}": " ".join(pages), "{links}": links}
    for name, value in values.items():
        template = template.replace(name, value)
    return template.encode()
