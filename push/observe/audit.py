"""The audit trail: each write by HTTP that is not a message, and each refused credential.

It is in streams of the first Redis server, in three parts with a bound each: acts of
administrators, other writes, and refused credentials. So many entries of one part never drive out
another. Refused credentials are noted at most ten times a minute for an address, and a hundred
times in all.
"""

from __future__ import annotations

import heapq
import secrets
from collections import deque
from collections.abc import Hashable, Iterator
from enum import Enum
from functools import partial
from itertools import count
from typing import NamedTuple

import msgspec
from twisted.logger import Logger
from twisted.python.failure import Failure

from push.redis.client import RedisClient
from push.redis.connection.errors import StoreUnavailable
from push.redis.keyspace import AUDIT
from push.redis.scripts import load_script
from push.runtime.ports import Clock, TimeOfDay
from push.runtime.tasks import gather
from push.runtime.timers import Debounced, SingleFlight
from push.wire.addresses import counted_ip
from push.wire.api.operate.audit import AuditEntry, AuditPage
from push.wire.api.paging import make_cursor, read_cursor
from push.wire.errors import shortened

log = Logger()

KEEP_SECONDS = 90 * 86_400
MAX_OF_A_PART = 20_000
MAX_WAITING = 5_000
ENTRIES_PER_CALL = 250
FLUSH_SECONDS = 0.1
RETRY_SECONDS = 2.0
REFUSALS_A_MINUTE = 100
REFUSALS_A_MINUTE_OF_AN_ADDRESS = 10
READ_AT_A_TIME = 500
READS_OF_A_PAGE = 20
MAX_TARGET_CHARACTERS = 200

_append = load_script("observe", "audit")
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(AuditEntry).decode


class Part(Enum):
    """A part of the trail."""

    ACTS = "acts"
    WRITES = "writes"
    REFUSED = "refused"


PARTS = tuple(Part)


class _Place(NamedTuple):
    """Where an entry is: the id in its stream, and which part that is."""

    ms: int
    seq: int
    part: int


class _Batch(NamedTuple):
    """Entries that are written once: `mark` is in the trail when they are. `at_ms`: when that was
    first tried."""

    part: Part
    mark: str
    at_ms: int
    entries: list[bytes]


