"""Reading on in logs: several streams in one call."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

from push.redis.client import RedisClient
from push.redis.keyspace import log_name
from push.redis.scripts import load_script
from push.session.entry import Entry
from push.streams.message import from_log

PAGE_BYTES = 256 * 1024

_script = load_script("streams", "read")


class WantedPages(NamedTuple):
    """Read on in `stream` after `after`, at most `limit` entries."""

    stream: str
    after: int
    limit: int


class LogPage(NamedTuple):
    """Entries in order, those that have expired as well; `complete` when none is missing.

    `lost`: up to here unexpired entries were dropped that the reader had not read; 0 if none was.
    """

    stream: str
    entries: list[Entry]
    complete: bool
    lost: int


class LogReading(NamedTuple):
    """Pages and the server's clock: `now_us` for expiry, `clock_us` for "complete up to"."""

    now_us: int
    clock_us: int
    pages: list[LogPage]


class LogReader:
    """Reads the logs of one server."""

    def __init__(self, server: RedisClient) -> None:
        self._server = server

    async def read(self, wanted: Sequence[WantedPages], max_bytes: int = PAGE_BYTES) -> LogReading:
        """Read all of `wanted` in one call. Raises `StoreUnavailable`."""
        server = self._server
        arguments: list[int | str] = [max_bytes]
        for item in wanted:
            arguments += [item.after, item.limit, item.stream]
        reading = await server.run(_script, [], arguments, decode=partial(_reading, wanted))
        server.clock.observe(reading.now_us)
        return reading

    async def get(self, stream: str, offsets: Sequence[int]) -> tuple[dict[int, Entry], set[int]]:
        """The entries at `offsets` that are still there, and which of them have expired."""
        found: dict[int, Entry] = {}
        expired: set[int] = set()
        unread = list(offsets)
        while unread:
            reading = await self.read([WantedPages(stream, offset - 1, 1) for offset in unread])
            pages = list(zip(unread, reading.pages, strict=True))
            # A page with no entry that is not complete was not reached: the answer was full.
            unread = [offset for offset, page in pages if not page.entries and not page.complete]
            for offset, page in pages:
                for entry in page.entries:
                    if entry.offset == offset:
                        found[offset] = entry
                        if has_expired(entry, reading.now_us):
                            expired.add(offset)
        return found, expired

    async def ahead(self, places: Sequence[tuple[str, int]]) -> list[str]:
        """Which of the streams have an entry after the offset given with it (rule 3)."""
        if not places:
            return []
        server = self._server
        names = {server.key(log_name(stream)).encode(): stream for stream, _ in places}
        after = [f"{offset}-0" for _, offset in places]
        reply = await server.command("XREAD", "COUNT", 1, "STREAMS", *names, *after)
        return [names[key] for key, _ in reply or ()]


def has_expired(entry: Entry, now_us: int) -> bool:
    return 0 < entry.expires_ms <= now_us // 1000


def _reading(wanted: Sequence[WantedPages], reply: list[Any]) -> LogReading:
    pages = [
        _page(item, complete, entries, int(lost))
        for item, (complete, entries, lost) in zip(wanted, reply[2:], strict=True)
    ]
    return LogReading(int(reply[0]), int(reply[1]), pages)


def _page(wanted: WantedPages, complete: int, items: list[list[object]], lost: int) -> LogPage:
    entries = []
    previous = wanted.after
    for item in items:
        entry = from_log(wanted.stream, previous, item)
        previous = entry.offset
        entries.append(entry)
    return LogPage(wanted.stream, entries, bool(complete), lost)
