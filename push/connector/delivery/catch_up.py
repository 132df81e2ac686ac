"""Sessions that are behind read on from the log until they are where the channels are.

What is read is written in small parts, and no more is handed out once the socket takes no more: a
session that does not read costs a part of a page, not a page.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from push.connector.delivery.sharded_streams import ServerStreams, ShardedStreams
from push.connector.transport.connection import DeviceConnection
from push.connector.transport.timing_wheel import TimingWheel
from push.redis.errors import StoreUnavailable
from push.session.delivery_policy import DeliveryPolicy
from push.session.entry import PART_BYTES, Entry
from push.session.window import EXPIRED, Subscription
from push.streams.channel import Channel
from push.streams.log import LogPage, has_expired

RETRY_SECONDS = 0.5


class CatchUp:
    """Reads on for sessions.

    `is_current`, `make_current`: before what waits is handed out (see `Currency`);
    `apply_control` acts on a control entry; `truncated(connection, follow, to)` tells a session
    that it has lost what was in the log up to `to`.
    """

    def __init__(
        self,
        reactor: Any,
        sources: ShardedStreams,
        delivery_policy: DeliveryPolicy,
        wheel: TimingWheel,
        *,
        own: Callable[[Any], object],
        apply_control: Callable[[DeviceConnection, Entry], None],
        truncated: Callable[[DeviceConnection, Subscription, int], None],
        is_current: Callable[[DeviceConnection], bool],
        make_current: Callable[[DeviceConnection], Awaitable[None]],
    ) -> None:
        self._reactor = reactor
        self._sources = sources
        self._delivery_policy = delivery_policy
        self._wheel = wheel
        self._cursors = sources.cursors
        self._own = own
        self._apply_control = apply_control
        self._truncated = truncated
        self._is_current = is_current
        self._make_current = make_current
        self._stalled: set[DeviceConnection] = set()
        self._retry_call: Any = None

    def stop(self) -> None:
        if self._retry_call is not None:
            self._retry_call.cancel()
            self._retry_call = None

    def wake(self, connection: DeviceConnection) -> None:
        """Read on for a connection, if it is behind and has room."""
        if connection.catching_up:
            connection.catch_up_again = True
            return
        if self._wants(connection):
            connection.catching_up = True
            self._own(self._run(connection))

    def _wants(self, connection: DeviceConnection) -> bool:
        for subscription in connection.subscriptions.values():
            if subscription.heard and not subscription.live:
                break
        else:
            return False
        window = connection.session.window
        return (
            window is not None
            and not connection.closed
            and not connection.blocked
            and not connection.leaving
            and not connection.session.closing
            and window.half_free
        )

    async def _run(self, connection: DeviceConnection) -> None:
        try:
            while self._wants(connection):
                connection.catch_up_again = False
                if not self._is_current(connection):
                    try:
                        await self._make_current(connection)
                    except StoreUnavailable:
                        self._stall(connection)
                        break
                if not await self._read_on(connection) and not connection.catch_up_again:
                    break
        finally:
            connection.catching_up = False
            connection.catch_up_again = False

    async def _read_on(self, connection: DeviceConnection) -> bool:
        """One read of all streams that are behind; False when only something else helps."""
        window = connection.session.window
        assert window is not None
        helped = False
        part = _JoinedFrames(connection)
        # None: those that were behind have joined their channels without a read.
        for source, behind in self._behind(connection).items():
            room = window.messages_max - window.used
            try:
                helped |= await self._read_from(source, part, behind, room)
            except StoreUnavailable:
                self._stall(connection)
        deadline = connection.session.next_deadline()
        if part.written and deadline is not None:
            self._wheel.at(connection, deadline)
        return helped

    async def _read_from(
        self,
        source: ServerStreams,
        part: _JoinedFrames,
        behind: list[tuple[Channel, Subscription]],
        room: int,
    ) -> bool:
        # What the channels have handed on was in the logs before: this read misses none of it. It
        # counts when the server has lost its clock, which then is behind the channels.
        handed_on = [channel.last for channel, _ in behind]
        reading = await source.pages.read([(c, f.position, room) for c, f in behind])
        helped, connection = False, part.connection
        for (channel, subscription), page, offset in zip(
            behind, reading.pages, handed_on, strict=True
        ):
            if connection.subscriptions.get(subscription.stream) is subscription:
                complete_to = max(reading.clock_us, offset)
                helped |= self._take(part, channel, subscription, page, reading.now_us, complete_to)
        part.write()
        return helped

    def _behind(
        self, connection: DeviceConnection
    ) -> dict[ServerStreams, list[tuple[Channel, Subscription]]]:
        behind: dict[ServerStreams, list[tuple[Channel, Subscription]]] = {}
        for subscription in connection.subscriptions.values():
            channel = self._sources.channel(subscription)
            if channel is None or not subscription.heard or subscription.live:
                continue
            if channel.reached(subscription):
                subscription.live = True
            else:
                behind.setdefault(self._sources.of(subscription), []).append(
                    (channel, subscription)
                )
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
        connection = part.connection
        window = connection.session.window
        assert window is not None
        if page.lost > subscription.position:
            self._truncated(connection, subscription, page.lost)
            if window.add_done(subscription, page.lost):
                self._cursors.moved(connection, subscription)
        for entry in page.entries:
            if entry.control is not None:
                self._apply_control(connection, entry)
                if connection.subscriptions.get(subscription.stream) is not subscription:
                    return False  # that ended it: what follows is not for this session
            if has_expired(entry, now_us):
                if entry.offset > subscription.position and window.skip(
                    subscription, entry, EXPIRED
                ):
                    self._cursors.moved(connection, subscription)
            elif not self._hand_out(part, subscription, entry):
                return False
        if not page.complete:
            return True
        subscription.position = max(subscription.position, complete_to)
        if not channel.known:
            channel.advance(complete_to)
        if channel.reached(subscription):
            subscription.live = True
            return False
        return not channel.repairing

    def _hand_out(self, part: _JoinedFrames, subscription: Subscription, entry: Entry) -> bool:
        """One entry; False when there is no room for it, or the socket takes no more."""
        connection = part.connection
        if connection.blocked or connection.is_gone():
            return False
        cursor = subscription.cursor
        data = self._delivery_policy.from_log(
            connection.session, subscription, entry, self._reactor.seconds()
        )
        if data is None:
            return False
        if subscription.cursor != cursor:
            self._cursors.moved(connection, subscription)
        elif data:
            self._cursors.handed(connection, subscription)
        part.add(data)
        return True

    def _stall(self, connection: DeviceConnection) -> None:
        """Redis cannot be read: try again for all that wait, with one timer."""
        self._stalled.add(connection)
        if self._retry_call is None:
            self._retry_call = self._reactor.callLater(RETRY_SECONDS, self._retry)

    def _retry(self) -> None:
        self._retry_call = None
        stalled, self._stalled = self._stalled, set()
        for connection in stalled:
            self.wake(connection)


class _JoinedFrames:
    """Frames that leave in one write."""

    def __init__(self, connection: DeviceConnection) -> None:
        self.connection = connection
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
        if self._frames and not self.connection.is_gone():
            self.written = True
            self.connection.write(b"".join(self._frames))
        self._frames.clear()
        self._size_bytes = 0
