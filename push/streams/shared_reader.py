"""Reading on in logs for many sessions: what one has just read is not read again by the next.

All reads of one turn of the reactor go to Redis together: most sessions that open have
missed nothing, and each would pay for a call to be told so. What was read goes to those that wait
for it in bounded parts of turns.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from push.redis.client import RedisClient
from push.redis.connection.errors import for_another
from push.runtime.timers import Debounced
from push.runtime.turn_share import TurnShare
from push.streams.channel import Channel
from push.streams.log import LogPage, LogReader, LogReading, WantedPages
from push.streams.log_cache import LogCache

log = Logger()

SHARED_PAGE_ENTRIES = 64
# A call may bring 256 KiB: what is pushed meanwhile waits behind those that are under way.
CALLS_AT_A_TIME = 4
READS_PER_CALL = 32


class SharedLogReader:
    """A `LogReader` with a cache, for streams that several sessions follow. What comes from Redis
    is handed on in `steps`."""

    def __init__(
        self, server: RedisClient, reader: LogReader, cache: LogCache, steps: TurnShare
    ) -> None:
        self._server = server
        self._steps = steps
        self._reads = JoinedReads(server, reader, steps)
        self._cache = cache
        self._running: dict[tuple[str, int], list[Deferred[None]]] = {}

    async def read(self, wanted: Sequence[tuple[Channel, int, int]]) -> LogReading:
        """Read on in each channel's log after an offset, at most so many entries.

        Pages come in the order of `wanted`; one from the cache is never `complete`. A page that
        another session is reading just now is waited for. Raises `StoreUnavailable`.
        """
        channels = [channel for channel, _, _ in wanted]
        for channel in channels:
            channel.begin_reading()
        try:
            reading = await self._pages(wanted)
            pages = {page.stream: page for page in reading.pages}
            as_they_are = [_as_it_is(channel, pages) for channel in channels]
            return LogReading(reading.now_us, reading.clock_us, as_they_are)
        finally:
            for channel in channels:
                channel.end_reading()

    async def _pages(self, wanted: Sequence[tuple[Channel, int, int]]) -> LogReading:
        known: list[LogPage] = []
        unread: list[tuple[Channel, WantedPages]] = []
        for channel, after, limit in wanted:
            stream = channel.stream
            entries = self._cache.after(stream, after, limit)
            if not entries and (stream, after) in self._running:
                waiter: Deferred[None] = Deferred()
                self._running[stream, after].append(waiter)
                await waiter
                await self._steps.step()  # as many may have waited for this page
                entries = self._cache.after(stream, after, limit)
            if entries:
                known.append(LogPage(stream, entries, False, 0))
            else:
                size = max(limit, SHARED_PAGE_ENTRIES) if channel.shared_by_many else limit
                unread.append((channel, WantedPages(stream, after, size)))
        if not unread:
            return LogReading(self._server.clock.now_us(), 0, known)
        reading = await self._read(unread)
        if known:
            return reading._replace(pages=[*known, *reading.pages])
        return reading

    async def _read(self, unread: list[tuple[Channel, WantedPages]]) -> LogReading:
        shared = {channel.stream for channel, _ in unread if channel.shared_by_many}
        if not shared:
            return await self._reads.read([item for _, item in unread])
        keys = [(item.stream, item.after) for _, item in unread if item.stream in shared]
        keys = [key for key in keys if key not in self._running]
        for key in keys:
            self._running[key] = []
        try:
            reading = await self._reads.read([item for _, item in unread])
            for (channel, item), page in zip(unread, reading.pages, strict=True):
                # Without followers no notice comes of what is removed from the log.
                if item.stream in shared and channel.followers and page.entries and not page.lost:
                    entries = channel.still_there(page.entries)
                    self._cache.add_read(item.stream, item.after, entries)
            return reading
        finally:
            for key in keys:
                for waiter in self._running.pop(key):
                    waiter.callback(None)


def _as_it_is(channel: Channel, pages: dict[str, LogPage]) -> LogPage:
    """The channel's page, without what was removed from the log while it was waited for."""
    page = pages[channel.stream]
    if channel.removed is None:
        return page
    return page._replace(entries=channel.still_there(page.entries))


class _WantedRead(NamedTuple):
    wanted: Sequence[WantedPages]
    answer: Deferred[LogReading]


class JoinedReads:
    """A `LogReader` for many. What there was no room for in an answer goes first in the next call.

    That, and calls beside each other, is why these are no `JoinedCalls`: a page may have 256 KiB,
    and which of the pages that were wanted are in the answer is known only then.
    """

    def __init__(self, server: RedisClient, reader: LogReader, steps: TurnShare) -> None:
        self._reader = reader
        self._steps = steps
        self._waiting: deque[_WantedRead] = deque()
        self._calls = 0
        self._end_of_turn = Debounced(server.reactor, 0, self._send)

    def read(self, wanted: Sequence[WantedPages]) -> Deferred[LogReading]:
        """See `LogReader.read`."""
        answer: Deferred[LogReading] = Deferred()
        self._waiting.append(_WantedRead(wanted, answer))
        self._request()
        return answer

    def _request(self) -> None:
        if self._waiting and self._calls < CALLS_AT_A_TIME:
            self._end_of_turn.request()

    def _send(self) -> None:
        while self._waiting and self._calls < CALLS_AT_A_TIME:
            count = min(len(self._waiting), READS_PER_CALL)
            asked = [self._waiting.popleft() for _ in range(count)]
            self._calls += 1
            Deferred.fromCoroutine(self._call(asked)).addErrback(_log_failure)

    async def _call(self, asked: list[_WantedRead]) -> None:
        try:
            reading = await self._reader.read([page for each in asked for page in each.wanted])
        except Exception as error:
            self._ended()
            for each in asked:
                each.answer.errback(for_another(error))
        else:
            parts = _parts(asked, reading)
            self._waiting.extendleft(each for each, pages in reversed(parts) if pages is None)
            for each, pages in parts:
                if pages is not None:
                    await self._steps.step()
                    each.answer.callback(LogReading(reading.now_us, reading.clock_us, pages))
            self._ended()  # nothing else is read while pages wait to be handed on

    def _ended(self) -> None:
        self._calls -= 1
        self._request()


def _parts(
    asked: Sequence[_WantedRead], reading: LogReading
) -> list[tuple[_WantedRead, list[LogPage] | None]]:
    """The pages of each; None for one that was not reached, because the answer was full."""
    parts: list[tuple[_WantedRead, list[LogPage] | None]] = []
    start = 0
    for each in asked:
        end = start + len(each.wanted)
        pages = reading.pages[start:end]
        parts.append((each, pages if _are_reached(each.wanted, pages) else None))
        start = end
    return parts


def _are_reached(wanted: Iterable[WantedPages], pages: Iterable[LogPage]) -> bool:
    return any(
        page.complete or page.entries or item.limit <= 0
        for item, page in zip(wanted, pages, strict=True)
    )


def _log_failure(failure: Failure) -> None:
    log.failure(
        "Pages of logs could not be given to the sessions that wait",
        failure,
        event="streams.reads_failed",
    )
