"""What is published: events for those who look, and the recent messages by target, newest first.

What became of them is in the ledger; here is only which there were. A process that publishes writes
that in batches, half a second later.
"""

from __future__ import annotations

from collections.abc import Sequence

from push.observe.events import Events
from push.observe.journal import Journal, JournalKind
from push.redis.keyspace import RECENT
from push.redis.shards import Shards
from push.runtime.ports import Clock
from push.wire.api.paging import make_cursor, read_cursor

MAX_OF_A_TARGET = 1_000
MAX_NOTES_A_SECOND = 5_000  # of one process; what is published faster than that is not listed
MAX_IN_ALL = 100_000
KEEP_SECONDS = 7 * 86_400
FLUSH_SECONDS = 0.5

ANYBODY = "*"  # the owner of all messages, for any target


class RecentMessages:
    """Written by those who publish, read page by page."""

    def __init__(self, reactor: Clock, shards: Shards) -> None:
        kind = JournalKind(
            RECENT.removesuffix(":"), RECENT, MAX_OF_A_TARGET, MAX_IN_ALL, KEEP_SECONDS
        )
        self._journal = Journal(reactor, shards, kind, FLUSH_SECONDS)
        self._now = reactor.seconds
        self._second = self._noted = 0

    @property
    def given_up(self) -> int:
        """Entries that could not be stored, because Redis was unreachable for too long."""
        return self._journal.given_up

    def note(self, id: str, ts_ms: int, targets: Sequence[str]) -> None:
        """Message `id` was published. `targets` as in a query: `user:anna`."""
        second = int(self._now())
        if second != self._second:
            self._second, self._noted = second, 0
        if self._noted >= MAX_NOTES_A_SECOND:
            return
        self._noted += 1 + len(targets)
        self._journal.add_to_all((ANYBODY, *targets), ts_ms, id.encode())

    async def page(
        self, target: str | None, since_ms: int, cursor: str, limit: int
    ) -> tuple[list[str], str | None]:
        """Ids of messages, and the cursor of the next page. Raises `StoreUnavailable`;
        `RequestError` `invalid` for a wrong cursor."""
        place = read_cursor("recent", cursor, int, int)
        until, skip = place if place is not None else (None, 0)
        found = await self._journal.latest(
            target or ANYBODY, limit + 1, until=until, since=since_ms, skip=skip
        )
        rows = found[:limit]
        ids = [entry.decode() for _, entry in rows]
        if len(found) <= limit:
            return ids, None
        last_ms = rows[-1][0]
        alike = sum(at == last_ms for at, _ in rows)
        if until == last_ms:
            alike += skip
        return ids, make_cursor("recent", last_ms, alike)

    def start(self) -> None:
        self._journal.start()

    def stop(self) -> None:
        self._journal.cancel()

    async def store_all(self) -> None:
        """Store what waits, for the last time."""
        await self._journal.store_all()


class PushEvents:
    """Gets each push that is accepted."""

    def __init__(self, events: Events, recent: RecentMessages) -> None:
        self._events = events
        self._recent = recent

    def pushed(self, id: str, ts_ms: int, targets: Sequence[str], streams: int) -> None:
        """Message `id` was written to `streams` streams; for sessions of an address there are no
        `targets`, which are as in a query."""
        self._recent.note(id, ts_ms, targets)
        if self._events.wants("pushed"):
            kind, _, name = targets[0].partition(":") if len(targets) == 1 else ("", "", "")
            self._events.record(
                "pushed",
                token=name if kind == "token" else None,
                user=name if kind == "user" else None,
                message=id,
                reason=targets[0] if len(targets) == 1 else None,
                n=streams,
            )
