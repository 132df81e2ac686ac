"""What happened to each device: its last 200 events of seven days, in Redis.

Acknowledgements and drops are counted, and make one entry a session and minute. What is not stored
yet is known to the process where it happened; a reader asks all processes for it.
"""

from __future__ import annotations

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
LOOKED_AT = 5_000
MAX_COUNTED = 20_000  # more in one minute are not kept
MAX_CLAIMED = 500  # the same, of devices that somebody only says they are

# When (ms), event, node, session, code, reason, n. The time is in it because a set has it once.
_StoredEvent = tuple[int, str, str, str, str, str, int]

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


# How often, and when the last time was, in ms.
_Counts = dict[_Counted, tuple[int, int]]


class ObservedSession(Protocol):
    """A session of a device, or of a user without a device (`token` None)."""

    session_id: str
    token: str | None
    user: str | None
    connected_ms: int
    unsettled: int  # acknowledgements that no timeline has yet

    @property
    def ip(self) -> str: ...

    def __hash__(self) -> int: ...


class Timelines:
    """`max_in_all`: entries of all devices of a Redis server together."""

    def __init__(
        self,
        reactor: Clock,
        shards: Shards,
        survey: Survey,
        survey_handler: SurveyHandler,
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
        self._wall_clock = shards.first.clock
        self._journal = Journal(reactor, shards, kind, FLUSH_SECONDS)
        self._counts: _Counts = {}
        # Apart: nobody knows whether there is such a device.
        self._claims: _Counts = {}
        self._left_out = 0
        # Sessions that have acknowledged something in this minute, each of which has the count.
        # With when that was the last time, as `second_ms` had it.
        self.acknowledging: dict[ObservedSession, int] = {}
        # About now: to read the clock for each acknowledgement would cost more than to count it.
        self.second_ms = 0
        self._seconds = Periodic(reactor, 1.0, self._look_at_clock, _log_failure)
        self._settling = Periodic(reactor, COUNTED_SECONDS, self._settle, _log_failure)
        survey_handler.handle(QUESTION, self._unstored)

    @property
    def given_up(self) -> int:
        """Entries that are lost: Redis was unreachable for too long, or there were too many."""
        return self._journal.given_up + self._left_out

    def start(self) -> None:
        self._seconds.start(now=True)
        self._settling.start()
        self._journal.start()

    def stop(self) -> None:
        self._seconds.stop()
        self._settling.stop()
        self._journal.cancel()

    # Writing

    def add(
        self,
        token: str,
        event: EventKind,
        session: str,
        code: str = "",
        reason: str = "",
        *,
        count: int = 0,
        at_ms: int | None = None,
    ) -> None:
        """It has happened; `count` not 0: so often, the last time `at_ms`."""
        if not self._max_in_all:
            return
        if count and self._journal.is_full:
            self._left_out += 1  # rather than the end of a session
            return
        at_ms = self._wall_clock.now_ms() if at_ms is None else at_ms
        stored: _StoredEvent = at_ms, event, self._node, session, code, reason, count
        self._journal.add(token, at_ms, _encode(stored))

    def count(
        self, token: str, session: str, event: EventKind, reason: str = "", count: int = 1
    ) -> None:
        """It happened `count` times more in this minute."""
        if not self._note(
            self._counts, MAX_COUNTED, _Counted(token, session, event, reason), count
        ):
            self._left_out += 1

    def count_claimed(self, token: str, event: EventKind, reason: str) -> None:
        """It happened to somebody without credentials who says they are the device `token`."""
        self._note(self._claims, MAX_CLAIMED, _Counted(token, "", event, reason), 1)

    def _note(self, counts: _Counts, most: int, counted: _Counted, count: int) -> bool:
        known = counts.get(counted)
        if known is None and len(counts) >= most:
            return False
        counts[counted] = count + (known[0] if known else 0), self._wall_clock.now_ms()
        return True

    def settle_session(self, session: ObservedSession) -> None:
        """It is over: what it has acknowledged makes an entry before that of its end."""
        last_ms = self._last_acknowledged_ms(session)
        self.acknowledging.pop(session, None)
        count, session.unsettled = session.unsettled, 0
        if count and session.token is not None:
            self.add(session.token, "acknowledged", session.session_id, count=count, at_ms=last_ms)

    def _look_at_clock(self) -> None:
        self.second_ms = self._wall_clock.now_ms()

    def _last_acknowledged_ms(self, session: ObservedSession) -> int:
        """The end of that second, so that it is after what led to it; now, if it still lasts."""
        now_ms = self._wall_clock.now_ms()
        second_ms = self.acknowledging.get(session)
        return min(second_ms + 1000, now_ms) if second_ms else now_ms

    async def store_all(self) -> None:
        """Store what waits, for the last time."""
        await self._settle(last=True)
        await self._journal.store_all()

    async def _settle(self, *, last: bool = False) -> None:
        """The minute is over: what was counted makes entries, some at a time. `last`: what there is
        no room for is lost."""
        for place, session in enumerate(list(self.acknowledging)):
            if place % SLICE == 0:
                await self._make_room(last)
            self.settle_session(session)
        for counts in (self._counts, self._claims):
            for place, each in enumerate(list(counts)):
                if place % SLICE == 0:
                    await self._make_room(last)
                count, last_ms = counts.pop(each, (0, 0))
                if count:
                    self.add(
                        each.token,
                        each.event,
                        each.session,
                        reason=each.reason,
                        count=count,
                        at_ms=last_ms,
                    )

    async def _make_room(self, last: bool) -> None:
        await sleep(self._reactor, 0)
        while self._journal.is_half_full and not (last and self._journal.is_postponed):
            if self._journal.is_postponed:
                await sleep(self._reactor, FLUSH_SECONDS)
            else:
                await self._journal.store_all()

    # Reading

    async def page(self, token: str, cursor: str, limit: int) -> DeviceEventPage:
        """The latest events of a device, from `cursor` on. Raises `StoreUnavailable`;
        `RequestError` `invalid` for a wrong cursor."""
        place = read_cursor("events", cursor, int, int)
        asked = await self._survey.ask(QUESTION, token, ALL_PROCESSES)
        stored = await self._journal.latest(token, MAX_EVENTS)
        events = [_event(entry) for _, entry in stored]
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
        sessions = await self._acknowledging(token)
        # From here on nothing moves from one place to another.
        counts = [
            (
                _Counted(token, session.session_id, "acknowledged", ""),
                (session.unsettled, self._last_acknowledged_ms(session)),
            )
            for session in sessions
            if session.unsettled
        ]
        for several in (self._counts, self._claims):
            counts += [pair for pair in several.items() if pair[0].token == token]
        events = [_event(each.entry) for each in self._journal.waiting_of(token)]
        events += [
            DeviceEvent(
                at_ms, each.event, self._node, each.session, None, each.reason or None, count
            )
            for each, (count, at_ms) in counts
        ]
        return events

    async def _acknowledging(self, token: str) -> list[ObservedSession]:
        """The sessions of a device that have acknowledged something in this minute. All are looked
        at, some at a time: an index would cost memory for each session, and this is for one
        person, that looks at one device."""
        sessions = list(self.acknowledging)
        found: list[ObservedSession] = []
        for start in range(0, len(sessions), LOOKED_AT):
            if start:
                await sleep(self._reactor, 0)
            found += [each for each in sessions[start : start + LOOKED_AT] if each.token == token]
        return found


def _event(entry: bytes) -> DeviceEvent:
    at, event, node, session, code, reason, count = _decode(entry)
    kind = msgspec.convert(event, EventKind)
    return DeviceEvent(at, kind, node, session, code or None, reason or None, count or None)


def _after(events: list[DeviceEvent], last_ms: int, seen: int) -> list[DeviceEvent]:
    """Those after the first `seen` of `last_ms`."""
    alike = [each for each in events if each.ts == last_ms]
    return alike[seen:] + [each for each in events if each.ts < last_ms]


def _log_failure(failure: Failure) -> None:
    log.failure("Counts of the timelines are lost", failure=failure, event="observe.counts_lost")
