"""What happened to each device: its last 200 events of seven days, in Redis.

Acknowledgements and drops are counted, and make one entry a session and minute. What is not stored
yet is known to the process where it happened; a reader asks all processes for it.
"""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple, Protocol

import msgspec
from twisted.logger import Logger
from twisted.python.failure import Failure

from push.cluster.survey import ALL_PROCESSES, Survey, SurveyHandler
from push.observe.journal import Journal, JournalKind
from push.redis.keyspace import TIMELINE
from push.redis.shards import Shards
from push.runtime.ports import Clock
from push.runtime.timers import Periodic, sleep
from push.wire.api.operate.events import DeviceEvent, DeviceEventPage, EventKind
from push.wire.api.paging import make_cursor, read_cursor

log = Logger()

QUESTION = "device-events"
MAX_EVENTS = 200  # of one device
KEEP_SECONDS = 7 * 86_400
FLUSH_SECONDS = 1.0
COUNTED_SECONDS = 60.0
SLICE = 500
MAX_COUNTED = 20_000  # more in one minute are not kept

_StoredEvent = tuple[str, str, str, str, str, int]  # event, node, session, code, reason, n

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_StoredEvent).decode
_decode_token = msgspec.json.Decoder(str).decode
_decode_events = msgspec.json.Decoder(list[DeviceEvent]).decode


class _Counted(NamedTuple):
    """What is counted of a session: acknowledgements, or drops for one reason."""

    token: str
    session: str
    event: EventKind
    reason: str


class ObservedSession(Protocol):
    """A session of a device, or of a user without a device (`token` None)."""

    session_id: str
    token: str | None
    user: str | None
    connected_ms: int

    @property
    def ip(self) -> str: ...

    def __hash__(self) -> int: ...


class WallClock:
    """The time of the day by the first Redis server."""

    def __init__(self, shards: Shards) -> None:
        self._clock = shards.first.clock

    def now_ms(self) -> int:
        return self._clock.now_ms()


class Timelines:
    """`max_in_all`: entries of all devices of a Redis server together."""

    def __init__(
        self,
        reactor: Clock,
        shards: Shards,
        survey: Survey,
        answerer: SurveyHandler,
        node: str,
        max_in_all: int,
    ) -> None:
        kind = JournalKind(
            TIMELINE.removesuffix(":"),
            "dev:",
            MAX_EVENTS,
            max_in_all,
            KEEP_SECONDS,
            of_devices=True,
        )
        self._reactor = reactor
        self._survey = survey
        self._node = node
        self._max_in_all = max_in_all
        self._wall_clock = WallClock(shards)
        self._journal = Journal(reactor, shards, kind, FLUSH_SECONDS)
        self._counts: dict[_Counted, int] = {}
        # Acknowledgements of this minute. They are counted here for each one, so by whom it takes
        # least to find.
        self.acknowledged: defaultdict[ObservedSession, int] = defaultdict(int)
        self._settling = Periodic(reactor, COUNTED_SECONDS, self._settle, _log_failure)
        answerer.handle(QUESTION, self._unstored)

    @property
    def given_up(self) -> int:
        """Entries that could not be stored, because Redis was away for too long."""
        return self._journal.given_up

    def start(self) -> None:
        self._settling.start()
        self._journal.start()

    def stop(self) -> None:
        self._settling.stop()
        self._journal.cancel()

    # Writing

    def add(
        self, token: str, event: EventKind, session: str, code: str = "", reason: str = ""
    ) -> None:
        self._add(token, event, session, code, reason, 0)

    def count(
        self, token: str, session: str, event: EventKind, reason: str = "", count: int = 1
    ) -> None:
        """It happened `count` times more in this minute."""
        counted = _Counted(token, session, event, reason)
        known = self._counts.get(counted, 0)
        if known or len(self._counts) < MAX_COUNTED:
            self._counts[counted] = known + count

    def settle_session(self, session: ObservedSession) -> None:
        """It is over: what it has acknowledged makes an entry before that of its end."""
        count = self.acknowledged.pop(session, 0)
        if count and session.token is not None:
            self._add(session.token, "acknowledged", session.session_id, "", "", count)

    async def store_all(self) -> None:
        """Store what waits, for the last time."""
        await self._settle()
        await self._journal.stop()

    async def _settle(self) -> None:
        """The minute is over: what was counted makes entries."""
        for place, session in enumerate(list(self.acknowledged)):
            if place and place % SLICE == 0:
                await sleep(self._reactor, 0)
            self.settle_session(session)
        counts, self._counts = self._counts, {}
        for place, (counted, count) in enumerate(counts.items()):
            if place and place % SLICE == 0:
                await sleep(self._reactor, 0)
            self._add(counted.token, counted.event, counted.session, "", counted.reason, count)

    def _add(
        self, token: str, event: EventKind, session: str, code: str, reason: str, count: int
    ) -> None:
        if not self._max_in_all:
            return
        stored: _StoredEvent = event, self._node, session, code, reason, count
        self._journal.add(token, self._wall_clock.now_ms(), _encode(stored))

    # Reading

    async def page(self, token: str, cursor: str, limit: int) -> DeviceEventPage:
        """The latest events of a device, from `cursor` on. Raises `StoreUnavailable`;
        `RequestError` `invalid` for a wrong cursor."""
        place = read_cursor("events", cursor, int, int)
        asked = await self._survey.ask(QUESTION, token, ALL_PROCESSES)
        events = [_event(*each) for each in await self._journal.latest(token, MAX_EVENTS)]
        for _, raw in asked.answers:
            events += _decode_events(raw)
        # Stored while the processes were asked: known twice.
        events = list(dict.fromkeys(sorted(events, key=lambda each: each.ts, reverse=True)))
        events = events[:MAX_EVENTS]
        if place is not None:
            events = _after(events, *place)
        rest = events[limit:]
        events = events[:limit]
        following = None
        if rest:
            last_ms = events[-1].ts
            alike = sum(each.ts == last_ms for each in events)
            if place is not None and place[0] == last_ms:
                alike += place[1]
            following = make_cursor("events", last_ms, alike)
        return DeviceEventPage(events, following, asked.silent)

    async def _unstored(self, raw: bytes) -> list[DeviceEvent]:
        token = _decode_token(raw)
        events = [_event(each.at, each.entry) for each in self._journal.waiting_of(token)]
        now_ms = self._wall_clock.now_ms()
        counts = dict(self._counts)
        for session, count in self.acknowledged.items():
            if session.token == token:
                counts[_Counted(token, session.session_id, "acknowledged", "")] = count
        events += [
            DeviceEvent(
                now_ms, each.event, self._node, each.session, None, each.reason or None, count
            )
            for each, count in counts.items()
            if each.token == token
        ]
        return events


def _event(at: int, entry: bytes) -> DeviceEvent:
    event, node, session, code, reason, count = _decode(entry)
    kind = msgspec.convert(event, EventKind)
    return DeviceEvent(at, kind, node, session, code or None, reason or None, count or None)


def _after(events: list[DeviceEvent], last_ms: int, seen: int) -> list[DeviceEvent]:
    """Those after the first `seen` of `last_ms`."""
    alike = [each for each in events if each.ts == last_ms]
    return alike[seen:] + [each for each in events if each.ts < last_ms]


def _log_failure(failure: Failure) -> None:
    log.failure(
        "What was counted for timelines is lost", failure=failure, event="observe.counts_lost"
    )
