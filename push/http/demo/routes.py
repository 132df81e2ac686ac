"""The routes of the demo. None takes an API key: `guard` says who may use them, and the ticket that
a page got when it began names its user. Tickets come in bodies, so they are in no URL."""

from __future__ import annotations

import time

from push.http.checks import none_if_unset
from push.http.demo.acts import (
    CUTS_PER_MINUTE,
    DRAINS_PER_MINUTE,
    PUSHES_PER_MINUTE,
    DemoActs,
)
from push.http.demo.bodies import (
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
from push.http.demo.guard import admit
from push.http.demo.page import Page
from push.http.demo.people import People
from push.http.demo.room import Room
from push.http.framework.route import (
    NO_CONTENT,
    App,
    Body,
    DocumentedResponse,
    Request,
    Response,
    Route,
    json_answer,
    routes_of,
)
from push.http.static_files import FILE_REPLIES

_NO_STORE = (b"Cache-Control", b"no-store")
_TICKET = "0123456789abcdefABCDEF"
_REFUSALS = ("forbidden", "unauthenticated", "rate_limited", "unavailable")


def make_demo(acts: DemoActs, people: People, room: Room) -> App:
    return App(
        "demo",
        "A page that shows live what the system does, and what it asks for. Only with [http] demo.",
        (*routes_of(DemoPageRoutes(acts)), *routes_of(DemoRoutes(acts, people, room))),
    )


class DemoPageRoutes:
    """The page itself."""

    def __init__(self, acts: DemoActs) -> None:
        self._acts = acts
        self._page = Page()

    @Route(
        "GET",
        "/demo",
        "The demo",
        {200: DocumentedResponse("A page.", content_type="text/html")},
        problems=("forbidden",),
        admit=admit,
    )
    async def demo(self, call: Request) -> Response:
        return self._page.index(self._acts.servers(call.client_ip))

    @Route(
        "GET",
        "/demo/{file}",
        "A file of the demo",
        FILE_REPLIES,
        problems=("not_found", "forbidden"),
        cached=True,
        admit=admit,
    )
    async def demo_file(self, call: Request) -> Response:
        return self._page.file(call.path["file"], call.if_none_match)


class DemoRoutes:
    """What the page asks for."""

    def __init__(self, acts: DemoActs, people: People, room: Room) -> None:
        self._acts = acts
        self._people = people
        self._room = room

    @Route(
        "POST",
        "/demo/api/start",
        "Make a user and a device for a page",
        {201: DocumentedResponse("They exist for two hours at most.", DemoStart)},
        body=Body(StartBody, {"name": "anna"}),
        problems=("forbidden", "already_exists", "banned", "rate_limited", "unavailable"),
        admit=admit,
    )
    async def demo_start(self, call: Request) -> Response:
        person, secret = await self._people.join(none_if_unset(call.body.name), call.client_ip)
        answer = DemoStart(
            user=person.user,
            token=person.token,
            secret=secret,
            ticket=person.ticket,
            group=self._room.group,
            topic=TOPIC,
            servers=self._acts.servers(call.client_ip),
            ends=self._acts.ends_ms(person, _now_ms()),
        )
        return json_answer(201, answer, _NO_STORE)

    @Route(
        "POST",
        "/demo/api/leave",
        "Erase them",
        {204: DocumentedResponse("They are erased.")},
        body=Body(TicketBody, {"ticket": _TICKET}),
        problems=_REFUSALS,
        admit=admit,
    )
    async def demo_leave(self, call: Request) -> Response:
        await self._people.leave(self._people.of(call.body.ticket))
        return NO_CONTENT

    @Route(
        "POST",
        "/demo/api/state",
        "What the page shows",
        {200: DocumentedResponse("Connectors, people, the funnel of the last push.", DemoState)},
        body=Body(TicketBody, {"ticket": _TICKET}),
        problems=_REFUSALS,
        admit=admit,
    )
    async def demo_state(self, call: Request) -> Response:
        person = self._acts.who(call.body.ticket)
        return json_answer(200, await self._acts.state(person, _now_ms()), _NO_STORE)

    @Route(
        "POST",
        "/demo/api/push",
        "Push to the page's device or user, to another user of the demo, to its topic, to all",
        {202: DocumentedResponse("It was accepted.", DemoPushed)},
        body=Body(DemoPushBody, {"ticket": _TICKET, "to": "device", "text": "Hello"}),
        problems=(*_REFUSALS, "not_found"),
        admit=admit,
    )
    async def demo_push(self, call: Request) -> Response:
        person = self._acts.who(call.body.ticket, "pushes", PUSHES_PER_MINUTE)
        return json_answer(202, await self._acts.push(person, call.body))

    @Route(
        "POST",
        "/demo/api/drain",
        "Drain the connector that the page is on",
        {202: DocumentedResponse("It was told to.", DemoDrained)},
        description="With the launcher of `make demo` only, which starts it again.",
        body=Body(TicketBody, {"ticket": _TICKET}),
        problems=(*_REFUSALS, "not_allowed"),
        admit=admit,
    )
    async def demo_drain(self, call: Request) -> Response:
        person = self._acts.who(call.body.ticket, "drains", DRAINS_PER_MINUTE)
        return json_answer(202, DemoDrained(await self._acts.drain(person)))

    @Route(
        "POST",
        "/demo/api/cut",
        "Cut the page's network for some seconds",
        {202: DocumentedResponse("It is cut, and messages are pushed meanwhile.", DemoCut)},
        description="With the launcher of `make demo` only.",
        body=Body(CutBody, {"ticket": _TICKET, "how": "cut", "seconds": 5}),
        problems=(*_REFUSALS, "not_allowed", "in_progress"),
        admit=admit,
    )
    async def demo_cut(self, call: Request) -> Response:
        person = self._acts.who(call.body.ticket, "cuts", CUTS_PER_MINUTE)
        return json_answer(202, await self._acts.cut(person, call.body))


def _now_ms() -> int:
    return int(time.time() * 1000)
