"""The JavaScript client, as a web page loads it: `/push.js` and the modules that it imports."""

from __future__ import annotations

from importlib.resources import files

from push.http.framework.route import App, DocumentedResponse, Endpoint, Request, Response
from push.http.static_files import StaticFiles

MODULES = ("push.js", "push-chat.js", "push-tabs.js")


def make_web_client() -> App:
    """No key is needed: the client has no secrets."""
    served = StaticFiles({name: (files("push") / "web" / name).read_bytes() for name in MODULES})
    return App(
        "JavaScript client",
        "The client for web pages, as modules without dependencies.",
        tuple(_module_route(served, name) for name in MODULES),
    )


def _module_route(served: StaticFiles, name: str) -> Endpoint:
    async def module(call: Request) -> Response:
        return served.answer(name, call.if_none_match)

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
