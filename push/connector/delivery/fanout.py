"""Handing what came on the channels to the sessions that follow (architecture, "Speed").

A batch is joined once and written once per session. A long fan-out runs in slices, so that
heartbeats and accepts are not starved; what comes for the stream meanwhile is joined to the next
round. What one session gets in a turn from several streams leaves in one write.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from twisted.logger import Logger

from push.connector.delivery.rounds import Pairs, Round, counted_bytes
from push.connector.delivery.tracing import DeliverySpans
from push.connector.delivery.turn_writes import TurnWrites
from push.connector.sessions.device_session import DeviceSession
from push.connector.sessions.port import GatewayPort
from push.connector.transport.connection import write_to_all
from push.connector.transport.timing_wheel import TimingWheel
from push.runtime.ports import Clock
from push.runtime.tasks import for_each
from push.runtime.tracing import Tracer
from push.runtime.turn_share import TurnShare, TurnTime
from push.session.delivery_policy import DeliveryPolicy
from push.session.entry import Batch, Entry
from push.session.subscription import TOO_LARGE, Subscription
from push.session.transitions import State
from push.streams.channel import Channel
from push.streams.ledger import CONGESTED, WRITTEN
from push.wire.bodies import MIN_CLIENT_MAX_FRAME_BYTES
from push.wire.codecs.codec import Codec
from push.wire.codecs.text import TEXT

log = Logger()

SLICE = 500  # sessions to which is written in a turn
PIECE = 250  # after so many writes it is looked whether there is time for more
# What is done for single sessions of many: for so many at once, so often in a turn.
AT_ONCE = 32
AFTERWARDS_PER_TURN = 16
# Written in a turn to those that follow with many others (see `counted_bytes`). Half of it is for
# what is written whole.
BYTES_PER_TURN = 1024 * 1024
FEW = 8  # sessions, to which is written in any turn
# No session may want its frames smaller than this, with all that is in one.
FITS_ALL_BYTES = MIN_CLIENT_MAX_FRAME_BYTES - TEXT.push_envelope_bytes

Targets = Iterable[tuple[DeviceSession, Subscription]]
_Write = Callable[[list[DeviceSession], bytes], None]
_SeeTo = Callable[[DeviceSession], object]


class FanOut:
    """Writes batches to sessions (`push.streams.hub.Receiver`). What does not fit in a turn goes on
    in the next ones, as far as `turn_time` goes."""

    def __init__(
        self,
        reactor: Clock,
        turn_time: TurnTime,
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
        self._turn_time = turn_time
        self._delivery_policy = delivery_policy
        self._wheel = wheel
        self._redeliver_after_seconds = redeliver_after_seconds
        self._port = port
        self._rounds: dict[Channel, Round] = {}
        self._goes_on = False  # in the next turn
        self._left_bytes = BYTES_PER_TURN  # that may be written in this turn
        self._turn = TurnWrites()
        self._afterwards = TurnShare(turn_time, AFTERWARDS_PER_TURN)

    def stop(self) -> None:
        self._rounds.clear()

    def batch(self, channel: Channel, batch: Batch) -> None:
        """Hand a batch of `channel` to all its followers."""
        current = self._rounds.get(channel)
        if current is not None:
            current.lost += [entry.id for entry in batch.entries if not current.add(entry)]
            return
        followers = channel.followers  # our sessions
        if len(followers) <= FEW or self._fits_in_turn(batch, len(followers)):
            if self._tracer is not None:
                self._deliveries.begin(self._tracer, channel.stream, batch, len(followers))
            self._hand_out(channel, batch, followers.items(), self._turn.add)
        else:
            self._rounds[channel] = Round(channel, [batch], self._tracer)

    def _fits_in_turn(self, batch: Batch, followers: int) -> bool:
        size_bytes = followers * counted_bytes(batch)
        if followers > SLICE or size_bytes > self._left_bytes - BYTES_PER_TURN // 2:
            return False
        self._left_bytes -= size_bytes
        return True

    def end_turn(self) -> None:
        """All batches of this turn are in: write what was queued per device, and begin with what
        takes several turns, which may be of the same streams."""
        self._turn.write()
        if not self._goes_on:
            self._run_slices()
        if self._tracer is not None:
            self._deliveries.end()

    def _see_to(self, devices: list[DeviceSession], see_to: _SeeTo) -> None:
        """In the next turns: they may be all that follow a stream. One that reads on and finds the
        next entries in memory gets them at once: it must not overtake what is queued, nor end its
        following amid a batch."""
        for start in range(0, len(devices), AT_ONCE):
            some = devices[start : start + AT_ONCE]
            self._afterwards.later(partial(for_each, some, see_to))

    def gap_closed(self, channel: Channel) -> None:
        """What the channel lost was read from the log."""
        self._port.session_events.repaired(channel.stream, list(channel.followers))
        self.wake_followers(channel)

    def wake_followers(self, channel: Channel) -> None:
        """Sessions that wait may join the channel."""
        followers = channel.followers.items()
        behind = [device for device, subscription in followers if not subscription.live]
        self._see_to(behind, self._port.catch_up.wake)

    def _run_slices(self) -> None:
        """A piece of each round in turn, as far as this turn goes; the rest in the next ones."""
        left = SLICE
        self._turn_time.begin()
        try:
            while self._rounds:
                channel, current = next(iter(self._rounds.items()))
                most = min(PIECE // len(current.batches), left)
                most = min(most, self._left_bytes // current.size_bytes)
                piece = current.next_piece(max(most, 1))
                left -= len(piece)
                self._left_bytes -= len(piece) * current.size_bytes
                for batch in current.batches:
                    piece = current.still_following(piece)
                    self._hand_out(channel, batch, piece, write_to_all)
                del self._rounds[channel]  # the others come first
                if current.is_over:
                    self._end_round(current)
                else:
                    self._rounds[channel] = current
                if left <= 0 or self._left_bytes <= 0 or self._turn_time.is_over:
                    break
        finally:
            self._left_bytes = BYTES_PER_TURN  # of the next turn
            if self._rounds:
                self._goes_on = True
                self._turn_time.next_turn(self._go_on)

    def _go_on(self) -> None:
        self._goes_on = False
        self._run_slices()

    def _end_round(self, ended: Round) -> None:
        channel = ended.channel
        if ended.fell_behind:  # before the next round begins, which is for those that still follow
            self._leave_to_log(channel.followers.items(), ended.left_to_log)
        following = ended.next_round(self._tracer)
        if following is not None:
            self._rounds[channel] = following
        if ended.lost:
            self._lost_by_all(ended)
        if ended.deliveries is not None:
            ended.deliveries.end()

    def _leave_to_log(self, targets: Targets, controls: Iterable[Entry]) -> None:
        """What came was too much, `controls` among it: all sessions read on in the log. Those that
        did before learn at once what ends their stream, as ever: they may have no room for long."""
        behind: list[DeviceSession] = []
        were_behind: list[DeviceSession] = []
        for device, subscription in targets:
            (behind if subscription.live else were_behind).append(device)
            subscription.live = False
        self._see_to(behind, self._port.catch_up.wake)
        for entry in controls:
            for_each(were_behind, partial(self._tell, entry))

    def _tell(self, entry: Entry, device: DeviceSession) -> None:
        self._port.subscriptions.changed(device, entry)

    def _hand_out(self, channel: Channel, batch: Batch, targets: Targets, write: _Write) -> None:
        try:
            others = targets
            if batch.excluded:
                others = self._hand_out_apart(channel, batch, targets, write)
            others = self._hand_out_whole(channel, batch, others, write)
            if others:
                self._hand_out_singly(channel, batch, others, write)
        except Exception:
            log.failure(
                "Messages of {stream} were not handed to some of its sessions",
                stream=channel.stream,
                event="connector.hand_out_failed",
            )
            for _, subscription in targets:
                subscription.live = False  # as far as it got is not known: they read on in the log
            self._see_to([device for device, _ in targets], self._port.catch_up.wake)

    def _hand_out_apart(
        self, channel: Channel, batch: Batch, targets: Targets, write: _Write
    ) -> Pairs:
        """To the sessions of users who do not get all of `batch`, which is in no log. The others
        remain."""
        policy, written_before = self._delivery_policy, self._delivery_policy.written
        others: Pairs = []
        for target in targets:
            device = target[0]
            if device.user not in batch.excluded:
                others.append(target)
            elif device.connection.blocked:
                self._miss(device, batch)
            elif device.protocol.state is State.OPEN:
                data = batch.encoded_without(device.codec, device.user)
                if data and batch.largest_bytes <= device.protocol.max_frame_bytes:
                    policy.written += batch.count_without(device.user)
                    write([device], data)
        policy.note_written(channel.stream, written_before)
        return others

    def _hand_out_whole(
        self, channel: Channel, batch: Batch, targets: Targets, write: _Write
    ) -> Targets:
        """The same bytes for every session that is in step with the stream and has room. The
        others remain."""
        if not batch.uniform:
            return targets
        if not batch.stored:
            return self._hand_out_alike(channel, batch, targets, write)
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

    def _hand_out_alike(
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
            if not batch.excluded:  # such notes have no ledger
                counts = self._port.streams.counts
                ids = [entry.id for entry in batch.entries]
                counts.happened(channel.stream, ids, devices, WRITTEN)
            write(devices, batch.encoded(codec))
        return others

    def _hand_out_singly(
        self, channel: Channel, batch: Batch, targets: Targets, write: _Write
    ) -> None:
        """Message by message, what each session may have of `batch`. One that falls behind with it
        is to be woken; one that was behind before reads on, or will when it has room."""
        policy, written_before = self._delivery_policy, self._delivery_policy.written
        now, cursors = self._reactor.seconds(), self._port.streams.cursors
        due_slot = self._wheel.slot_of(now + self._redeliver_after_seconds)
        targets = list(targets)
        behind: list[DeviceSession] = []
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
                behind.append(device)
        self._see_to(behind, self._port.catch_up.wake)
        policy.note_written(channel.stream, written_before)
        if batch.controls:
            self._turn.write()  # what came before it, before a device is told what it ends
        devices = [device for device, _ in targets] if batch.controls else []
        for entry in batch.controls:  # then `targets` are all sessions
            for_each(devices, partial(self._tell, entry))

    def _blocked(self, device: DeviceSession, subscription: Subscription, batch: Batch) -> None:
        """Stored messages stay in the log until the device drains; others may wait a little."""
        if batch.stored:
            subscription.live = False
        if batch.excluded:
            self._miss(device, batch)
            return
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
                self._lost(device, subscription, entry)

    def _miss(self, device: DeviceSession, batch: Batch) -> None:
        """Notes that users are typing do not wait: when there is room again, nobody may be."""
        if device.protocol.state is State.OPEN:
            self.lost_qos0 += batch.count_without(device.user)

    def _lost_by_all(self, ended: Round) -> None:
        """Messages that are in no log came when a long fan-out had no room for them."""
        open_, lost = State.OPEN, ended.lost
        targets = ended.still_following(ended.targets)
        holders = [device for device, _ in targets if device.protocol.state is open_]
        self.lost_qos0 += len(holders) * len(lost)
        self._port.streams.counts.happened(ended.channel.stream, lost, holders, CONGESTED)
        self._see_to(holders, partial(self._port.session_events.lost, len(lost), "congested"))

    def _lost(self, device: DeviceSession, subscription: Subscription, entry: Entry) -> None:
        """A message that is in no log was not handed out, because there was no room."""
        self.lost_qos0 += 1
        self._port.session_events.dropped(device, entry.id, "congested")
        self._port.streams.counts.count(subscription.stream, device.token, entry.id, CONGESTED)

    def _count(self, device: DeviceSession, subscription: Subscription, entry: Entry) -> None:
        """A message that is in no log was handed out, unless it was too large."""
        if device.protocol.state is not State.OPEN:
            return
        fits = len(entry.body) <= device.protocol.max_frame_bytes
        outcome = WRITTEN if fits else TOO_LARGE
        self._port.streams.counts.count(subscription.stream, device.token, entry.id, outcome)
