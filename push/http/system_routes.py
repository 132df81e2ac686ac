"""What every daemon serves: health, metrics, and the pages about itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from msgspec import UNSET
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from twisted.internet.defer import Deferred, maybeDeferred

from push.http import pages
from push.http.console import Console
from push.http.framework.openapi import openapi_document
from push.http.framework.problems import ERRORS, refusal_answer
from push.http.framework.route import (
    HTML_TYPE,
    App,
    DocumentedResponse,
    Request,
    Response,
    Route,
    json_answer,
    routes_of,
)
from push.http.static_files import FILE_REPLIES
from push.runtime.ports import Clock
from push.runtime.tasks import Semaphore
from push.runtime.timers import sleep
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


class HealthRoutes:
    """Health and metrics. `problems()` lists why the daemon cannot work now; [] = it can.

    `notes()` lists what an operator should know although it works.
    """

    def __init__(
        self,
        problems: Callable[[], Sequence[str]],
        notes: Callable[[], Sequence[str]],
        registry: CollectorRegistry,
    ) -> None:
        self._problems = problems
        self._notes = notes
        self._registry = registry

    @Route(
        "GET",
        "/healthz",
        "Whether the process lives",
        {200: DocumentedResponse("It does.", Health)},
    )
    async def healthz(self, call: Request) -> Response:
        return json_answer(200, Health())

    @Route(
        "GET",
        "/readyz",
        "Whether it can work",
        {200: DocumentedResponse("It can.", Ready)},
        description=(
            "If not, 503 and all `reasons`: for a load balancer. If it can but is "
            "less safe than it could be, the `notes` say how."
        ),
        problems=("unavailable",),
    )
    async def readyz(self, call: Request) -> Response:
        reasons = list(self._problems())
        if not reasons:
            return json_answer(200, Ready(notes=list(self._notes()) or UNSET))
        refusal = RequestError(
            "unavailable", "; ".join(reasons), after_seconds=NOT_READY_RETRY_SECONDS
        )
        return refusal_answer(refusal, reasons)

    @Route(
        "GET",
        "/metrics",
        "Metrics for Prometheus",
        {200: DocumentedResponse("The text format of Prometheus.", content_type="text/plain")},
        description="From the same machine no key is needed.",
        scope="read",
        open_on_loopback=True,
    )
    async def metrics(self, call: Request) -> Response:
        return Response(200, generate_latest(self._registry), CONTENT_TYPE_LATEST.encode())


_PAGE = {200: DocumentedResponse("A page.", content_type="text/html")}
_COPY = {304: FILE_REPLIES[304]}


class Documents(NamedTuple):
    """What takes long to make: the OpenAPI document, and a page of it for people."""

    openapi: bytes
    docs: str


# Returns what it was given returns, which may take longer than a turn of the reactor may.
InThread = Callable[[Callable[[], Documents]], Deferred[Documents]]


class PageRoutes:
    """The OpenAPI document of `apps` and of these routes, and pages to read; the `console`, if this
    daemon has what it asks for. What takes long to make is made when it is first asked for, and
    kept."""

    def __init__(
        self,
        clock: Clock,
        title: str,
        version: str,
        apps: Sequence[App],
        console: Console | None,
        in_thread: InThread = maybeDeferred,
    ) -> None:
        self._clock = clock
        self._title = title
        self._version = version
        self._console = console
        self._in_thread = in_thread
        self._documents: Documents | None = None
        self._making = Semaphore(1)
        self._index = pages.index_page(title, version, apps)
        self.app = App("pages", "What this daemon can do.", routes_of(self))
        self._apps = (*apps, self.app)

    async def _made(self) -> Documents:
        documents = self._documents
        if documents is None:
            async with self._making:
                documents = await self._made_in_turn()
        return documents

    async def _made_in_turn(self) -> Documents:
        if self._documents is None:
            self._documents = await self._in_thread(self._make)
        else:  # others asked before: however many did, a turn of the reactor answers one of them
            await sleep(self._clock, 0)
        return self._documents

    def _make(self) -> Documents:
        document = openapi_document(self._title, self._version, self._apps)
        return Documents(pages.pretty_json(document).encode(), pages.docs_page(document))

    @Route("GET", "/", "The console, or where to go from here", {**_PAGE, **_COPY}, cached=True)
    async def index(self, call: Request) -> Response:
        if self._console is not None:
            return self._console.index(call.if_none_match)
        return page_answer(self._index)

    @Route("GET", "/docs", "This documentation", _PAGE)
    async def docs(self, call: Request) -> Response:
        documents = await self._made()
        return page_answer(pages.told_to(call.origin(), documents.docs))

    @Route(
        "GET",
        "/openapi.json",
        "The OpenAPI document",
        {200: DocumentedResponse("OpenAPI 3.1.", dict[str, Any])},
    )
    async def openapi(self, call: Request) -> Response:
        return Response(200, (await self._made()).openapi)

    @Route("GET", "/errors", "All error codes", _PAGE)
    async def errors(self, call: Request) -> Response:
        return page_answer(pages.errors_page())

    @Route(
        "GET",
        "/errors/{code}",
        "What an error code means",
        _PAGE,
        problems=("not_found",),
    )
    async def error(self, call: Request) -> Response:
        code = call.path["code"]
        if code not in ERRORS:
            raise RequestError("not_found", f"there is no error code {code[:64]}")
        return page_answer(pages.error_page(code))