class Refusals:
    """Which refused credentials are noted: some of each minute."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._minute = -1
        self._left = 0
        self._by_address: dict[str, int] = {}

    def may_note(self, ip: str) -> bool:
        minute = int(self._clock.seconds() // 60)
        if minute != self._minute:
            self._minute, self._left = minute, REFUSALS_A_MINUTE
            self._by_address.clear()
        address = counted_ip(ip) if ip else ip
        count = self._by_address.get(address, 0)
        if not self._left or count >= REFUSALS_A_MINUTE_OF_AN_ADDRESS:
            return False
        self._left -= 1
        self._by_address[address] = count + 1
        return True


class AuditTrail:
    """Written at once, in batches; while Redis cannot be reached entries wait, the oldest are given
    up when there are too many. They do not wait for replicas: the answer of the write that they
    tell of did not wait for them either."""

    def __init__(self, reactor: Clock, server: RedisClient, wall_clock: TimeOfDay) -> None:
        self.given_up = 0
        self._server = server
        self._wall_clock = wall_clock
        self._refusals = Refusals(reactor)
        self._waiting: deque[tuple[Part, bytes]] = deque()
        self._batches: deque[_Batch] = deque()
        self._marks = map(f"{secrets.token_hex(8)}-{{}}".format, count())
        self._is_postponed = False
        self._writes = SingleFlight(self._write, _log_failure)
        self._soon = Debounced(reactor, FLUSH_SECONDS, self._writes.request)

    def stop(self) -> None:
        """Store nothing more."""
        self._soon.cancel()
        self._writes.cancel()

    def note(
        self, key: str, ip: str, route: str, target: str, status: int, *, is_admin: bool
    ) -> None:
        """A write was answered. `is_admin`: of a route that only administrators may use."""
        part = Part.ACTS if is_admin else Part.WRITES
        self._note(part, AuditEntry(self._now_ms(), key, ip, route, _short(target), status))

    def note_refused(self, key: str | None, ip: str, route: str, target: str, status: int) -> None:
        """Credentials were refused; `key` is named when it is valid and may not do that."""
        if self._refusals.may_note(ip):
            entry = AuditEntry(self._now_ms(), key, ip, route, _short(target), status)
            self._note(Part.REFUSED, entry)

    def _now_ms(self) -> int:
        return self._wall_clock.now_ms()

    def _note(self, part: Part, entry: AuditEntry) -> None:
        if len(self._waiting) >= MAX_WAITING:
            self._waiting.popleft()
            self.given_up += 1
        self._waiting.append((part, _encode(entry)))
        self._soon.request()

    async def store_all(self) -> None:
        """Store what waits, for the last time."""
        self._soon.cancel()
        await self._writes.run()
        self._soon.cancel()

    async def _write(self) -> None:
        while self._waiting or self._batches:
            if not self._batches:
                self._batches.extend(self._next_batches())
            batch = self._batches[0]
            try:
                await self._append(batch, again=self._is_postponed)
            except StoreUnavailable as error:
                if not self._is_postponed:
                    log.warn(
                        "The audit trail waits for Redis: {reason}",
                        reason=error.reason,
                        event="observe.audit_postponed",
                    )
                self._is_postponed = True
                self._soon.request(RETRY_SECONDS)
                return
            self._is_postponed = False
            self._batches.popleft()

    def _next_batches(self) -> Iterator[_Batch]:
        taken = [self._waiting.popleft() for _ in range(min(len(self._waiting), ENTRIES_PER_CALL))]
        for part in PARTS:
            entries = [entry for each, entry in taken if each is part]
            if entries:
                yield _Batch(part, next(self._marks), self._now_ms(), entries)

    async def _append(self, batch: _Batch, *, again: bool) -> None:
        """Raises `StoreUnavailable`: whether the entries are written is not known. `again`: it has
        done so for this batch."""
        first = batch.at_ms if again else ""
        arguments = [batch.part.value, MAX_OF_A_PART, KEEP_SECONDS, batch.mark, first]
        await self._server.run(_append, [], [*arguments, *batch.entries])

    # Reading

    async def page(
        self, since_ms: int, key: str | None, cursor: str, limit: int, turns_of: Hashable = ""
    ) -> AuditPage:
        """The latest entries, from `cursor` on. `turns_of`: the owner of the turns that this waits
        for (see `PatientCalls`). Raises `StoreUnavailable`; `RequestError` `invalid` for a wrong
        cursor.

        A page of one key may have fewer than `limit` although more follow.
        """
        place = read_cursor("audit", cursor, int, int, int)
        before = _Place(*place) if place is not None else None
        found: list[tuple[_Place, AuditEntry]] = []
        for _ in range(READS_OF_A_PAGE):
            read = partial(self._read, before, since_ms, key, limit + 1 - len(found))
            some, before, is_last = await self._server.patient_calls.run(turns_of, AUDIT, read)
            found += some
            if len(found) > limit or is_last:
                before = found[limit - 1][0] if len(found) > limit else None
                break
        following = None if before is None else make_cursor("audit", *before)
        entries = [entry for _, entry in found[:limit]]
        # Of one millisecond the parts are mixed: they have numbers of their own.
        return AuditPage(sorted(entries, key=lambda each: -each.ts), following)

    async def _read(
        self, before: _Place | None, since_ms: int, key: str | None, wanted: int
    ) -> tuple[list[tuple[_Place, AuditEntry]], _Place | None, bool]:
        """Of the next `READ_AT_A_TIME` entries of all parts, the latest first: at most `wanted`
        that are of `key`; where to go on; and whether these were the last.

        All in one turn: many pages may wait for the next, and what each has read would fill the
        memory.
        """
        highest = "+" if before is None else f"{before.ms}-{before.seq}"
        page = highest, str(since_ms), "COUNT", READ_AT_A_TIME + 1
        keys = [self._server.key(f"{AUDIT}{part.value}") for part in PARTS]
        replies = await gather(self._server.command("XREVRANGE", each, *page) for each in keys)
        rows = (
            (_place_of(name, number), fields[1])
            for number, reply in enumerate(replies)
            for name, fields in reply
        )
        latest = heapq.nlargest(
            READ_AT_A_TIME, (row for row in rows if before is None or row[0] < before)
        )
        found: list[tuple[_Place, AuditEntry]] = []
        for at, packed in latest:
            before = at
            entry = _decode(packed)
            if key is None or entry.key == key:
                found.append((at, entry))
                if len(found) == wanted:
                    break
        return found, before, len(latest) < READ_AT_A_TIME


def _place_of(name: bytes, part: int) -> _Place:
    ms, _, seq = name.decode().partition("-")
    return _Place(int(ms), int(seq), part)


def _short(target: str) -> str:
    return shortened(target, MAX_TARGET_CHARACTERS)


def _log_failure(failure: Failure) -> None:
    log.failure(
        "The audit trail could not be written", failure=failure, event="observe.audit_failed"
    )
