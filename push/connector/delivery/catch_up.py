"""Sessions that are behind read on from the log until they are where the channels are.

However many are behind, a bounded part of each turn of the reactor is theirs, the one that has
waited longest first. Messages of a page are written in small parts, and none once the socket takes
nothing further: a session that does not read costs a part of a page, not a page.
"""

from __future__ import annotations

from functools import partial

from push.connector.sessions.device_session import DeviceSession, Phase
from push.connector.sessions.freshness import Freshness
from push.connector.sessions.port import GatewayPort
from push.connector.sessions.sharded_streams import ServerStreams, ShardedStreams
from push.connector.transport.timing_wheel import TimingWheel
from push.redis.connection.errors import StoreUnavailable
from push.runtime.ports import Clock, DelayedCall
from push.runtime.tasks import for_each
from push.session.delivery_policy import DeliveryPolicy
from push.session.entry import PART_BYTES, Entry
from push.session.subscription import EXPIRED, Subscription
from push.session.transitions import State
from push.streams.channel import Channel
from push.streams.log import LogPage, has_expired

RETRY_SECONDS = 0.5


class CatchUp:
    """Reads on for sessions, for each once at a time."""

    def __init__(
        self,
        reactor: Clock,
        streams: ShardedStreams,
        delivery_policy: DeliveryPolicy,
        wheel: TimingWheel,
        freshness: Freshness,
        port: GatewayPort,
    ) -> None:
        self._reactor = reactor
        self._streams = streams
        self._delivery_policy = delivery_policy
        self._wheel = wheel
        self._cursors = streams.cursors
        self._steps = streams.steps
        self._freshness = freshness
        self._port = port
        # Those it reads on for, now or in their turn, and whether they were woken meanwhile. Not
        # kept in the session: most never are behind.
        self._woken: dict[DeviceSession, bool] = {}
        # Those that are behind and were not read on for: an acknowledgement may help.
        self.held_up: set[DeviceSession] = set()
        self._stalled: set[DeviceSession] = set()
        self._retry_call: DelayedCall | None = None

    def stop(self) -> None:
        if self._retry_call is not None:
            self._retry_call.cancel()
            self._retry_call = None

    def wake(self, device: DeviceSession) -> None:
        """Read on for a device, if it is behind and has room."""
        if self._is_to_begin(device):
            self._steps.do(partial(self._begin, device))

    def wake_later(self, device: DeviceSession) -> None:
        """The same, but in a later turn: what is being handed out in this one must not be
        overtaken."""
        if self._is_to_begin(device):
            self._steps.later(partial(self._begin, device))

    def _is_to_begin(self, device: DeviceSession) -> bool:
        if device in self._woken:
            self._woken[device] = True
        elif self._wants(device):
            self._woken[device] = False
            return True
        return False

    def _begin(self, device: DeviceSession) -> None:
        self._port.tasks.run(device.connection, self._run(device))

    def forget(self, device: DeviceSession) -> None:
        """The session is over."""
        self.held_up.discard(device)

    def _wants(self, device: DeviceSession) -> bool:
        window = device.protocol.window
        is_open = device.phase is Phase.OPEN and device.protocol.state is State.OPEN
        if window is None or not is_open:
            self.held_up.discard(device)
            return False
        has_room = window.half_free and not device.connection.blocked
        if not has_room and device in self.held_up:
            return False  # nearly each acknowledgement of such a device ends here
        self.held_up.discard(device)
        if not _is_behind(device):
            return False
        if not has_room:
            self.held_up.add(device)
        return has_room

    async def _run(self, device: DeviceSession) -> None:
        is_first, ready_until = True, 0.0
        try:
            while self._wants(device):
                if not is_first:
                    await self._steps.step()
                    if device.is_over:
                        break
                is_first = self._woken[device] = False
                if not self._freshness.may_hand_out(device, ready_until):
                    try:
                        ready_until = await self._freshness.make_ready(device)
                    except StoreUnavailable:
                        self._stall(device)
                        break
                if not await self._read_on(device, ready_until) and not self._woken[device]:
                    break
        finally:
            del self._woken[device]
            if device.phase is Phase.OPEN and _is_behind(device):
                self.held_up.add(device)

    async def _read_on(self, device: DeviceSession, ready_until: float) -> bool:
        """One read of all streams that are behind; False when only something else helps."""
        window = device.protocol.window
        assert window is not None
        helped = False
        part = _JoinedFrames(device, ready_until)
        # None: those that were behind have joined their channels without a read.
        for server, behind in self._behind(device).items():
            room = window.messages_max - window.used
            try:
                helped |= await self._read_from(server, part, behind, room)
            except StoreUnavailable:
                self._stall(device)
        if part.written and not device.is_over:  # one that is lost is never looked at again
            self._wheel.watch(device.connection)
        return helped

    async def _read_from(
        self,
        server: ServerStreams,
        part: _JoinedFrames,
        behind: list[tuple[Channel, Subscription]],
        room: int,
    ) -> bool:
        # What the channels have handed on was in the logs before: this read misses none of it. It
        # counts when the server has lost its clock, which then is behind the channels.
        before = [(channel.last, channel.known) for channel, _ in behind]
        subscriber = server.server.channels
        losses = subscriber.losses
        reading = await server.pages.read([(c, f.position, room) for c, f in behind])
        helped, device = False, part.device
        if subscriber.losses != losses or not self._freshness.may_hand_out(
            device, part.ready_until
        ):
            return True  # the pages had to wait, and may say too little now: they are read again
        for (channel, subscription), page, (offset, was_known) in zip(
            behind, reading.pages, before, strict=True
        ):
            if was_known and not channel.known:
                helped = True  # the channel has lost something since: the log is read again
            elif device.subscriptions.get(subscription.stream) is subscription:
                complete_to = max(reading.clock_us, offset)
                written_before = self._delivery_policy.written
                helped |= self._take(part, channel, subscription, page, reading.now_us, complete_to)
                self._delivery_policy.note_written(subscription.stream, written_before)
        part.write()
        return helped

    def _behind(
        self, device: DeviceSession
    ) -> dict[ServerStreams, list[tuple[Channel, Subscription]]]:
        behind: dict[ServerStreams, list[tuple[Channel, Subscription]]] = {}
        for subscription in device.subscriptions.values():
            channel = self._streams.channel(subscription)
            if channel is None or not subscription.subscribed or subscription.live:
                continue
            if channel.is_clear_after(subscription.position):
                subscription.position = max(subscription.position, channel.last)
                subscription.live = True
            else:
                server = self._streams.servers[subscription.shard]
                behind.setdefault(server, []).append((channel, subscription))
        return behind

    def _take(
        self,
        part: _JoinedFrames,
        channel: Channel,
        subscription: Subscription,
        page: LogPage,
        now_us: int,
        complete_to: int,
    ) -> bool:
        """Hand out a page. True when reading on may bring more."""
        device = part.device
        window = device.protocol.window
        assert window is not None
        if page.lost > subscription.position:
            self._port.subscriptions.truncated(device, subscription, page.lost)
            if window.add_done(subscription, page.lost):
                self._cursors[subscription.shard].moved(device, subscription)
        for entry in page.entries:
            if entry.control is not None:
                part.write()  # what came before it, before the device is told what it ends
                self._port.subscriptions.changed(device, entry)
                if device.subscriptions.get(subscription.stream) is not subscription:
                    return False  # that ended it: what follows is not for this session
            if has_expired(entry, now_us):
                if entry.offset > subscription.position and window.skip(
                    subscription, entry, EXPIRED
                ):
                    self._cursors[subscription.shard].moved(device, subscription)
            elif not self._hand_out(part, subscription, entry):
                return False
        if not page.complete:
            return True
        if not channel.known:
            channel.advance(complete_to)
        if not page.entries and not page.lost:
            channel.note_clear(subscription.position, complete_to)
        subscription.position = max(subscription.position, complete_to)
        if channel.reached(subscription):
            subscription.live = True
            return False
        return not channel.repairing

    def _hand_out(self, part: _JoinedFrames, subscription: Subscription, entry: Entry) -> bool:
        """One entry; False when there is no room for it, or the socket takes nothing further."""
        device = part.device
        if device.connection.blocked or device.is_over:
            return False
        cursor = subscription.cursor
        data = self._delivery_policy.from_log(
            device.protocol, subscription, entry, self._reactor.seconds()
        )
        if data is None:
            return False
        if subscription.cursor != cursor:
            self._cursors[subscription.shard].moved(device, subscription)
        elif data:
            self._cursors[subscription.shard].handed(device, subscription)
        part.add(data)
        return True

    def _stall(self, device: DeviceSession) -> None:
        """Redis cannot be read: try again for all that wait, with one timer."""
        self._stalled.add(device)
        if self._retry_call is None:
            self._retry_call = self._reactor.callLater(RETRY_SECONDS, self._retry)

    def _retry(self) -> None:
        self._retry_call = None
        stalled, self._stalled = self._stalled, set()
        for_each(stalled, self.wake)


def _is_behind(device: DeviceSession) -> bool:
    return any(each.subscribed and not each.live for each in device.subscriptions.values())


class _JoinedFrames:
    """Frames of one read that leave in one write. `ready_until`: see `Freshness.make_ready`."""

    def __init__(self, device: DeviceSession, ready_until: float) -> None:
        self.device = device
        self.ready_until = ready_until
        self.written = False
        self._frames: list[bytes] = []
        self._size_bytes = 0

    def add(self, frame: bytes) -> None:
        if frame:
            self._frames.append(frame)
            self._size_bytes += len(frame)
            if self._size_bytes >= PART_BYTES:
                self.write()

    def write(self) -> None:
        if self._frames and not self.device.is_over:
            self.written = True
            self.device.connection.write(b"".join(self._frames))
        self._frames.clear()
        self._size_bytes = 0
