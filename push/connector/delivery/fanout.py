"""Handing what came on the channels to the sessions that follow (architecture, "Speed").

A batch is joined once and written once per session. A long fan-out runs in slices, so that
heartbeats and accepts are not starved; what comes for the stream meanwhile is joined to the next
round. What one session gets in a turn from several streams leaves in one write.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from push.connector.delivery.sharded_streams import ShardedCounts, ShardedCursors
from push.connector.transport.connection import DeviceConnection, write_to_all
from push.connector.transport.timing_wheel import TimingWheel
from push.session.delivery_policy import DeliveryPolicy
from push.session.entry import PART_BYTES, Batch, Entry, batches_of
from push.session.transitions import State
from push.session.window import TOO_LARGE, Subscription
from push.streams.channel import Channel
from push.streams.ledger import CONGESTED, WRITTEN

SLICE = 500

Pairs = list[tuple[DeviceConnection, Subscription]]


class _Round:
    """A long fan-out under way, and what came for the same stream since."""

    __slots__ = ("batches", "place", "since", "targets")

    def __init__(self, batches: list[Batch], targets: Pairs) -> None:
        self.batches = batches
        self.targets = targets
        self.place = 0
        self.since: list[Entry] = []


class FanOut:
    """Writes batches to sessions.

    `wake(connection)` is called for one that must read on, `apply_control` for an entry that is for
    the connector; `cursors` learn what was handed out and what was passed, `counts` what became of
    messages that are in no log.
    """

    def __init__(
        self,
        reactor: Any,
        delivery_policy: DeliveryPolicy,
        wheel: TimingWheel,
        cursors: ShardedCursors,
        counts: ShardedCounts,
        wake: Callable[[DeviceConnection], None],
        apply_control: Callable[[DeviceConnection, Entry], None],
        redeliver_after_seconds: float,
    ) -> None:
        self.lost_qos0 = 0
        self._reactor = reactor
        self._delivery_policy = delivery_policy
        self._wheel = wheel
        self._cursors = cursors
        self._counts = counts
        self._wake = wake
        self._apply_control = apply_control
        self._redeliver_after_seconds = redeliver_after_seconds
        self._rounds: dict[Channel, _Round] = {}
        self._call: Any = None
        self._queued: list[DeviceConnection] = []
        self._behind: list[DeviceConnection] = []

    def stop(self) -> None:
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def batch(self, channel: Channel, batch: Batch) -> None:
        """Hand a batch of `channel` to all its followers."""
        if any(entry.exclude_user for entry in batch.entries):
            self._leave_out(channel, batch)
            return
        current = self._rounds.get(channel)
        if current is not None:
            current.since += batch.entries
            return
        followers: Any = channel.followers  # the hub's followers are our connections
        if len(followers) <= SLICE:
            self._write(batch, followers.items(), queue=True)
            return
        self._rounds[channel] = _Round([batch], _pairs_of(channel))
        if self._call is None:
            self._run_slices()

    def _leave_out(self, channel: Channel, batch: Batch) -> None:
        """Some of it is not for everyone: that goes on its own. It is in no log, so it has no place
        among the others."""
        followers: Any = channel.followers
        for entry in batch.entries:
            if entry.exclude_user:
                others = [pair for pair in followers.items() if pair[0].user != entry.exclude_user]
                self._write(Batch([entry]), others, queue=True)
        rest = [entry for entry in batch.entries if not entry.exclude_user]
        if rest:
            self.batch(channel, Batch(rest))

    def end_turn(self) -> None:
        """All batches of this turn are in: write what was queued per connection.

        Then those read on that are behind. One that finds the next entries in memory does so at
        once: it must not overtake what was queued, nor end its following amid a batch.
        """
        queued, self._queued = self._queued, []
        for connection in queued:
            self._write_queued(connection)
        behind, self._behind = self._behind, []
        for connection in behind:
            self._wake(connection)

    def _write_queued(self, connection: DeviceConnection) -> None:
        parts, connection.queued = connection.queued, None
        if parts and not connection.session.closing:
            connection.write(parts[0] if len(parts) == 1 else b"".join(parts))

    def _run_slices(self) -> None:
        """One slice of each round; the next in the next turn of the reactor."""
        self._call = None
        for channel, current in list(self._rounds.items()):
            followers: Any = channel.followers
            part = current.targets[current.place : current.place + SLICE]
            for batch in current.batches:
                # Some left since the round began, or with the batch before.
                part = [target for target in part if followers.get(target[0]) is target[1]]
                self._write(batch, part, queue=False)
            current.place += SLICE
            if current.place < len(current.targets):
                continue
            if current.since:
                batches = batches_of(current.since)
                self._rounds[channel] = _Round(batches, _pairs_of(channel))
            else:
                del self._rounds[channel]
        if self._rounds:
            self._call = self._reactor.callLater(0, self._run_slices)

    def _write(
        self,
        batch: Batch,
        targets: Iterable[tuple[DeviceConnection, Subscription]],
        *,
        queue: bool,
    ) -> None:
        if not batch.stored and not batch.online and not queue:
            self._write_alike(batch, targets)
            return
        now = self._reactor.seconds()
        live = self._delivery_policy.live
        stored = bool(batch.stored)
        ephemeral = [entry for entry in batch.entries if not entry.offset]
        frames = batch.frames
        alike: list[DeviceConnection] = []
        behind: list[DeviceConnection] = []
        due_slot = self._wheel.slot_of(now + self._redeliver_after_seconds)
        for connection, subscription in targets:
            if connection.blocked:
                self._blocked(connection, subscription, batch)
                continue
            cursor = subscription.cursor
            data = live(connection.session, subscription, batch, now)
            if stored:
                if subscription.cursor != cursor:
                    self._cursors.moved(connection, subscription)
                elif data:
                    self._cursors.handed(connection, subscription)
            for entry in ephemeral:
                self._count(connection, subscription, entry)
            if queue:
                if data:
                    self._queue(connection, data)
            elif data is frames:
                alike.append(connection)
            elif data:
                connection.write(data)
            if stored:
                if connection.due_slot > due_slot:
                    self._wheel.put(connection, due_slot)
                if not subscription.live:
                    behind.append(connection)
        write_to_all(alike, frames)
        if queue:
            self._behind += behind
        else:
            for connection in behind:
                self._wake(connection)
        if batch.controls:
            for connection, _ in list(targets):
                for entry in batch.controls:
                    self._apply_control(connection, entry)

    def _write_alike(
        self, batch: Batch, targets: Iterable[tuple[DeviceConnection, Subscription]]
    ) -> None:
        """Nothing is stored: the same bytes for every session, whatever it has outstanding."""
        largest_bytes, open_ = batch.largest_bytes, State.OPEN
        ready, others = [], []
        stream = ""
        for target in targets:
            connection, subscription = target
            session = connection.session
            if connection.blocked or largest_bytes > session.max_frame_bytes:
                others.append(target)
            elif session.state is open_:
                ready.append(connection)
                stream = subscription.stream
        write_to_all(ready, batch.frames)
        self._delivery_policy.written += len(ready) * len(batch.entries)
        for entry in batch.entries:
            self._counts.written_to(stream, entry.id, ready)
        if others:
            self._write(batch, others, queue=True)
            self.end_turn()

    def _queue(self, connection: DeviceConnection, data: bytes) -> None:
        """Write `data` at the end of the turn with what else there is, but not too much at once."""
        if connection.queued is None:
            connection.queued = [data]
            self._queued.append(connection)
            return
        connection.queued.append(data)
        if sum(map(len, connection.queued)) > PART_BYTES:
            self._write_queued(connection)

    def _blocked(
        self, connection: DeviceConnection, subscription: Subscription, batch: Batch
    ) -> None:
        """Stored messages stay in the log until the connection drains; others may wait a little."""
        if batch.stored:
            subscription.live = False
        for entry in batch.entries:
            if entry.offset or connection.session.state is not State.OPEN:
                continue
            if connection.may_queue(len(entry.frame)):
                now = self._reactor.seconds()
                connection.write(
                    self._delivery_policy.ephemeral(connection.session, subscription, entry, now)
                )
                self._count(connection, subscription, entry)
            else:
                self.lost_qos0 += 1
                self._counts.count(subscription.stream, connection.token, entry.id, CONGESTED)

    def _count(
        self, connection: DeviceConnection, subscription: Subscription, entry: Entry
    ) -> None:
        """A message that is in no log was handed out, unless it was too large."""
        if connection.session.state is not State.OPEN:
            return
        fits = len(entry.body) <= connection.session.max_frame_bytes
        outcome = WRITTEN if fits else TOO_LARGE
        self._counts.count(subscription.stream, connection.token, entry.id, outcome)


def _pairs_of(channel: Channel) -> Pairs:
    """Who follows now."""
    followers: Any = channel.followers
    return list(followers.items())
