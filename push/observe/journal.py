"""Journals in Redis: of each owner the last entries, bounded by owner, by age and in all.

Entries are written in batches. While Redis cannot be reached they wait here, up to a bound; then
the oldest are given up and counted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from operator import attrgetter
from typing import NamedTuple

import msgspec
from twisted.logger import Logger
from twisted.python.failure import Failure

from push.redis.client import RedisClient
from push.redis.connection.errors import StoreUnavailable
from push.redis.connection.replies import Argument
from push.redis.scripts import load_script
from push.redis.shards import Shards
from push.runtime.ports import Clock
from push.runtime.timers import Debounced, Periodic, SingleFlight, sleep

log = Logger()

MAX_WAITING = 20_000
# Redis does nothing else during a call: so many entries take it a millisecond or two, half as long
# as a call of a hundred pushes, and others come in between.
ENTRIES_PER_CALL = 200
PAUSE_SECONDS = 0.002
RETRY_SECONDS = 2.0
SWEEP_SECONDS = 3600.0

_append = load_script("observe", "append")
_AT = attrgetter("at")


class JournalKind(NamedTuple):
    """`name`: what its keys begin with (`push.redis.keyspace`), as in the scripts. `shard_by`: what
    comes before the owner in the name that decides on which server the journal is."""

    name: str
    shard_by: str
    max_each: int
    max_in_all: int
    keep_seconds: int
    of_devices: bool = False


class JournalEntry(msgspec.Struct, frozen=True):
    """`at`: the time by which entries are ordered, in milliseconds."""

    owner: str
    at: int
    entry: bytes


class Journal:
    """One kind of journal, as a process writes and reads it."""

    def __init__(
        self, reactor: Clock, shards: Shards, kind: JournalKind, flush_seconds: float
    ) -> None:
        self.given_up = 0
        self.is_postponed = False  # Redis could not be reached; it is tried again
        self._reactor = reactor
        self._shards = shards
        self._kind = kind
        self._waiting: deque[JournalEntry] = deque()
        self._writing: list[JournalEntry] = []
        self._writes = SingleFlight(self._write, _log_failure)
        self._soon = Debounced(reactor, flush_seconds, self._writes.request)
        self._sweeps = Periodic(reactor, SWEEP_SECONDS, self._sweep, _log_failure)

    def start(self) -> None:
        self._sweeps.start()

    def add(self, owner: str, at: int, entry: bytes) -> None:
        self.add_to_all((owner,), at, entry)

    def add_to_all(self, owners: Iterable[str], at: int, entry: bytes) -> None:
        """The same entry for each of `owners`."""
        waiting = self._waiting
        for owner in owners:
            if len(waiting) >= MAX_WAITING:
                waiting.popleft()
                self.given_up += 1
            waiting.append(JournalEntry(owner, at, entry))
        self._soon.request()

    @property
    def is_full(self) -> bool:
        """Whether one more entry would drive out the oldest."""
        return len(self._waiting) >= MAX_WAITING

    @property
    def is_half_full(self) -> bool:
        """Whether half of what may wait does: who has much to add lets it be stored first."""
        return len(self._waiting) >= MAX_WAITING // 2

    def waiting_of(self, owner: str) -> Iterator[JournalEntry]:
        """The entries of `owner` that are not stored yet."""
        return (each for each in (*self._writing, *self._waiting) if each.owner == owner)

    async def store_all(self) -> None:
        """Store what waits now, if Redis can be reached."""
        self._soon.cancel()
        await self._writes.run()
        self._soon.cancel()

    def cancel(self) -> None:
        """Store nothing more."""
        self._sweeps.stop()
        self._soon.cancel()
        self._writes.cancel()

    async def latest(
        self, owner: str, limit: int, *, until: int | None = None, since: int = 0, skip: int = 0
    ) -> list[tuple[int, bytes]]:
        """The latest entries of `owner` from `until` (included) back to `since`, each with its
        time; those of one time in the order of their bytes, the highest first. Raises
        `StoreUnavailable`."""
        server = self._shards.of(f"{self._kind.shard_by}{owner}")
        key = server.key(f"{self._kind.name}:{owner}")
        highest = "+inf" if until is None else str(until)
        oldest = max(since, self._oldest(server))
        page: list[Argument] = ["LIMIT", skip, limit]
        reply = await server.command(
            "ZREVRANGEBYSCORE", key, highest, str(oldest), "WITHSCORES", *page
        )
        return [(int(float(reply[i + 1])), reply[i]) for i in range(0, len(reply), 2)]

    def _oldest(self, server: RedisClient) -> int:
        return max(0, server.clock.now_ms() - self._kind.keep_seconds * 1000)

    async def _write(self) -> None:
        failed: list[JournalEntry] = []
        unreachable: set[int] = set()
        while self._waiting:
            count = min(len(self._waiting), ENTRIES_PER_CALL)
            self._writing = [self._waiting.popleft() for _ in range(count)]
            parts = self._shards.grouped(
                self._writing, lambda each: f"{self._kind.shard_by}{each.owner}"
            )
            for number, part in parts.items():
                if number in unreachable or not await self._append(self._shards[number], part):
                    unreachable.add(number)
                    failed += part
            self._writing = []
            if self._waiting:
                await sleep(self._reactor, PAUSE_SECONDS)
        self.is_postponed = bool(failed)
        if failed:
            # Once more is once: the same entry is one member of the set.
            self._waiting.extendleft(reversed(failed))
            self._soon.request(RETRY_SECONDS)

    async def _sweep(self) -> None:
        """Drop what is too old, where nothing is added."""
        for server in self._shards:
            await self._append(server, [])

    async def _append(self, server: RedisClient, entries: list[JournalEntry]) -> bool:
        """Whether they are stored."""
        kind = self._kind
        bounds = kind.max_each, kind.max_in_all, kind.keep_seconds
        arguments: list[Argument] = [kind.name, *bounds, "1" if kind.of_devices else ""]
        values: dict[str, list[Argument]] = {}
        for each in sorted(entries, key=_AT):
            own = values.get(each.owner)
            if own is None:
                values[each.owner] = [each.at, each.entry]
            else:
                own += (each.at, each.entry)
        for owner, own in values.items():
            arguments += (owner, len(own), *own)
        try:
            await server.run(_append, [], arguments)
        except StoreUnavailable as error:
            log.debug(
                "Entries of {kind} are not stored yet; tried again: {reason}",
                kind=kind.name,
                reason=error.reason,
                event="observe.journal_postponed",
            )
            return False
        return True


def _log_failure(failure: Failure) -> None:
    log.failure(
        "Entries of a journal could not be stored", failure=failure, event="observe.journal_failed"
    )
