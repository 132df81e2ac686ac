"""Everyone's stream, which is on every server: one log for all, and what it means for cursors.

A message to everyone has on each server an offset of its own. After a resharding all servers have
the same log, in which each message has the highest of its offsets. So no cursor is ever too far,
wherever it comes from, also one that only a client knows: what a device had not done lay behind its
cursor on its old server, and now lies no further to the front. Where the clocks of the servers
differ, a cursor is moved on, to just before the first message that the device had not done.
Messages keep their time, which is their offset, but for that difference.

A message that has left the log of one server (it was cancelled, say, while another server could not
be reached) is in none any more.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from typing import NamedTuple

from push.redis import keyspace
from push.redis.client import RedisClient
from push.resharding.layout import Layout
from push.resharding.staging import ENTRIES_PER_CALL, Staging
from push.runtime.tasks import gather
from push.wire.idents import STREAM_ALL

LOG = f"{keyspace.LOG}{STREAM_ALL}"
LOST = f"{keyspace.LOST}{STREAM_ALL}"
COLLAPSE = f"{keyspace.COLLAPSE}{STREAM_ALL}"


class LogPlace(NamedTuple):
    """Where a message is on a server now."""

    id: str
    offset: int
    collapse: bytes | None


class MovedCounts:
    """What moves between the records of a message, by (from, to): see `Everyone.moved`."""

    def __init__(self) -> None:
        self.waiting: Counter[tuple[int, int]] = Counter()
        self.had: Counter[tuple[int, int]] = Counter()  # of these, it was written to so many
        self.keep: Counter[tuple[int, int]] = Counter()  # … that count as such at the new place
        self.again: Counter[tuple[int, int]] = Counter()  # of these, so many had done it
        self.new: Counter[int] = Counter()  # devices whose old server never had it


class Old:
    """The log of one server, as far as it goes on."""

    def __init__(self, places: list[LogPlace], offset_of: dict[str, int], lost: int) -> None:
        self.places = [place for place in places if place.id in offset_of]
        self.offsets = [place.offset for place in self.places]
        self.lost = lost
        self.new = [offset_of[place.id] for place in self.places]
        self.same = self.new == self.offsets and len(self.places) == len(offset_of)
        ids = {place.id for place in self.places}
        foreign = sorted((offset, id) for id, offset in offset_of.items() if id not in ids)
        self.foreign = [id for _, id in foreign]
        self.foreign_offsets = [offset for offset, _ in foreign]
        self.least_behind = list(self.new)  # the lowest new offset from here on
        for i in range(len(self.new) - 2, -1, -1):
            self.least_behind[i] = min(self.least_behind[i], self.least_behind[i + 1])
        self.highest = list(self.new)  # the highest new offset up to here
        for i in range(1, len(self.new)):
            self.highest[i] = max(self.highest[i], self.highest[i - 1])

    def translated(self, offset: int, end: int) -> int:
        """The place before the first message after `offset`; `end` when there is none."""
        first = bisect_right(self.offsets, offset)
        return self.least_behind[first] - 1 if first < len(self.offsets) else max(end, offset)

    def passed_beyond(self, first: int, offset: int) -> list[int]:
        """Numbers below `first` of messages whose new offsets are after `offset` all the same."""
        found = []
        for number in range(first - 1, -1, -1):
            if self.highest[number] <= offset:
                break
            if self.new[number] > offset:
                found.append(number)
        return found


class Cursor(NamedTuple):
    """Up to `offset` it is done, up to `position` it was handed out."""

    offset: int
    position: int


class Everyone:
    """The new log, the new places of cursors, and what moves in the ledger with the devices."""

    def __init__(self, layout: Layout, clock: int) -> None:
        self.offsets: dict[str, int] = {}  # of the messages in the new log, in its order
        self.closed: dict[str, str] = {}  # of messages that have left one log only: as what
        self.clock = clock
        self.lost = 0
        self._layout = layout
        self._old: dict[int, Old] = {}
        self._sources: dict[str, tuple[int, int]] = {}
        self._collapse: dict[bytes, int] = {}
        self._waiting: dict[tuple[int, int], list[int]] = {}
        self._had: dict[tuple[int, int], list[int]] = {}
        self._counts: defaultdict[str, MovedCounts] = defaultdict(MovedCounts)

    async def read(self) -> None:
        """Learn what is in the logs now. The clock is then after the end of the new one."""
        servers = self._layout.servers
        logs = {place: await _places(servers[place]) for place in self._layout.old}
        lost = {
            place: int(await servers[place].command("GET", servers[place].key(LOST)) or 0)
            for place in self._layout.old
        }
        self.lost = max(lost.values())
        highest: dict[str, tuple[int, int, bytes | None]] = {}
        for place, entries in logs.items():
            for entry in entries:
                before = highest.get(entry.id, (0, 0, None))
                highest[entry.id] = max(before, (entry.offset, place, entry.collapse), key=_first)
        await self._find_closed(logs, set(highest))
        last = 0
        for id, (offset, place, key) in sorted(highest.items(), key=lambda item: item[1][0]):
            if id in self.closed:
                continue
            last = self.offsets[id] = max(offset, last + 1)
            self._sources[id] = (place, offset)
            if key is not None:
                self._collapse[key] = last
        self.clock = max(self.clock, last)
        for place, entries in logs.items():
            self._old[place] = Old(entries, self.offsets, lost[place])

    async def _find_closed(self, logs: dict[int, list[LogPlace]], all_ids: set[str]) -> None:
        for place, entries in logs.items():
            missing = sorted(all_ids.difference(entry.id for entry in entries))
            server = self._layout.servers[place]
            found = await gather(
                server.command(
                    "HGET", server.key(keyspace.message_name(id)), keyspace.LEDGER_CLOSED_WITH
                )
                for id in missing
            )
            for id, code in zip(missing, found, strict=True):
                if code is not None:
                    self.closed[id] = code.decode()

    # Devices

    def moved(self, old: int, new: int, cursor: Cursor) -> Cursor:
        """A device that was at home on `old` is on `new`, in which it begins at the result.

        Of what it had not done, the ledger's record on `old` has counted it among those addressed,
        and perhaps as written to; from now on that is so in the record on `new`.
        """
        log = self._old[old]
        after = self._translated(log, cursor)
        first = bisect_right(log.offsets, cursor.offset)
        handed = max(first, bisect_right(log.offsets, cursor.position))
        pair = (old, new)
        if old != new and first < len(log.offsets):
            waiting = self._waiting.setdefault(pair, [0] * (len(log.offsets) + 1))
            waiting[first] += 1
            had = self._had.setdefault(pair, [0] * (len(log.offsets) + 1))
            had[first] += 1
            had[handed] -= 1
        if not log.same:
            self._count_differences(log, pair, first, handed, after)
        return after

    def _translated(self, log: Old, cursor: Cursor) -> Cursor:
        if log.same and log.lost == self.lost:
            return cursor
        position = log.translated(cursor.position, self.clock)
        if cursor.offset < log.lost:  # it must be notified: see rule 7
            return Cursor(cursor.offset, max(position, cursor.offset))
        return Cursor(log.translated(cursor.offset, self.clock), position)

    def _count_differences(
        self, log: Old, pair: tuple[int, int], first: int, handed: int, after: Cursor
    ) -> None:
        """Messages that change their order with others, and those that one server alone had."""
        for number in log.passed_beyond(first, after.offset):
            # It had done this one and gets it again, to be counted again.
            counts = self._counts[log.places[number].id]
            counts.waiting[pair] += 1
            counts.had[pair] += 1
            counts.keep[pair] += log.new[number] <= after.position
            counts.again[pair] += 1
        for number in log.passed_beyond(handed, after.position):
            if number >= first:  # as written to, too
                counts = self._counts[log.places[number].id]
                counts.had[pair] += pair[0] == pair[1]
                counts.keep[pair] -= pair[0] != pair[1]
        for id in log.foreign[bisect_right(log.foreign_offsets, after.offset) :]:
            self._counts[id].new[pair[1]] += 1

    def counts_of(self, id: str) -> MovedCounts:
        """What moves in the records of message `id`, once all devices have moved."""
        return self._counts[id]

    def add_up(self) -> None:
        """All devices have moved."""
        for pair, waiting in self._waiting.items():
            had, total, written = self._had[pair], 0, 0
            for number, place in enumerate(self._old[pair[0]].places):
                total += waiting[number]
                written += had[number]
                if total:
                    counts = self._counts[place.id]
                    counts.waiting[pair] += total
                    counts.had[pair] += written
                    counts.keep[pair] += written

    # Logs

    async def stage(self, staging: Staging) -> None:
        """The new log and what belongs to it, for every server that has not exactly that."""
        layout = self._layout
        for place in layout.new:
            here = self._old.get(place)
            if here is None or not await self._is_in_place(here, place):
                await self._stage_log(staging, place)
        ttl_ms = await self._lost_ttl_ms()
        for place in layout.new:
            here = self._old.get(place)
            if self.lost and (here is None or here.lost != self.lost):
                await staging.put_text(place, LOST, self.lost, ttl_ms)

    async def _is_in_place(self, here: Old, place: int) -> bool:
        server = self._layout.servers[place]
        length = int(await server.command("XLEN", server.key(LOG)))
        return here.same and length == len(self.offsets)

    async def _stage_log(self, staging: Staging, to: int) -> None:
        if not self.offsets:
            if to in self._layout.old:
                await staging.leave(to, LOG)
                await staging.leave(to, COLLAPSE)
            return
        staging.arriving[to] += 1
        items = list(self.offsets.items())
        for start in range(0, len(items), ENTRIES_PER_CALL):
            part = items[start : start + ENTRIES_PER_CALL]
            found = await gather(self._entry(id) for id, _ in part)
            entries = [
                (f"{offset}-0", fields)
                for (_, offset), fields in zip(part, found, strict=True)
                if fields
            ]
            await staging.put_entries(to, LOG, entries)
        if self._collapse:
            fields = {key.decode(): offset for key, offset in self._collapse.items()}
            await staging.put_hash(to, COLLAPSE, fields)
        elif to in self._layout.old:
            await staging.leave(to, COLLAPSE)

    async def _entry(self, id: str) -> list[bytes]:
        place, offset = self._sources[id]
        server = self._layout.servers[place]
        found = await server.command("XRANGE", server.key(LOG), offset, offset)
        return list(found[0][1]) if found else []

    async def _lost_ttl_ms(self) -> int:
        servers = [self._layout.servers[place] for place in self._layout.old]
        found = await gather(server.command("PTTL", server.key(LOST)) for server in servers)
        return max(0, *map(int, found))


def _first(item: tuple[int, int, bytes | None]) -> int:
    return item[0]


async def _places(server: RedisClient) -> list[LogPlace]:
    places = []
    start = "-"
    while True:
        entries = await server.command(
            "XRANGE", server.key(LOG), start, "+", "COUNT", ENTRIES_PER_CALL
        )
        for name, fields in entries:
            key = fields[7] if len(fields) > 7 and fields[6] == b"k" else None
            places.append(LogPlace(fields[1].decode(), int(name.split(b"-")[0]), key))
        if len(entries) < ENTRIES_PER_CALL:
            return places
        start = f"({entries[-1][0].decode()}"
