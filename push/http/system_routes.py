"""What every daemon serves: health, metrics, and the pages about itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from msgspec import UNSET
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from push.http import pages
from push.http.framework.openapi import openapi_document
from push.http.framework.problems import ERRORS, refusal_answer
from push.http.framework.route import (
    HTML_TYPE,
    App,
    DocumentedResponse,
    Handler,
    Request,
    Response,
    Route,
    json_answer,
)
from push.wire.api.nodes import Health, Ready
from push.wire.errors import RequestError

NOT_READY_RETRY_SECONDS = 1

# Nothing is loaded from anywhere, and nothing runs.
_PAGE_HEADERS = (
    (b"Content-Security-Policy", b"default-src 'none'; style-src 'unsafe-inline'"),
    (b"X-Content-Type-Options", b"nosniff"),
)


def page_answer(html: str) -> Response:
    return Response(200, html.encode(), HTML_TYPE, _PAGE_HEADERS)


def make_common(
    problems: Callable[[], Sequence[str]],
    notes: Callable[[], Sequence[str]],
    registry: CollectorRegistry,
) -> App:
    """Health and metrics. `problems()` lists why the daemon cannot work now; [] = it can.

    `notes()` lists what an operator should know although it works.
    """

    async def healthz(call: Request) -> Response:
        return json_answer(200, Health())

    async def readyz(call: Request) -> Response:
        reasons = list(problems())
        if not reasons:
            return json_answer(200, Ready(notes=list(notes()) or UNSET))
        refusal = RequestError(
            "unavailable", "; ".join(reasons), after_seconds=NOT_READY_RETRY_SECONDS
        )
        return refusal_answer(refusal, reasons)

    async def metrics(call: Request) -> Response:
        return Response(200, generate_latest(registry), CONTENT_TYPE_LATEST.encode())

    return App(
        "every daemon",
        "Health, metrics and documentation.",
        (
            Route(
                "GET",
                "/healthz",
                "healthz",
                "Whether the process lives",
                healthz,
                {200: DocumentedResponse("It does.", Health)},
            ),
            Route(
                "GET",
                "/readyz",
                "readyz",
                "Whether it can work",
                readyz,
                {200: DocumentedResponse("It can.", Ready)},
                description="If not, 503 and all `reasons`: for a load balancer. If it can but is "
                "less safe than it could be, the `notes` say how.",
                problems=("unavailable",),
            ),
            Route(
                "GET",
                "/metrics",
                "metrics",
                "Metrics for Prometheus",
                metrics,
                {
                    200: DocumentedResponse(
                        "The text format of Prometheus.", None, content_type="text/plain"
                    )
                },
                description="Needs no key from the same machine.",
                scope="read",
                open_on_loopback=True,
            ),
        ),
    )


def make_pages(title: str, version: str, apps: Sequence[App]) -> App:
    """The OpenAPI document of `apps` and of these routes, and pages to read."""
    # Made once all routes are known, these included; see the end.
    made: dict[str, bytes] = {}

    async def openapi(call: Request) -> Response:
        return Response(200, made["openapi"])

    async def docs(call: Request) -> Response:
        return page_answer(made["docs"].decode())

    async def index(call: Request) -> Response:
        return page_answer(pages.index_page(title, version, apps))

    async def errors(call: Request) -> Response:
        return page_answer(pages.errors_page())

    async def error(call: Request) -> Response:
        code = call.path["code"]
        if code not in ERRORS:
            raise RequestError("not_found", f"there is no error code {code[:64]}")
        return page_answer(pages.error_page(code))

    def page(path: str, name: str, summary: str, handler: Handler) -> Route:
        return Route(
            "GET",
            path,
            name,
            summary,
            handler,
            {200: DocumentedResponse("A page.", None, content_type="text/html")},
        )

    app = App(
        "pages",
        "What this daemon can do.",
        (
            page("/", "index", "Where to go from here", index),
            page("/docs", "docs", "This documentation", docs),
            Route(
                "GET",
                "/openapi.json",
                "openapi",
                "The OpenAPI document",
                openapi,
                {200: DocumentedResponse("OpenAPI 3.1.", dict[str, Any])},
            ),
            page("/errors", "errors", "All error codes", errors),
            Route(
                "GET",
                "/errors/{code}",
                "error",
                "What an error code means",
                error,
                {200: DocumentedResponse("A page.", None, content_type="text/html")},
                path_texts={"code": "the `code` of a problem"},
                problems=("not_found",),
            ),
        ),
    )
    document = openapi_document(title, version, (*apps, app))
    made["openapi"] = pages.pretty_json(document).encode()
    made["docs"] = pages.docs_page(document).encode()
    return app
