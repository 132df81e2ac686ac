"""Sessions that are behind read on from the log until they are where the channels are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from push.connector.connection import DeviceConnection
from push.connector.wheel import TimingWheel
from push.session.entry import Entry
from push.session.handout import Handout
from push.session.window import Follow
from push.store.errors import StoreUnavailable
from push.streams.hub import Hub
from push.streams.log import LogReader, Page, Wanted, has_expired

RETRY_SECONDS = 0.5


class CatchUp:
    """Reads on for sessions. `moved` stores a cursor, `apply_control` acts on a control entry."""

    def __init__(
        self,
        reactor: Any,
        hub: Hub,
        reader: LogReader,
        handout: Handout,
        wheel: TimingWheel,
        *,
        own: Callable[[Any], object],
        moved: Callable[[DeviceConnection, Follow], None],
        apply_control: Callable[[DeviceConnection, Entry], None],
    ) -> None:
        self._reactor = reactor
        self._hub = hub
        self._reader = reader
        self._handout = handout
        self._wheel = wheel
        self._own = own
        self._moved = moved
        self._apply_control = apply_control
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
            and not connection.session.closing
            and window.half_free
        )

    async def _run(self, connection: DeviceConnection) -> None:
        try:
            while self._wants(connection):
                connection.catch_up_again = False
                if not await self._read_on(connection) and not connection.catch_up_again:
                    break
        except StoreUnavailable:
            self._stall(connection)
        finally:
            connection.catching_up = False
            connection.catch_up_again = False

    async def _read_on(self, connection: DeviceConnection) -> bool:
        """One read of all streams that are behind; False when only something else helps."""
        window = connection.session.window
        assert window is not None
        room = window.messages_max - window.used
        behind = [f for f in connection.follows.values() if f.heard and not f.live]
        # What the channels have handed on was in the logs before: this read misses none of it. It
        # counts when the server has lost its clock, which then is behind the channels.
        handed_on = [self._handed_on(follow) for follow in behind]
        reading = await self._reader.read([Wanted(f.stream, f.position, room) for f in behind])
        out: list[bytes] = []
        helped = False
        for follow, page, offset in zip(behind, reading.pages, handed_on, strict=True):
            if connection.follows.get(follow.stream) is follow:
                complete_to = max(reading.clock_us, offset)
                helped |= self._take(connection, follow, page, reading.now_us, complete_to, out)
        data = b"".join(out)
        if data and not connection.closed and not connection.session.closing:
            connection.write(data)
            deadline = connection.session.next_deadline()
            if deadline is not None:
                self._wheel.at(connection, deadline)
        return helped

    def _handed_on(self, follow: Follow) -> int:
        channel = self._hub.channels.get(follow.stream)
        return channel.last if channel is not None else 0

    def _take(
        self,
        connection: DeviceConnection,
        follow: Follow,
        page: Page,
        now_us: int,
        complete_to: int,
        out: list[bytes],
    ) -> bool:
        """Hand out a page. True when reading on may bring more."""
        window = connection.session.window
        assert window is not None
        now = self._reactor.seconds()
        for entry in page.entries:
            if has_expired(entry, now_us):
                if window.add_done(follow, entry.offset):
                    self._moved(connection, follow)
                continue
            if entry.control is not None:
                self._apply_control(connection, entry)
            if not self._hand_out(connection, follow, entry, now, out):
                return False
        if not page.complete:
            return True
        follow.position = max(follow.position, complete_to)
        return self._join_channel(connection, follow, complete_to, now, out)

    def _join_channel(
        self,
        connection: DeviceConnection,
        follow: Follow,
        complete_to: int,
        now: float,
        out: list[bytes],
    ) -> bool:
        """The log is read to its end: go live if that is where the channel is."""
        channel = self._hub.channels.get(follow.stream)
        if channel is None:
            return False
        if not channel.known:
            channel.advance(complete_to)
        for entry in channel.recent_after(follow.position):
            if entry.previous > follow.position:
                break
            if not self._hand_out(connection, follow, entry, now, out):
                return False
        if channel.reached(follow):
            follow.live = True
            return False
        return not channel.repairing

    def _hand_out(
        self,
        connection: DeviceConnection,
        follow: Follow,
        entry: Entry,
        now: float,
        out: list[bytes],
    ) -> bool:
        """One entry; False when there is no room for it."""
        cursor = follow.cursor
        data = self._handout.from_log(connection.session, follow, entry, now)
        if data is None:
            return False
        if follow.cursor != cursor:
            self._moved(connection, follow)
        out.append(data)
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
