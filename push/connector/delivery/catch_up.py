"""Sessions that are behind read on from the log until they are where the channels are.

What is read is written in small parts, and no more is handed out once the socket takes no more: a
session that does not read costs a part of a page, not a page.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from push.connector.delivery.sharded_streams import Source, Sources
from push.connector.transport.connection import DeviceConnection
from push.connector.transport.timing_wheel import TimingWheel
from push.redis.errors import StoreUnavailable
from push.session.entry import PART_BYTES, Entry
from push.session.handout import Handout
from push.session.window import EXPIRED, Follow
from push.streams.channel import Channel
from push.streams.log import Page, has_expired

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
        sources: Sources,
        handout: Handout,
        wheel: TimingWheel,
        *,
        own: Callable[[Any], object],
        apply_control: Callable[[DeviceConnection, Entry], None],
        truncated: Callable[[DeviceConnection, Follow, int], None],
        is_current: Callable[[DeviceConnection], bool],
        make_current: Callable[[DeviceConnection], Awaitable[None]],
    ) -> None:
        self._reactor = reactor
        self._sources = sources
        self._handout = handout
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
        for follow in connection.follows.values():
            if follow.heard and not follow.live:
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
        part = _Part(connection)
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
        source: Source,
        part: _Part,
        behind: list[tuple[Channel, Follow]],
        room: int,
    ) -> bool:
        # What the channels have handed on was in the logs before: this read misses none of it. It
        # counts when the server has lost its clock, which then is behind the channels.
        handed_on = [channel.last for channel, _ in behind]
        reading = await source.pages.read([(c, f.position, room) for c, f in behind])
        helped, connection = False, part.connection
        for (channel, follow), page, offset in zip(behind, reading.pages, handed_on, strict=True):
            if connection.follows.get(follow.stream) is follow:
                complete_to = max(reading.clock_us, offset)
                helped |= self._take(part, channel, follow, page, reading.now_us, complete_to)
        part.write()
        return helped

    def _behind(self, connection: DeviceConnection) -> dict[Source, list[tuple[Channel, Follow]]]:
        behind: dict[Source, list[tuple[Channel, Follow]]] = {}
        for follow in connection.follows.values():
            channel = self._sources.channel(follow)
            if channel is None or not follow.heard or follow.live:
                continue
            if channel.reached(follow):
                follow.live = True
            else:
                behind.setdefault(self._sources.of(follow), []).append((channel, follow))
        return behind

    def _take(
        self,
        part: _Part,
        channel: Channel,
        follow: Follow,
        page: Page,
        now_us: int,
        complete_to: int,
    ) -> bool:
        """Hand out a page. True when reading on may bring more."""
        connection = part.connection
        window = connection.session.window
        assert window is not None
        if page.lost > follow.position:
            self._truncated(connection, follow, page.lost)
            if window.add_done(follow, page.lost):
                self._cursors.moved(connection, follow)
        for entry in page.entries:
            if entry.control is not None:
                self._apply_control(connection, entry)
                if connection.follows.get(follow.stream) is not follow:
                    return False  # that ended it: what follows is not for this session
            if has_expired(entry, now_us):
                if entry.offset > follow.position and window.skip(follow, entry, EXPIRED):
                    self._cursors.moved(connection, follow)
            elif not self._hand_out(part, follow, entry):
                return False
        if not page.complete:
            return True
        follow.position = max(follow.position, complete_to)
        if not channel.known:
            channel.advance(complete_to)
        if channel.reached(follow):
            follow.live = True
            return False
        return not channel.repairing

    def _hand_out(self, part: _Part, follow: Follow, entry: Entry) -> bool:
        """One entry; False when there is no room for it, or the socket takes no more."""
        connection = part.connection
        if connection.blocked or connection.is_gone():
            return False
        cursor = follow.cursor
        data = self._handout.from_log(connection.session, follow, entry, self._reactor.seconds())
        if data is None:
            return False
        if follow.cursor != cursor:
            self._cursors.moved(connection, follow)
        elif data:
            self._cursors.handed(connection, follow)
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


class _Part:
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
