"""The JavaScript client, as a web page loads it: `/push.js` and the modules that it imports."""

from __future__ import annotations

import hashlib
from importlib.resources import files

from push.http.framework.route import App, DocumentedResponse, Endpoint, Request, Response

JAVASCRIPT_TYPE = b"text/javascript; charset=utf-8"
MODULES = ("push.js", "push-chat.js", "push-tabs.js")


def make_web_client() -> App:
    """No key is needed: the client has no secrets."""
    return App(
        "JavaScript client",
        "The client for web pages, as modules without dependencies.",
        tuple(_module_route(name) for name in MODULES),
    )


def _module_route(name: str) -> Endpoint:
    source = (files("push") / "web" / name).read_bytes()
    etag = b'"%s"' % hashlib.sha256(source).hexdigest()[:32].encode()
    # A page asks each time whether its copy is still right, so that an upgrade reaches it.
    headers = (
        (b"ETag", etag),
        (b"Cache-Control", b"no-cache"),
        (b"X-Content-Type-Options", b"nosniff"),
    )

    async def module(call: Request) -> Response:
        if _names(call.if_none_match, etag):
            return Response(304, headers=headers)
        return Response(200, source, JAVASCRIPT_TYPE, headers)

    return Endpoint(
        "GET",
        f"/{name}",
        "The client" if name == MODULES[0] else "A module that the client imports",
        {
            200: DocumentedResponse("A module.", content_type="text/javascript"),
            304: DocumentedResponse("The copy that the request names is still right."),
        },
        description="With an `ETag`." if name == MODULES[0] else "",
        cached=True,
        name=name.removesuffix(".js").replace("-", "_") + "_js",
        handler=module,
    )


def _names(if_none_match: bytes | None, etag: bytes) -> bool:
    """RFC 9110 13.1.2: a list of tags, compared weakly, or `*`."""
    tags = [tag.strip().removeprefix(b"W/") for tag in (if_none_match or b"").split(b",")]
    return etag in tags or tags == [b"*"]
