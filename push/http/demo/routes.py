"""The routes of the demo. None takes an API key: `guard` says who may use them, and the ticket that
a page got when it began says for whom they act. Tickets come in bodies, so they are in no URL."""

from __future__ import annotations

import time
from typing import Any

from msgspec import UNSET

from push.http.demo.acts import (
    CUTS_PER_MINUTE,
    DRAINS_PER_MINUTE,
    PUSHES_PER_MINUTE,
    DemoActs,
)
from push.http.demo.guard import admit
from push.http.demo.page import Page
from push.http.demo.people import People
from push.http.framework.route import (
    NO_CONTENT,
    App,
    Body,
    DocumentedResponse,
    Handler,
    Request,
    Response,
    Route,
    json_answer,
)
from push.wire.api.demo import (
    TOPIC,
    CutBody,
    DemoCut,
    DemoDrained,
    DemoPushBody,
    DemoPushed,
    DemoStart,
    DemoState,
    StartBody,
    TicketBody,
)
from push.wire.reading import decoder_for

_NO_STORE = (b"Cache-Control", b"no-store")
_TICKET = "0123456789abcdefABCDEF"


def make_demo(acts: DemoActs, people: People, group: Any) -> App:
    """The app of the demo. `group()` is the id of the group that everybody is in."""
    return App(
        "demo",
        "A page that shows live what the system does, and what it asks for. Only with [http] demo.",
        (*_page_routes(acts), *_people_routes(acts, people, group), *_act_routes(acts)),
    )


def _page_routes(acts: DemoActs) -> tuple[Route, ...]:
    page = Page()

    async def index(call: Request) -> Response:
        return page.index(acts.servers(call.client_ip))

    async def file(call: Request) -> Response:
        return page.file(call.path["file"])

    html = {200: DocumentedResponse("A page.", None, content_type="text/html")}
    some = {200: DocumentedResponse("The file.", None, content_type="*/*")}
    return (
        Route("GET", "/demo", "demo", "The demo", index, html, admit=admit),
        Route(
            "GET",
            "/demo/{file}",
            "demo_file",
            "A file of the demo",
            file,
            some,
            path_texts={"file": "its name"},
            problems=("not_found",),
            admit=admit,
        ),
    )


def _people_routes(acts: DemoActs, people: People, group: Any) -> tuple[Route, ...]:
    async def start(call: Request) -> Response:
        name = None if call.body.name is UNSET else call.body.name
        person, secret = await people.join(name, call.client_ip)
        answer = DemoStart(
            person.user,
            person.token,
            secret,
            person.ticket,
            group(),
            TOPIC,
            acts.servers(call.client_ip),
            acts.ends_ms(person, _now_ms()),
        )
        return json_answer(201, answer, _NO_STORE)

    async def leave(call: Request) -> Response:
        await people.leave(people.of(call.body.ticket))
        return NO_CONTENT

    async def state(call: Request) -> Response:
        person = acts.who(call.body.ticket)
        return json_answer(200, await acts.state(person, _now_ms()), _NO_STORE)

    return (
        _route(
            "start",
            "Make a user and a device for a page",
            start,
            StartBody,
            {"name": "anna"},
            {201: DocumentedResponse("They exist for two hours at most.", DemoStart)},
            ("already_exists", "banned", "rate_limited"),
        ),
        _route(
            "leave",
            "Erase them",
            leave,
            TicketBody,
            {"ticket": _TICKET},
            {204: DocumentedResponse("They are erased.")},
            ("unauthenticated",),
        ),
        _route(
            "state",
            "What the page shows",
            state,
            TicketBody,
            {"ticket": _TICKET},
            {200: DocumentedResponse("Connectors, people, and the funnel of a push.", DemoState)},
            ("unauthenticated", "rate_limited"),
        ),
    )


def _act_routes(acts: DemoActs) -> tuple[Route, ...]:
    async def push(call: Request) -> Response:
        person = acts.who(call.body.ticket, "pushes", PUSHES_PER_MINUTE)
        return json_answer(202, await acts.push(person, call.body))

    async def drain(call: Request) -> Response:
        person = acts.who(call.body.ticket, "drains", DRAINS_PER_MINUTE)
        return json_answer(202, DemoDrained(await acts.drain(person)))

    async def cut(call: Request) -> Response:
        person = acts.who(call.body.ticket, "cuts", CUTS_PER_MINUTE)
        return json_answer(202, await acts.cut(person, call.body))

    refusals = ("unauthenticated", "rate_limited")
    return (
        _route(
            "push",
            "Push to the page's device or user, to another user of the demo, to its topic, to all",
            push,
            DemoPushBody,
            {"ticket": _TICKET, "to": "device", "text": "Hello"},
            {202: DocumentedResponse("It was accepted.", DemoPushed)},
            (*refusals, "not_found"),
        ),
        _route(
            "drain",
            "Drain the connector that the page is on",
            drain,
            TicketBody,
            {"ticket": _TICKET},
            {202: DocumentedResponse("It was told to.", DemoDrained)},
            (*refusals, "not_allowed"),
        ),
        _route(
            "cut",
            "Cut the page's network for some seconds",
            cut,
            CutBody,
            {"ticket": _TICKET, "how": "cut", "seconds": 5},
            {202: DocumentedResponse("It is cut, and messages are pushed meanwhile.", DemoCut)},
            (*refusals, "not_allowed", "in_progress"),
        ),
    )


def _route(
    name: str,
    summary: str,
    handler: Handler,
    kind: Any,
    example: Any,
    replies: dict[int, DocumentedResponse],
    problems: tuple[str, ...],
) -> Route:
    return Route(
        "POST",
        f"/demo/api/{name}",
        f"demo_{name}",
        summary,
        handler,
        replies,
        body=Body(kind, decoder_for(kind), example),
        problems=("invalid", "forbidden", "unavailable", *problems),
        admit=admit,
    )


def _now_ms() -> int:
    return int(time.time() * 1000)
