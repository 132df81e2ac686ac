"""Looking at a deployment: events, figures over time, timelines of devices."""

from __future__ import annotations

from msgspec import UNSET

from push.devices.registration import Devices
from push.http.checks import none_if_unset
from push.http.framework.route import (
    DocumentedResponse,
    Request,
    Response,
    Route,
    json_answer,
)
from push.http.routes.operate.event_stream import EventStream
from push.observe.events import EventFilter
from push.observe.observer import Observer
from push.pushing.waiting import WaitingMessages
from push.runtime.ports import Clock
from push.wire.api.operate.events import (
    EVENT_KINDS,
    SKIPPED,
    DeviceEventPage,
    EventKind,
    EventsQuery,
    LiveEvent,
)
from push.wire.api.operate.messages import WaitingPage
from push.wire.api.operate.series import Series, SeriesQuery
from push.wire.api.paging import PageQuery
from push.wire.errors import RequestError

_DEVICE_PROBLEMS = ("invalid", "unknown_token", "unavailable")
_STREAM_HEADERS = ((b"Cache-Control", b"no-store"), (b"X-Accel-Buffering", b"no"))


class ObserveRoutes:
    def __init__(
        self, reactor: Clock, observer: Observer, devices: Devices, waiting: WaitingMessages
    ) -> None:
        self._reactor = reactor
        self._observer = observer
        self._devices = devices
        self._waiting = waiting

    @Route(
        "GET",
        "/v1/events",
        "See what happens, as it happens",
        {
            200: DocumentedResponse(
                "Server-sent events, until the client goes. `event` is the kind, `data` as here.",
                LiveEvent,
                content_type="text/event-stream",
            )
        },
        description=(
            f"Kinds: {', '.join(f'`{kind}`' for kind in EVENT_KINDS)}; and `skipped`. At most 200 "
            "a second, of these at most 160 of `pushed` and `acknowledged`; what was left out is "
            "told each second by `skipped` with `n`. All nodes are asked; one that does not "
            "answer is told by `skipped` with the code `silent`."
        ),
        scope="read",
        query=EventsQuery,
        problems=("invalid", "not_found", "unavailable"),
    )
    async def follow_events(self, call: Request) -> Response:
        query: EventsQuery = call.query
        observer = self._observer
        if query.node is not UNSET:
            observer.series.check_node(query.node)
        stream = EventStream(
            self._reactor,
            observer.relay,
            observer.wall_clock,
            observer.node,
            EventFilter(
                EVENT_KINDS if query.kinds is UNSET else _kinds_of(query.kinds),
                none_if_unset(query.user) or "",
                none_if_unset(query.token) or "",
                none_if_unset(query.node) or "",
            ),
            call.is_allowed,
        )
        await stream.open()
        return Response(
            200, content_type=b"text/event-stream", headers=_STREAM_HEADERS, stream=stream
        )

    @Route(
        "GET",
        "/v1/series",
        "See a figure over time",
        {200: DocumentedResponse("The values, the oldest first.", Series)},
        description=(
            "Of `pushes`, `deliveries`, `acknowledgements`, `drops` and `refusals` a value is how "
            "many there were in its step; of `connections` and `backlog` (messages that were "
            "handed out and are not acknowledged) how many there were at its end; `ack_p50_ms` "
            "and `ack_p99_ms` are quantiles of the time from publishing to acknowledgement, of "
            "messages to devices that were connected; `redis_ms` is how long the slowest Redis "
            "server took to answer. Kept in memory: a daemon that starts again has none of before."
        ),
        scope="read",
        query=SeriesQuery,
        problems=("invalid", "not_found", "unavailable"),
    )
    async def get_series(self, call: Request) -> Response:
        query: SeriesQuery = call.query
        found = await self._observer.series.read(query.name, none_if_unset(query.node), query.step)
        return json_answer(200, found)

    @Route(
        "GET",
        "/v1/devices/{token}/events",
        "See what happened to a device",
        {200: DocumentedResponse("A page of its timeline, the latest first.", DeviceEventPage)},
        description=(
            "The last 200 events of seven days. Acknowledgements and drops make one entry a "
            "session and minute, which says how many (`n`)."
        ),
        scope="read",
        query=PageQuery,
        problems=_DEVICE_PROBLEMS,
    )
    async def get_device_events(self, call: Request) -> Response:
        query: PageQuery = call.query
        token = call.path["token"]
        await self._devices.check(token)
        page = await self._observer.timelines.page(token, query.cursor, query.limit)
        return json_answer(200, page)

    @Route(
        "GET",
        "/v1/devices/{token}/messages",
        "See what waits for a device",
        {200: DocumentedResponse("A page of messages, the first to come first.", WaitingPage)},
        description=(
            "Messages in all streams that it follows, which it has not acknowledged. Those that "
            "come after one that is not acknowledged are listed even if they are. A page may have "
            "fewer than `limit`, so that it has not much more than 1 MiB."
        ),
        scope="read",
        query=PageQuery,
        problems=_DEVICE_PROBLEMS,
    )
    async def get_device_messages(self, call: Request) -> Response:
        query: PageQuery = call.query
        token = call.path["token"]
        await self._devices.check(token)
        return json_answer(200, await self._waiting.page(token, query.cursor, query.limit))


def _kinds_of(text: str) -> tuple[EventKind, ...]:
    """None for `skipped` alone, which always comes. Raises `RequestError` `invalid`."""
    names = [name.strip() for name in text.split(",")]
    unknown = [name for name in names if name != SKIPPED and name not in EVENT_KINDS]
    if unknown:
        raise RequestError(
            "invalid",
            f"`kinds`: {unknown[0][:64]!r} is none of {', '.join((*EVENT_KINDS, SKIPPED))}",
            field="kinds",
        )
    return tuple(kind for kind in EVENT_KINDS if kind in names)
