"""Following streams: subscriptions, hand-over in order, gap repair (architecture, rules 2 and 3).

A channel's messages are applied by one rule: `previous` beyond what was handed on is a gap, to be
repaired from the log; `offset` not beyond it is a repeat; else it is the next. Loss that shows no
gap (the last message) is found by sweeping all followed logs, every minute and whenever the
subscriber's connection was made anew; a subscriber that has gone deaf, by a nonce it must hear.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from typing import Any, Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from push.redis.client import RedisClient
from push.redis.errors import StoreUnavailable
from push.redis.keys import channel_name
from push.runtime.tasks import Semaphore, TaskGroup
from push.session.entry import (
    FIRST_SHARED_ID,
    LAST_SHARED_ID,
    Batch,
    Entry,
    batches_of,
)
from push.session.window import Subscription
from push.streams.channel import Channel, Follower
from push.streams.log import LogReader, LogReading, WantedPages, has_expired
from push.streams.log_cache import LogCache
from push.streams.message import from_channel

log = Logger()

SWEEP_SECONDS = 60.0
SWEEP_STREAMS_PER_CALL = 512
NONCE_SECONDS = 5.0
REPAIR_ENTRIES = 256
REPAIRS_AT_A_TIME = 16
HELD_ENTRIES = 64
RETRY_SECONDS = 1.0
HELD_SECONDS = 0.02  # between two looks whether what was kept may be handed on


class Receiver(Protocol):
    """Who gets what the hub hands on."""

    def batch(self, channel: Channel, batch: Batch) -> None:
        """What came for a stream in one turn of the reactor."""

    def end_turn(self) -> None:
        """All batches of the turn were handed on."""

    def repaired(self, channel: Channel) -> None:
        """A gap is closed: followers that wait may join the channel."""


class Hub:
    """All streams that this connector follows on one Redis server.

    `name` is that of the connector's own channel for the nonce. While `may_hand_on()` is false,
    what comes is kept. `is_late()`: changes may have been answered before this connector has heard
    of them.
    """

    def __init__(
        self,
        reactor: Any,
        server: RedisClient,
        reader: LogReader,
        memory: LogCache,
        receiver: Receiver,
        name: str,
        *,
        may_hand_on: Callable[[], bool] = lambda: True,
        is_late: Callable[[], bool] = lambda: False,
    ) -> None:
        self.channels: dict[str, Channel] = {}
        self.repairs = 0
        self._reactor = reactor
        self._server = server
        self._reader = reader
        self._memory = memory
        self._receiver = receiver
        self._may_hand_on = may_hand_on
        self._is_late = is_late
        self._controls = False  # among what is handed on in this turn
        self._nonce_channel = f"nonce:{name}"
        self._nonce = 0
        self._nonce_heard = 0
        self._heard_before = 0
        self._next_number = FIRST_SHARED_ID
        self._dirty: list[Channel] = []
        self._turn_call: Any = None
        self._sweep_call: Any = None
        self._retry_calls: dict[str, Any] = {}
        self._sweeping = False
        self._sweep_again = False
        self._turns = Semaphore(REPAIRS_AT_A_TIME)
        self._jobs = TaskGroup()
        self._sweep_loop = LoopingCall(self.sweep)
        self._nonce_loop = LoopingCall(self._send_nonce)
        self._sweep_loop.clock = self._nonce_loop.clock = reactor
        server.on_restored(self._restored)

    def start(self) -> None:
        self._own(self._listen_for_nonce())
        self._sweep_loop.start(SWEEP_SECONDS, now=False)
        self._nonce_loop.start(NONCE_SECONDS, now=False)

    def stop(self) -> None:
        for loop in (self._sweep_loop, self._nonce_loop):
            if loop.running:
                loop.stop()
        for call in [self._turn_call, self._sweep_call, *self._retry_calls.values()]:
            if call is not None and call.active():
                call.cancel()
        self._jobs.cancel()

    # Who follows what

    def follow(self, stream: str, follower: Follower, subscription: Subscription) -> Deferred[None]:
        """Add a follower; fires once the channel is heard. Read the log only after that."""
        channel = self.channels.get(stream)
        if channel is None:
            channel = self.channels[stream] = Channel(stream)
            channel.receiver = partial(self.receive, channel)
        channel.followers[follower] = subscription
        assert channel.receiver is not None
        return self._server.subscribe_channel(channel_name(stream), channel.receiver)

    def unfollow(self, stream: str, follower: Follower) -> None:
        channel = self.channels.get(stream)
        if channel is None or channel.followers.pop(follower, None) is None:
            return
        if not channel.followers:
            del self.channels[stream]
            self._memory.forget(stream)
            self._server.unsubscribe_channel(channel_name(stream))
            retry = self._retry_calls.pop(stream, None)
            if retry is not None:
                retry.cancel()

    # What comes on the channels

    def receive(self, channel: Channel, payload: bytes) -> None:
        """A message of the live channel."""
        message_id = 0
        if len(channel.followers) > 1:
            message_id = self._next_number
            following = message_id + 1
            self._next_number = FIRST_SHARED_ID if following > LAST_SHARED_ID else following
        entry, removes = from_channel(channel.stream, payload, message_id)
        if removes > 0:
            self._take_out(channel, removes)
        elif removes < 0:
            # Who has not read them is told so when it reads the log, and must not find them here.
            self._memory.drop_to(channel.stream, -removes)
        if entry is None:
            return
        if not entry.offset:
            if entry.online or not has_expired(entry, self._server.clock.now_us()):
                self._hand_on(channel, entry)
            return
        self._server.clock.observe(entry.offset)
        if channel.repairing:
            if channel.held is not None:
                channel.held.append(entry)
                del channel.held[:-HELD_ENTRIES]
        else:
            self._apply(channel, entry)

    def _take_out(self, channel: Channel, offset: int) -> None:
        """An entry was cancelled or replaced: who was not handed it does not get it (rule 16)."""
        self._memory.remove(channel.stream, offset)
        channel.take_out(offset)

    def _apply(self, channel: Channel, entry: Entry) -> None:
        """The rule of hand-over."""
        if channel.known:
            if entry.offset <= channel.last:
                return
            if entry.previous > channel.last and channel.somebody_live:
                self._start_repair(channel)
                return
        channel.advance(entry.offset)
        if has_expired(entry, self._server.clock.now_us()):
            # We stood still for that long. Who would have got it reads the log, and passes it.
            for subscription in channel.followers.values():
                subscription.live = False
            self._receiver.repaired(channel)
            return
        if channel.remembers:
            self._memory.add_live(channel.stream, entry)
        self._hand_on(channel, entry)

    def _hand_on(self, channel: Channel, entry: Entry) -> None:
        channel.handed = max(channel.handed, entry.offset)
        if channel.pending is None:
            self._dirty.append(channel)
            if self._turn_call is None:
                self._turn_call = self._reactor.callLater(0, self._end_turn)
        if entry.control is not None:
            self._controls = True
        channel.queue(entry)

    def _end_turn(self) -> None:
        """Everything that came in this turn goes out, joined by stream."""
        if not self._may_hand_on():
            self._turn_call = self._reactor.callLater(HELD_SECONDS, self._end_turn)
            return
        self._turn_call = None
        dirty, self._dirty = self._dirty, []
        if self._controls and self._is_late():
            # What one stream says of another (a device is another user's now) comes first: of the
            # other may be here what was published after that was answered.
            dirty.sort(key=_has_no_control)
        self._controls = False
        for channel in dirty:
            pending, channel.pending = channel.pending, None
            if pending and channel.followers:
                try:
                    for batch in batches_of(pending):
                        self._receiver.batch(channel, batch)
                except Exception:
                    # The others go on: what is pending of a channel that is left out stays so.
                    log.failure("What came for {stream} was not handed on", stream=channel.stream)
        self._receiver.end_turn()

    # Repair

    def _start_repair(self, channel: Channel) -> None:
        channel.repairing = True
        self.repairs += 1
        self._own(self._repair(channel))

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
                log.failure("The log of {stream} could not be read", stream=channel.stream)
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
            self._apply(channel, entry)
            if channel.repairing:
                break  # a gap again: the log has the rest
        if not channel.repairing:
            self._receiver.repaired(channel)

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
                self._hand_on(channel, entry)
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
                self._start_repair(channel)

        self._retry_calls[channel.stream] = self._reactor.callLater(RETRY_SECONDS, retry)

    # A silent channel is checked

    def _restored(self) -> None:
        """Messages may have been missed, and that some were taken out."""
        self._memory.clear()
        self.sweep()

    def sweep(self) -> None:
        """Look for messages in all followed logs that the channels did not bring."""
        if self._sweeping:
            self._sweep_again = True
            return
        self._sweeping = True
        self._own(self._sweep())

    async def _sweep(self) -> None:
        try:
            channels = [c for c in self.channels.values() if c.known]
            for part in _parts(channels, SWEEP_STREAMS_PER_CALL):
                ahead = await self._reader.ahead([(c.stream, c.last) for c in part])
                for stream in ahead:
                    channel = self.channels.get(stream)
                    if channel is not None and channel.known and not channel.repairing:
                        if channel.somebody_live:
                            self._start_repair(channel)
                        else:
                            channel.known = False
        except StoreUnavailable as error:
            log.debug("Sweep put off: {reason}", reason=error.reason)
            self._sweep_later()
        finally:
            self._sweeping = False
            if self._sweep_again:
                self._sweep_again = False
                self.sweep()

    def _sweep_later(self) -> None:
        if self._sweep_call is None:
            self._sweep_call = self._reactor.callLater(RETRY_SECONDS, self._sweep_now)

    def _sweep_now(self) -> None:
        self._sweep_call = None
        self.sweep()

    async def _listen_for_nonce(self) -> None:
        await self._server.subscribe_channel(self._nonce_channel, self._hear_nonce)

    def _hear_nonce(self, payload: bytes) -> None:
        self._nonce_heard = int(payload)

    def _send_nonce(self) -> None:
        if self._server.problem is not None:
            self._nonce = self._nonce_heard = 0
            return
        heard = self._server.subscriptions.heard
        if self._nonce != self._nonce_heard:
            if heard != self._heard_before:
                # Not deaf, but late: what was published before the nonce is still coming.
                self._heard_before = heard
                return
            self._server.rebuild("the subscriber did not hear what was published to it")
            self._nonce = self._nonce_heard = 0
            return
        self._heard_before = heard
        self._nonce += 1
        self._own(self._publish_nonce(self._nonce))

    async def _publish_nonce(self, nonce: int) -> None:
        channel = self._server.channel(self._nonce_channel)
        try:
            await self._server.command("PUBLISH", channel, nonce)
        except StoreUnavailable as error:
            log.debug("Nonce not published: {reason}", reason=error.reason)

    def _own(self, job: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine of ours to its end; an error is logged."""
        self._jobs.run(job, _log_failure)


def _log_failure(failure: Failure) -> None:
    log.failure("A job of the hub failed", failure=failure)


def _has_no_control(channel: Channel) -> bool:
    return all(entry.control is None for entry in channel.pending or ())


def _parts(items: list[Channel], size: int) -> Iterable[list[Channel]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
