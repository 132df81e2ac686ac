"""A gap in what a channel brought is repaired from the log (architecture, rule 2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twisted.internet.defer import CancelledError
from twisted.logger import Logger
from twisted.python.failure import Failure

from push.redis.connection.errors import StoreUnavailable
from push.runtime.ports import Clock, DelayedCall
from push.runtime.tasks import Semaphore, TaskGroup
from push.session.entry import Entry
from push.streams.channel import Channel
from push.streams.log import LogReader, LogReading, WantedPages, has_expired

log = Logger()

REPAIR_ENTRIES = 256
REPAIRS_AT_A_TIME = 16
RETRY_SECONDS = 1.0


class InOrder(Protocol):
    """Who hands over in order what is repaired: the hub."""

    def hand_on(self, channel: Channel, entry: Entry) -> None:
        """`entry` is the next."""

    def apply(self, channel: Channel, entry: Entry) -> None:
        """`entry` came on the channel while that was repaired."""


class GapRepair:
    """The repairs of one server's channels, of each one at a time.

    `closed` is called with a channel whose gap was read."""

    def __init__(
        self,
        reactor: Clock,
        reader: LogReader,
        hub: InOrder,
        closed: Callable[[Channel], None],
    ) -> None:
        self.begun = 0
        self._reactor = reactor
        self._reader = reader
        self._hub = hub
        self._closed = closed
        self._retry_calls: dict[str, DelayedCall] = {}
        self._turns = Semaphore(REPAIRS_AT_A_TIME)
        self._jobs = TaskGroup()

    def stop(self) -> None:
        for call in self._retry_calls.values():
            call.cancel()
        self._retry_calls.clear()
        self._jobs.cancel()

    def forget(self, stream: str) -> None:
        """The stream is followed no longer."""
        retry = self._retry_calls.pop(stream, None)
        if retry is not None:
            retry.cancel()

    def start(self, channel: Channel) -> None:
        channel.repairing = True
        self.begun += 1
        self._jobs.run(self._repair(channel), _log_failure)

    async def _repair(self, channel: Channel) -> None:
        """Hand on from the log what the channel lost, then what came meanwhile."""
        channel.begin_reading()
        try:
            complete = False
            while not complete and channel.followers:
                # No name for what is read: it would be kept while the next read waits its turn.
                complete = self._fill_gap(channel, await self._read_gap(channel))
        except CancelledError:
            raise
        except Exception as error:
            if not isinstance(error, StoreUnavailable):
                log.failure(
                    "The log of {stream} could not be read",
                    stream=channel.stream,
                    event="streams.log_unreadable",
                )
            # `held` is in the log too: the next repair reads it.
            channel.held = None
            channel.repairing = False
            self._retry_later(channel)
            return
        finally:
            channel.end_reading()
        channel.repairing = False
        held, channel.held = channel.held, None
        for entry in held or ():
            self._hub.apply(channel, entry)
            if channel.repairing:
                break  # a gap again: the log has the rest
        if not channel.repairing:
            self._closed(channel)

    def _fill_gap(self, channel: Channel, reading: LogReading) -> bool:
        """Hand on what was read; True when the gap is closed."""
        page = reading.pages[0]
        entries = channel.still_there(page.entries)
        expired = {entry.offset for entry in entries if has_expired(entry, reading.now_us)}
        if page.lost or expired:
            # Not a gap that can be closed: each session reads, is told what it lost, and tells the
            # ledger what had expired.
            for subscription in channel.followers.values():
                subscription.live = False
        for entry in entries:
            if channel.followers and entry.offset not in expired:
                entry.previous = channel.handed
                self._hub.hand_on(channel, entry)
                channel.advance(entry.offset)
        if page.complete:
            channel.advance(reading.clock_us)
        else:
            channel.held = None  # the next read will find it
        return page.complete

    async def _read_gap(self, channel: Channel) -> LogReading:
        async with self._turns:
            channel.held = []  # what comes now may be too late for this read
            return await self._reader.read(
                [WantedPages(channel.stream, channel.last, REPAIR_ENTRIES)]
            )

    def _retry_later(self, channel: Channel) -> None:
        """The log could not be read. A reconnect sweeps anyway; this is for other reasons."""
        if channel.stream in self._retry_calls or not channel.followers:
            return

        def retry() -> None:
            self._retry_calls.pop(channel.stream, None)
            if channel.followers and not channel.repairing:
                self.start(channel)

        self._retry_calls[channel.stream] = self._reactor.callLater(RETRY_SECONDS, retry)


def _log_failure(failure: Failure) -> None:
    log.failure("A repair failed", failure=failure, event="streams.repair_failed")
