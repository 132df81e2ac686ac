"""What a connector keeps of logs in memory (architecture, rule 14).

Sessions that fall behind together, or reconnect together, want the same entries, and are not to
read them one by one: the latest live messages of a stream, and the pages that one of them has just
read. Both are kept as runs, least recently used out first.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence

from push.session.entry import Entry

MAX_BYTES = 8 * 1024 * 1024
RUN_ENTRIES = 512
RUN_BYTES = 1024 * 1024
ENTRY_BYTES = 700  # of an entry beside its body and its frame, about
LIVE, READ = "live", "read"


class Run:
    """Consecutive entries: nothing else is in the log after `begin`, up to `end`."""

    __slots__ = ("begin", "end", "entries", "size_bytes")

    def __init__(self, begin: int) -> None:
        self.begin = self.end = begin
        self.entries: deque[Entry] = deque()
        self.size_bytes = 0

    def add(self, entry: Entry) -> None:
        self.entries.append(entry)
        self.end = entry.offset
        self.size_bytes += _size_bytes(entry)
        while len(self.entries) > RUN_ENTRIES or (
            self.size_bytes > RUN_BYTES and len(self.entries) > 1
        ):
            first = self.entries.popleft()
            self.begin = first.offset
            self.size_bytes -= _size_bytes(first)

    def after(self, position: int, limit: int) -> list[Entry]:
        found: list[Entry] = []
        for entry in self.entries:
            if entry.offset > position:
                found.append(entry)
                if len(found) == limit:
                    break
        return found

    def drop_to(self, offset: int) -> None:
        while self.entries and self.entries[0].offset <= offset:
            self.size_bytes -= _size_bytes(self.entries.popleft())
        self.begin = min(max(self.begin, offset), self.end)

    def remove(self, offset: int) -> None:
        for entry in self.entries:
            if entry.offset == offset:
                self.entries.remove(entry)
                self.size_bytes -= _size_bytes(entry)
                return


class LogCache:
    """Runs of streams; at most `max_bytes` in all."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._runs: OrderedDict[tuple[str, str], Run] = OrderedDict()
        self.size_bytes = 0

    def add_live(self, stream: str, entry: Entry) -> None:
        """The next message of the channel."""
        self._add((stream, LIVE), entry.previous, [entry])

    def add_read(self, stream: str, after: int, entries: Sequence[Entry]) -> None:
        """A page of the log: what comes after `after`."""
        self._add((stream, READ), after, entries)

    def _add(self, key: tuple[str, str], begin: int, entries: Sequence[Entry]) -> None:
        run = self._runs.get(key)
        if run is not None and not run.begin <= begin <= run.end:
            self._forget(key)
            run = None
        if run is None:
            run = self._runs[key] = Run(begin)
        before = run.size_bytes
        for entry in entries:
            if entry.offset > run.end:
                run.add(entry)
        self.size_bytes += run.size_bytes - before
        self._runs.move_to_end(key)
        while self.size_bytes > self._max_bytes:
            self._forget(next(iter(self._runs)))

    def after(self, stream: str, position: int, limit: int) -> list[Entry]:
        """What follows `position` in the log, as far as it is kept; [] if nothing is."""
        for kind in (LIVE, READ):
            run = self._runs.get((stream, kind))
            if run is not None and run.begin <= position < run.end:
                return run.after(position, limit)
        return []

    def remove(self, stream: str, offset: int) -> None:
        """An entry was removed from the log."""
        for kind in (LIVE, READ):
            run = self._runs.get((stream, kind))
            if run is not None:
                self.size_bytes -= run.size_bytes
                run.remove(offset)
                self.size_bytes += run.size_bytes

    def drop_to(self, stream: str, offset: int) -> None:
        """All entries up to `offset` were dropped from the log."""
        for kind in (LIVE, READ):
            run = self._runs.get((stream, kind))
            if run is not None:
                self.size_bytes -= run.size_bytes
                run.drop_to(offset)
                self.size_bytes += run.size_bytes

    def forget(self, stream: str) -> None:
        for kind in (LIVE, READ):
            self._forget((stream, kind))

    def clear(self) -> None:
        self._runs.clear()
        self.size_bytes = 0

    def _forget(self, key: tuple[str, str]) -> None:
        run = self._runs.pop(key, None)
        if run is not None:
            self.size_bytes -= run.size_bytes


def _size_bytes(entry: Entry) -> int:
    return 2 * len(entry.body) + ENTRY_BYTES
