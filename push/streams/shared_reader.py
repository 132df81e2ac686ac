"""Reading on in logs for many sessions: what one has just read is not read again by the next."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import Deferred

from push.redis.client import RedisClient
from push.runtime.tasks import Semaphore
from push.streams.channel import Channel
from push.streams.log import LogPage, LogReader, LogReading, WantedPages
from push.streams.log_cache import LogCache

SHARED_PAGE_ENTRIES = 64
READS_AT_A_TIME = (
    32  # a page may have 256 KiB: thousands of sessions at once must not have one each
)


class SharedLogReader:
    """A `LogReader` with a memory, for streams that several sessions follow."""

    def __init__(self, server: RedisClient, reader: LogReader, memory: LogCache) -> None:
        self._server = server
        self._reader = reader
        self._memory = memory
        self._running: dict[tuple[str, int], list[Deferred[None]]] = {}
        self._turns = Semaphore(READS_AT_A_TIME)

    async def read(self, wanted: Sequence[tuple[Channel, int, int]]) -> LogReading:
        """Read each channel's log on from behind an offset, at most so many entries.

        Pages come in the order of `wanted`; one from memory is never `complete`. A page that
        another session is reading just now is waited for. Raises `StoreUnavailable`.
        """
        channels = [channel for channel, _, _ in wanted]
        for channel in channels:
            channel.begin_reading()
        try:
            reading = await self._pages(wanted)
            pages = {page.stream: page for page in reading.pages}
            return reading._replace(pages=[_as_it_is(channel, pages) for channel in channels])
        finally:
            for channel in channels:
                channel.end_reading()

    async def _pages(self, wanted: Sequence[tuple[Channel, int, int]]) -> LogReading:
        known: list[LogPage] = []
        unread: list[tuple[Channel, WantedPages]] = []
        for channel, after, limit in wanted:
            stream = channel.stream
            entries = self._memory.after(stream, after, limit)
            if not entries and (stream, after) in self._running:
                waiter: Deferred[None] = Deferred()
                self._running[stream, after].append(waiter)
                await waiter
                entries = self._memory.after(stream, after, limit)
            if entries:
                known.append(LogPage(stream, entries, False, 0))
            else:
                size = max(limit, SHARED_PAGE_ENTRIES) if channel.shared_by_many else limit
                unread.append((channel, WantedPages(stream, after, size)))
        if not unread:
            return LogReading(self._server.clock.now_us(), 0, known)
        reading = await self._read(unread)
        return reading._replace(pages=[*known, *reading.pages])

    async def _read(self, unread: list[tuple[Channel, WantedPages]]) -> LogReading:
        shared = {channel.stream for channel, _ in unread if channel.shared_by_many}
        keys = [(item.stream, item.after) for _, item in unread if item.stream in shared]
        keys = [key for key in keys if key not in self._running]
        for key in keys:
            self._running[key] = []
        try:
            async with self._turns:
                reading = await self._reader.read([item for _, item in unread])
            for (channel, item), page in zip(unread, reading.pages, strict=True):
                # Without followers no notice comes of what is removed from the log.
                if item.stream in shared and channel.followers and page.entries and not page.lost:
                    entries = channel.still_there(page.entries)
                    self._memory.add_read(item.stream, item.after, entries)
            return reading
        finally:
            for key in keys:
                for waiter in self._running.pop(key):
                    waiter.callback(None)


def _as_it_is(channel: Channel, pages: dict[str, LogPage]) -> LogPage:
    """The channel's page, without what was removed from the log while it was waited for."""
    page = pages[channel.stream]
    return page._replace(entries=channel.still_there(page.entries))
