"""Reading on in logs for many sessions: what one has just read is not read again by the next."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import Deferred, DeferredSemaphore

from push.store.server import RedisServer
from push.streams.channel import Channel
from push.streams.log import LogReader, Page, Reading, Wanted
from push.streams.memory import LogMemory

SHARED_PAGE_ENTRIES = 64
READS_AT_A_TIME = (
    32  # a page may have 256 KiB: thousands of sessions at once must not have one each
)


class PageReader:
    """A `LogReader` with a memory, for streams that several sessions follow."""

    def __init__(self, server: RedisServer, reader: LogReader, memory: LogMemory) -> None:
        self._server = server
        self._reader = reader
        self._memory = memory
        self._running: dict[tuple[str, int], list[Deferred[None]]] = {}
        self._slots = DeferredSemaphore(READS_AT_A_TIME)

    async def read(self, wanted: Sequence[tuple[Channel, int, int]]) -> Reading:
        """Read each channel's log on from behind an offset, at most so many entries.

        Pages come in the order of `wanted`; one from memory is never `complete`. A page that
        another session is reading just now is waited for. Raises `StoreUnavailable`.
        """
        pages: dict[str, Page] = {}
        unread: list[Wanted] = []
        for channel, after, limit in wanted:
            stream = channel.stream
            known = self._memory.after(stream, after, limit)
            if not known and (stream, after) in self._running:
                waiter: Deferred[None] = Deferred()
                self._running[stream, after].append(waiter)
                await waiter
                known = self._memory.after(stream, after, limit)
            if known:
                pages[stream] = Page(stream, known, False, 0)
            else:
                size = max(limit, SHARED_PAGE_ENTRIES) if channel.shared_by_many else limit
                unread.append(Wanted(stream, after, size))
        if not unread:
            now_us = self._server.clock.now_us()
            return Reading(now_us, 0, [pages[channel.stream] for channel, _, _ in wanted])
        reading = await self._read([channel for channel, _, _ in wanted], unread)
        pages |= {page.stream: page for page in reading.pages}
        return reading._replace(pages=[pages[channel.stream] for channel, _, _ in wanted])

    async def _read(self, channels: Sequence[Channel], unread: list[Wanted]) -> Reading:
        shared = {channel.stream for channel in channels if channel.shared_by_many}
        keys = [(item.stream, item.after) for item in unread if item.stream in shared]
        keys = [key for key in keys if key not in self._running]
        for key in keys:
            self._running[key] = []
        for channel in channels:
            channel.readers += 1
        try:
            reading = await self._slots.run(self._read_now, unread)
            for item, page in zip(unread, reading.pages, strict=True):
                if item.stream in shared and page.entries and not page.lost:
                    self._memory.add_read(item.stream, item.after, page.entries)
            return reading
        finally:
            for channel in channels:
                channel.readers -= 1
            for key in keys:
                for waiter in self._running.pop(key):
                    waiter.callback(None)

    def _read_now(self, unread: list[Wanted]) -> Deferred[Reading]:
        return Deferred.fromCoroutine(self._reader.read(unread))
