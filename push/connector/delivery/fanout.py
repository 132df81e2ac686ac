"""Handing what came on the channels to the sessions that follow (architecture, "Speed").

A batch is joined once and written once per session. A long fan-out runs in slices, so that
heartbeats and accepts are not starved; what comes for the stream meanwhile is joined to the next
round. What one session gets in a turn from several streams leaves in one write.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from push.connector.delivery.tracing import DeliverySpans
from push.connector.delivery.turn_writes import TurnWrites
from push.connector.sessions.device_session import DeviceSession
from push.connector.sessions.port import GatewayPort
from push.connector.transport.connection import write_to_all
from push.connector.transport.timing_wheel import TimingWheel
from push.runtime.ports import Clock, DelayedCall
from push.runtime.tracing import Tracer
from push.session.delivery_policy import DeliveryPolicy
from push.session.entry import Batch, Entry, batches_of
from push.session.subscription import TOO_LARGE, Subscription
from push.session.transitions import State
from push.streams.channel import Channel
from push.streams.ledger import CONGESTED, WRITTEN
from push.wire.bodies import MIN_CLIENT_MAX_FRAME_BYTES
from push.wire.codecs.codec import Codec
from push.wire.codecs.text import TEXT

SLICE = 500
# Written in a turn to those that follow with many others; a write counts as `LEAST_BYTES` at least.
BYTES_PER_TURN = 1024 * 1024
LEAST_BYTES = 2 * 1024
FEW = 8  # sessions, to which is written in any turn
# No session may want its frames smaller than this, with all that is in one.
FITS_ALL_BYTES = MIN_CLIENT_MAX_FRAME_BYTES - TEXT.push_envelope_bytes

Pairs = list[tuple[DeviceSession, Subscription]]
Targets = Iterable[tuple[DeviceSession, Subscription]]
_Write = Callable[[list[DeviceSession], bytes], None]


class _Round:
    """A long fan-out under way, and what came for the same stream since."""

    __slots__ = ("batches", "deliveries", "left", "place", "since", "size_bytes", "targets")

    def __init__(self, batches: list[Batch], channel: Channel) -> None:
        self.batches = batches
        self.size_bytes = sum(map(_counted_bytes, batches))
        self.targets: Pairs = list(channel.followers.items())
        self.left = channel.left  # when these were all followers
        self.deliveries: DeliverySpans | None = None  # spans that end with it
        self.place = 0
        self.since: list[Entry] = []

    def next_part(self) -> Pairs:
        """As many as are written to in a turn."""
        most = max(min(SLICE, BYTES_PER_TURN // self.size_bytes), 1)
        part = self.targets[self.place : self.place + most]
        self.place += most
        return part


class FanOut:
    """Writes batches to sessions (`push.streams.hub.Receiver`)."""

    def __init__(
        self,
        reactor: Clock,
        delivery_policy: DeliveryPolicy,
        wheel: TimingWheel,
        redeliver_after_seconds: float,
        port: GatewayPort,
        tracer: Tracer | None = None,
    ) -> None:
        self._tracer = tracer
        self._deliveries = DeliverySpans()  # spans that end with this turn
        self.lost_qos0 = 0
        self._reactor = reactor
        self._delivery_policy = delivery_policy
        self._wheel = wheel
        self._redeliver_after_seconds = redeliver_after_seconds
        self._port = port
        self._rounds: dict[Channel, _Round] = {}
        self._call: DelayedCall | None = None
        self._left_bytes = BYTES_PER_TURN  # that may be written in this turn
        self._turn = TurnWrites()
        self._behind: list[DeviceSession] = []

    def stop(self) -> None:
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def batch(self, channel: Channel, batch: Batch) -> None:
        """Hand a batch of `channel` to all its followers."""
        if batch.excludes:
            self._leave_out(channel, batch)
            return
        current = self._rounds.get(channel)
        if current is not None:
            current.since += batch.entries
            return
        followers = channel.followers  # our sessions
        if len(followers) <= FEW or self._fits_in_turn(batch, len(followers)):
            if self._tracer is not None:
                self._deliveries.begin(self._tracer, channel.stream, batch, len(followers))
            others = self._write_whole(channel, batch, followers.items(), self._turn.add)
            if others:
                self._write_singly(channel, batch, others, self._turn.add)
        else:
            self._rounds[channel] = self._round(channel, [batch])

    def _fits_in_turn(self, batch: Batch, followers: int) -> bool:
        size_bytes = followers * _counted_bytes(batch)
        if followers > SLICE or size_bytes > self._left_bytes:
            return False
        self._left_bytes -= size_bytes
        return True

    def _leave_out(self, channel: Channel, batch: Batch) -> None:
        """Some of it is not for everyone: that goes on its own. It is in no log, so it has no place
        among the others."""
        for entry in batch.entries:
            if entry.exclude_user:
                followers = channel.followers.items()
                others = [pair for pair in followers if pair[0].user != entry.exclude_user]
                one = Batch([entry])
                left = self._write_whole(channel, one, others, self._turn.add)
                self._write_singly(channel, one, left, self._turn.add)
        rest = [entry for entry in batch.entries if not entry.exclude_user]
        if rest:
            self.batch(channel, Batch(rest))

    def end_turn(self) -> None:
        """All batches of this turn are in: write what was queued per device, and begin with what
        takes several turns, which may be of the same streams.

        Then those read on that are behind. One that finds the next entries in memory does so at
        once: it must not overtake what was queued, nor end its following amid a batch.
        """
        self._turn.write()
        if self._call is None:
            self._run_slices()
        self._wake_behind()
        if self._tracer is not None:
            self._deliveries.end()

    def _wake_behind(self) -> None:
        behind, self._behind = self._behind, []
        for device in behind:
            self._port.catch_up.wake(device)

    def gap_closed(self, channel: Channel) -> None:
        """What the channel lost was read from the log."""
        self._port.session_events.repaired(channel.stream, list(channel.followers))
        self.repaired(channel)

    def repaired(self, channel: Channel) -> None:
        """Sessions that wait may join the channel."""
        for device, subscription in list(channel.followers.items()):
            if not subscription.live:
                self._port.catch_up.wake(device)

    def _round(self, channel: Channel, batches: list[Batch]) -> _Round:
        begun = _Round(batches, channel)
        if self._tracer is not None:
            begun.deliveries = DeliverySpans()
            for batch in batches:
                begun.deliveries.begin(self._tracer, channel.stream, batch, len(begun.targets))
        return begun

    def _run_slices(self) -> None:
        """One slice of each round, as far as the turn goes; the next in the next turn."""
        self._call = None
        for channel, current in list(self._rounds.items()):
            part = current.next_part()
            self._left_bytes -= len(part) * current.size_bytes
            for batch in current.batches:
                if channel.left != current.left:  # since the round began, or with the batch before
                    followers = channel.followers
                    part = [target for target in part if followers.get(target[0]) is target[1]]
                others = self._write_whole(channel, batch, part, write_to_all)
                if others:
                    self._write_singly(channel, batch, others, write_to_all)
            del self._rounds[channel]  # the others come first
            if current.place < len(current.targets):
                self._rounds[channel] = current
            else:
                self._end_round(channel, current)
            if self._left_bytes <= 0:
                break
        self._left_bytes = BYTES_PER_TURN  # of the next turn
        if self._rounds:
            self._call = self._reactor.callLater(0, self._go_on)

    def _go_on(self) -> None:
        self._run_slices()
        self._wake_behind()

    def _end_round(self, channel: Channel, ended: _Round) -> None:
        if ended.deliveries is not None:
            ended.deliveries.end()
        if ended.since:
            self._rounds[channel] = self._round(channel, batches_of(ended.since))

    def _write_whole(
        self, channel: Channel, batch: Batch, targets: Targets, write: _Write
    ) -> Targets:
        """The same bytes for every session that is in step with the stream and has room. The
        others remain."""
        if not batch.uniform:
            return targets
        if not batch.stored:
            return self._write_alike(channel, batch, targets, write)
        policy, written_before = self._delivery_policy, self._delivery_policy.written
        now = self._reactor.seconds()
        due_slot = self._wheel.slot_of(now + self._redeliver_after_seconds)
        hand_out, cursors = policy.hand_out_whole, self._port.streams.cursors
        whole: dict[Codec, list[DeviceSession]] = {}
        others: Pairs = []
        for device, subscription in targets:
            if not (subscription.live or batch.ephemeral):
                continue  # it reads on from the log, if it can
            connection = device.connection
            if connection.blocked or not hand_out(device.protocol, subscription, batch, now):
                others.append((device, subscription))
                continue
            if device.codec in whole:
                whole[device.codec].append(device)
            else:
                whole[device.codec] = [device]
            if not subscription.is_to_report:
                cursors[subscription.shard].handed(device, subscription)
            if connection.due_slot > due_slot:
                self._wheel.put(connection, due_slot)
            for entry in batch.ephemeral:
                self._count(device, subscription, entry)
        # Counted before they are written: a `send` drives all of them out of the caches.
        policy.note_written(channel.stream, written_before)
        for codec, devices in whole.items():
            write(devices, batch.encoded(codec))
        return others

    def _write_alike(
        self, channel: Channel, batch: Batch, targets: Targets, write: _Write
    ) -> Pairs:
        """Nothing is stored: the same bytes for every session, whatever it has outstanding. Those
        that do not take them as they are remain."""
        largest_bytes, open_ = batch.largest_bytes, State.OPEN
        fits_all = largest_bytes <= FITS_ALL_BYTES
        ready: dict[Codec, list[DeviceSession]] = {}
        others = []
        for target in targets:
            device = target[0]
            if device.send is None or not fits_all:
                protocol = device.protocol
                if device.connection.blocked or largest_bytes > protocol.max_frame_bytes:
                    others.append(target)
                    continue
                if protocol.state is not open_:
                    continue
            if device.codec in ready:
                ready[device.codec].append(device)
            else:
                ready[device.codec] = [device]
        policy = self._delivery_policy
        for codec, devices in ready.items():
            written_before = policy.written
            policy.written += len(devices) * len(batch.entries)
            policy.note_written(channel.stream, written_before)
            for entry in batch.entries:
                self._port.streams.counts.written_to(channel.stream, entry.id, devices)
            write(devices, batch.encoded(codec))
        return others

    def _write_singly(
        self, channel: Channel, batch: Batch, targets: Targets, write: _Write
    ) -> None:
        """Message by message, what each session may have of `batch`. One that falls behind with it
        is to be woken; one that was behind before reads on, or will when it has room."""
        policy, written_before = self._delivery_policy, self._delivery_policy.written
        now, cursors = self._reactor.seconds(), self._port.streams.cursors
        due_slot = self._wheel.slot_of(now + self._redeliver_after_seconds)
        targets = list(targets)
        for device, subscription in targets:
            connection = device.connection
            if connection.blocked:
                self._blocked(device, subscription, batch)
                continue
            cursor, was_live = subscription.cursor, subscription.live
            data = policy.hand_out_singly(device.protocol, subscription, batch, now)
            for entry in batch.ephemeral:
                self._count(device, subscription, entry)
            if data:
                write([device], data)
            if not batch.stored:
                continue
            if subscription.cursor != cursor:
                cursors[subscription.shard].moved(device, subscription)
            elif data and not subscription.is_to_report:
                cursors[subscription.shard].handed(device, subscription)
            if connection.due_slot > due_slot:
                self._wheel.put(connection, due_slot)
            if was_live and not subscription.live:
                self._behind.append(device)
        policy.note_written(channel.stream, written_before)
        if batch.controls:
            self._turn.write()  # what came before it, before a device is told what it ends
        for entry in batch.controls:  # then `targets` are all sessions
            for device, _ in targets:
                self._port.subscriptions.changed(device, entry)

    def _blocked(self, device: DeviceSession, subscription: Subscription, batch: Batch) -> None:
        """Stored messages stay in the log until the device drains; others may wait a little."""
        if batch.stored:
            subscription.live = False
        for entry in batch.entries:
            if entry.offset or device.protocol.state is not State.OPEN:
                continue
            if device.connection.may_queue(len(entry.body)):
                now = self._reactor.seconds()
                device.connection.write(
                    self._delivery_policy.ephemeral(device.protocol, subscription, entry, now)
                )
                self._count(device, subscription, entry)
            else:
                self.lost_qos0 += 1
                self._port.session_events.dropped(device, entry.id, "congested")
                self._port.streams.counts.count(
                    subscription.stream, device.token, entry.id, CONGESTED
                )

    def _count(self, device: DeviceSession, subscription: Subscription, entry: Entry) -> None:
        """A message that is in no log was handed out, unless it was too large."""
        if device.protocol.state is not State.OPEN:
            return
        fits = len(entry.body) <= device.protocol.max_frame_bytes
        outcome = WRITTEN if fits else TOO_LARGE
        self._port.streams.counts.count(subscription.stream, device.token, entry.id, outcome)


def _counted_bytes(batch: Batch) -> int:
    """As how many it counts for each session, or a few more."""
    return max(len(batch.entries) * batch.largest_bytes, LEAST_BYTES)
