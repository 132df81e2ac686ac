"""Following streams: subscriptions, and handing over in order (architecture, rule 2).

A channel's messages are applied by one rule: `previous` past what was handed on is a gap, to be
repaired from the log (`gap_repair`); `offset` not past it is a repeat; else it is the next. Loss
that shows no gap is found by `loss_check`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import partial
from operator import attrgetter
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from push.redis.client import RedisClient
from push.redis.keyspace import channel_name
from push.runtime.ports import Clock
from push.runtime.timers import Debounced
from push.session.entry import (
    FIRST_SHARED_ID,
    LAST_SHARED_ID,
    Batch,
    Entry,
    batches_of,
)
from push.session.subscription import Subscription
from push.streams.channel import Channel
from push.streams.gap_repair import GapRepair
from push.streams.log import LogReader, has_expired
from push.streams.log_cache import LogCache
from push.streams.loss_check import LossCheck
from push.streams.message import from_channel

log = Logger()

HELD_ENTRIES = 64  # kept of a channel that is being repaired
HELD_SECONDS = 0.02  # between two checks whether what was kept may be handed on
NEVER_MS = 1 << 62
# Where a stream has more followers, notes that users are typing go together, so often.
FEW_FOLLOWERS = 8
TYPING_SECONDS = 1.0
_HANDED = attrgetter("handed")


class Receiver(Protocol):
    """Gets what the hub hands on."""

    def batch(self, channel: Channel, batch: Batch) -> None:
        """What came for a stream in one turn of the reactor."""

    def end_turn(self) -> None:
        """All batches of the turn were handed on."""

    def wake_followers(self, channel: Channel) -> None:
        """Followers that wait may join the channel."""

    def gap_closed(self, channel: Channel) -> None:
        """What the channel lost was read from the log: the same."""


class Hub:
    """All streams that this connector follows on one Redis server.

    `name` is that of the connector's own channel for the nonce. While `may_hand_on(server)` is
    false, what comes is kept. `is_late()`: changes may have been answered before this connector has
    received them.
    """

    def __init__(
        self,
        reactor: Clock,
        server: RedisClient,
        reader: LogReader,
        cache: LogCache,
        receiver: Receiver,
        name: str,
        *,
        may_hand_on: Callable[[RedisClient], bool] = lambda server: True,
        is_late: Callable[[], bool] = lambda: False,
    ) -> None:
        self.channels: dict[str, Channel] = {}
        self._server = server
        self._cache = cache
        self._receiver = receiver
        self._may_hand_on = may_hand_on
        self._is_late = is_late
        self._next_number = FIRST_SHARED_ID
        self.pending: dict[Channel, list[Entry]] = {}  # of this turn
        self._first_expiry_ms = NEVER_MS  # of these
        self._turn = Debounced(reactor, 0, self._end_turn)
        self._typing = TypingNotes(reactor, self.hand_on)
        self._is_held = False  # what is pending: see `may_hand_on`
        self._repair = GapRepair(reactor, reader, self, receiver.gap_closed)
        self._loss_check = LossCheck(
            reactor, server, reader, self.channels, self._repair, f"nonce:{name}"
        )
        server.on_restored(self._restored)
        server.channels.handlers.all_read = self._end_turn

    @property
    def repairs(self) -> int:
        """How many gaps were found since the start."""
        return self._repair.begun

    def start(self) -> None:
        self._loss_check.start()

    def stop(self) -> None:
        self._loss_check.stop()
        self._repair.stop()
        self._typing.stop()
        self._turn.cancel()
        self.pending.clear()

    def _restored(self) -> None:
        """Messages may have been missed, and notices of removed ones."""
        self._cache.clear()
        self.sweep()

    def sweep(self) -> None:
        """Look for messages in all followed logs that the channels did not bring."""
        self._loss_check.sweep()

    # Who follows what

    def follow(self, stream: str, follower: Hashable, subscription: Subscription) -> Deferred[None]:
        """Add a follower; fires once the channel is subscribed. Read the log only after that."""
        channel = self.channels.get(stream)
        if channel is None:
            channel = self.channels[stream] = Channel(stream)
            channel.receiver = partial(self.receive, channel)
        channel.followers[follower] = subscription
        assert channel.receiver is not None
        return self._server.channels.subscribe(channel_name(stream), channel.receiver)

    def unfollow(self, stream: str, follower: Hashable) -> None:
        channel = self.channels.get(stream)
        if channel is None or channel.followers.pop(follower, None) is None:
            return
        channel.left += 1
        if not channel.followers:
            del self.channels[stream]
            self._cache.forget(stream)
            self._server.channels.unsubscribe(channel_name(stream))
            self._repair.forget(stream)
            channel.receiver = None  # it holds the channel

    # What comes on the channels

    def receive(self, channel: Channel, payload: bytes) -> None:
        """A message of the live channel."""
        message_id = self._next_number
        self._next_number = FIRST_SHARED_ID if message_id == LAST_SHARED_ID else message_id + 1
        entry, removes = from_channel(channel.stream, payload, message_id)
        if removes > 0:
            self._take_out(channel, removes)
        elif removes < 0:
            # A session that has not read them learns it from the log, and must not find them here.
            self._cache.drop_to(channel.stream, -removes)
        if entry is None:
            return
        if self._typing.kept and not entry.exclude_user:
            self._typing.hand_on(channel)
        if entry.offset == 0:
            if not (entry.exclude_user and self._typing.keep(channel, entry)):
                self.hand_on(channel, entry)
        elif not channel.repairing:
            self.apply(channel, entry)
        elif channel.held is not None:
            channel.held.append(entry)
            del channel.held[:-HELD_ENTRIES]

    def _take_out(self, channel: Channel, offset: int) -> None:
        """An entry was cancelled or replaced: sessions that were not handed it do not get it (rule
        16)."""
        self._cache.remove(channel.stream, offset)
        channel.take_out(offset)
        pending = self.pending.get(channel)
        if pending is not None:
            self.pending[channel] = [entry for entry in pending if entry.offset != offset]

    def apply(self, channel: Channel, entry: Entry) -> None:
        """The rule of hand-over."""
        if channel.known:
            if entry.offset <= channel.last:
                return
            if entry.previous > channel.last and channel.somebody_live:
                self._repair.start(channel)
                return
        channel.advance(entry.offset)
        if channel.remembers:
            self._cache.add_live(channel.stream, entry)
        self.hand_on(channel, entry)

    def hand_on(self, channel: Channel, entry: Entry) -> None:
        if entry.offset > channel.handed:
            channel.handed = entry.offset
        if 0 < entry.expires_ms < self._first_expiry_ms:
            self._first_expiry_ms = entry.expires_ms
        pending = self.pending.get(channel)
        if pending is not None:
            pending.append(entry)
            return
        self.pending[channel] = [entry]
        self._turn.request()

    def _end_turn(self) -> None:
        """Everything that came in this turn goes out, joined by stream: as soon as all was read,
        for the next turn comes late where there is much to do."""
        if not self.pending or (self._is_held and self._turn.is_waiting):
            return
        self._turn.cancel()
        now_us = self._server.clock.observe(max(map(_HANDED, self.pending)))
        self._is_held = not self._may_hand_on(self._server)
        if self._is_held:
            self._turn.request(HELD_SECONDS)
            return
        turn, self.pending = list(self.pending.items()), {}
        first_expiry_ms, self._first_expiry_ms = self._first_expiry_ms, NEVER_MS
        if first_expiry_ms <= now_us // 1000:
            for channel, entries in turn:
                self._leave_out_expired(channel, entries, now_us)
        if self._is_late():
            # What one stream says of another (a device is another user's now) comes first: of the
            # other may be here what was published after that was answered.
            turn.sort(key=_has_no_control)
        for channel, entries in turn:
            if entries and channel.followers:
                try:
                    for batch in batches_of(entries) if len(entries) > 1 else (Batch(entries),):
                        self._receiver.batch(channel, batch)
                except Exception:
                    _log_failure(channel)
        self._receiver.end_turn()

    def _leave_out_expired(self, channel: Channel, entries: list[Entry], now_us: int) -> None:
        """This process was paused for that long. Followers read what is in a log, and pass it."""
        left = [each for each in entries if not has_expired(each, now_us)]
        if len(left) == len(entries):
            return
        is_in_log = any(each.offset and has_expired(each, now_us) for each in entries)
        entries[:] = left
        if is_in_log:
            for subscription in channel.followers.values():
                subscription.live = False
            try:
                self._receiver.wake_followers(channel)
            except Exception:
                _log_failure(channel)


class TypingNotes:
    """Notes that users are typing, to many: of a group in which everybody types, each would be a
    write to everybody. The first is handed on at once, and those that come in the time after it
    together, of each user the last; but before a message, which may be what was typed."""

    def __init__(self, clock: Clock, hand_on: Callable[[Channel, Entry], None]) -> None:
        self._hand_on = hand_on
        # Of the channels to which one was handed on lately: what came since, by the user.
        self.kept: dict[Channel, dict[str, Entry]] = {}
        self._soon = Debounced(clock, TYPING_SECONDS, self._hand_on_all)

    def stop(self) -> None:
        self._soon.cancel()

    def keep(self, channel: Channel, entry: Entry) -> bool:
        """Whether it is handed on later; False: now."""
        if len(channel.followers) <= FEW_FOLLOWERS:
            return False
        kept = self.kept.get(channel)
        if kept is None:
            self.kept[channel] = {}
            self._soon.request()
            return False
        kept[entry.exclude_user] = entry
        return True

    def hand_on(self, channel: Channel) -> None:
        """What is kept of the channel, now."""
        kept = self.kept.get(channel)
        if kept:
            self.kept[channel] = {}
            for entry in kept.values():
                self._hand_on(channel, entry)

    def _hand_on_all(self) -> None:
        self.kept = {channel: kept for channel, kept in self.kept.items() if kept}
        for channel in self.kept:
            self._soon.request()
            self.hand_on(channel)


def _log_failure(channel: Channel) -> None:
    log.failure(
        "Messages of {stream} were not handed to its sessions",
        stream=channel.stream,
        event="streams.hand_over_failed",
    )


def _has_no_control(pending: tuple[Channel, list[Entry]]) -> bool:
    return all(entry.control is None for entry in pending[1])
