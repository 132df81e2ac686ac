"""Files of `push/web` as a browser loads them: read once, with an ETag, under a strict policy."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from importlib.resources.abc import Traversable

from push.http.framework.route import DocumentedResponse, Response
from push.wire.errors import RequestError

JAVASCRIPT_TYPE = b"text/javascript; charset=utf-8"
TYPES = {
    "html": b"text/html; charset=utf-8",
    "css": b"text/css; charset=utf-8",
    "js": JAVASCRIPT_TYPE,
    "json": b"application/json",
    "svg": b"image/svg+xml",
    "txt": b"text/plain; charset=utf-8",
}
# A page asks each time whether its copy is still right, so that an upgrade reaches it.
_COMMON = ((b"Cache-Control", b"no-cache"), (b"X-Content-Type-Options", b"nosniff"))

Headers = tuple[tuple[bytes, bytes], ...]

FILE_REPLIES: Mapping[int, DocumentedResponse] = {
    200: DocumentedResponse("The file.", content_type="*/*"),
    304: DocumentedResponse("The copy that the request names is still right."),
}


class StaticFiles:
    """Files by name, each with its ETag and the type that its ending says."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._files = {name: (content, _etag(content)) for name, content in files.items()}

    def answer(self, name: str, if_none_match: bytes | None, headers: Headers = ()) -> Response:
        """200, or 304 to a request that has this copy. Raises `RequestError` `not_found`."""
        if name not in self._files:
            raise RequestError("not_found", "there is no such file")
        content, etag = self._files[name]
        headers = ((b"ETag", etag), *_COMMON, *headers)
        if _names(if_none_match, etag):
            return Response(304, headers=headers)
        return Response(200, content, TYPES[name.rpartition(".")[2]], headers)


def page_headers(connect: Sequence[str] = ()) -> Headers:
    """For a page that loads nothing from elsewhere, runs nothing inline, is in no frame, and may
    connect to its own origin and to `connect`."""
    policy = "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self'",
            " ".join(("connect-src 'self'", *connect)),
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )
    return (
        (b"Content-Security-Policy", policy.encode()),
        (b"Referrer-Policy", b"no-referrer"),
        (b"Cross-Origin-Opener-Policy", b"same-origin"),
        (b"Cross-Origin-Resource-Policy", b"same-origin"),
    )


def read_folder(folder: Traversable) -> dict[str, bytes]:
    """The files of a folder that a browser may load, by name; not those of its folders."""
    found = [each for each in folder.iterdir() if each.name.rpartition(".")[2] in TYPES]
    return {each.name: each.read_bytes() for each in found if each.is_file()}


def _etag(content: bytes) -> bytes:
    return b'"%s"' % hashlib.sha256(content).hexdigest()[:32].encode()


def _names(if_none_match: bytes | None, etag: bytes) -> bool:
    """RFC 9110 13.1.2: a list of tags, compared weakly, or `*`."""
    tags = [tag.strip().removeprefix(b"W/") for tag in (if_none_match or b"").split(b",")]
    return etag in tags or tags == [b"*"]
