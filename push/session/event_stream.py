"""A session that is the response to `GET /v1/stream`: it is only written to.

The request was its CONNECT. A message is acknowledged when its bytes have left this process, or, by
id, at the next request only. Each event that is in a log has an id of this session, which stands
for a position in all its streams: the owner keeps those positions. Nothing is sent twice in one
response. Comments take the place of the heartbeat: they make a dead connection known to the system,
and one that takes nothing any more is ended here.
"""

from __future__ import annotations

from collections.abc import Callable

from push.session.entry import Entry, HandedOut
from push.session.events import ConnectRequested, Event, EventPosition, PositionsReached
from push.session.server import ServerSession
from push.session.server_answers import SessionLimits
from push.session.subscription import OutstandingMessage, Subscription
from push.session.transitions import State
from push.session.window import Window
from push.wire.bodies import ConnectAccepted, ConnectRefused, ConnectRequest
from push.wire.codecs.events import COMMENT, EVENTS, piece, pieces
from push.wire.event_stream.request import StreamConnect
from push.wire.signals import ConnectStatus, DisconnectCode

# Positions are kept for 10 minutes; while the response is open their time begins again so often.
HOLD_SECONDS = 240.0

# What a client is answered whose session ends before the response has begun.
_REFUSAL_OF_END = {DisconnectCode.KICKED: "banned", DisconnectCode.INTERNAL: "internal"}


class StreamWindow(Window):
    """What was written is acknowledged soon, or at another request: nothing is due again."""

    __slots__ = ()

    def waiting_since(self) -> float | None:
        return None

    def take_due(self, now: float, after_seconds: float) -> list[OutstandingMessage]:
        return []


class PositionWindow(StreamWindow):
    """Nothing is acknowledged before the response has ended, so that a full window ends it:
    `on_full` is called, perhaps more than once."""

    __slots__ = ("_on_full", "is_full")
    acknowledges_here = False

    def __init__(self, messages_max: int, bytes_max: int, on_full: Callable[[], None]) -> None:
        super().__init__(messages_max, bytes_max)
        self.is_full = False
        self._on_full = on_full

    @property
    def half_free(self) -> bool:
        """Whether it should read on: there will not be more room than there is."""
        return not self.is_full

    def has_room(self, messages: int, size_bytes: int) -> bool:
        has_room = super().has_room(messages, size_bytes)
        if not has_room and messages == 1:
            self._fill()
        return has_room

    def add_all(
        self, subscription: Subscription, messages: tuple[HandedOut, ...], size_bytes: int
    ) -> None:
        super().add_all(subscription, messages, size_bytes)
        if self.used >= self.messages_max:
            self._fill()

    def add_online(
        self, subscription: Subscription, entry: Entry, message_id: int, now: float
    ) -> bool:
        """What is in no log has no position by which it could be acknowledged."""
        return False

    def _fill(self) -> None:
        self.is_full = True
        self._on_full()

    def tell_nobody(self) -> None:
        """It is not told any more, and can be freed."""
        self._on_full = _nobody


def _nobody() -> None:
    pass


class StreamSession(ServerSession):
    """One response, from the request to its end.

    `is_blocked`: the connection takes nothing now. `on_full` is called when the window of a session
    that is acknowledged by id is full.
    """

    __slots__ = (
        "_by_id",
        "_comment_at",
        "_hold_at",
        "_last_number",
        "_positions",
        "_session_id",
        "_stalled_seconds",
        "_written",
        "is_blocked",
        "on_full",
    )

    def __init__(self, limits: SessionLimits, now: float, on_full: Callable[[], None]) -> None:
        super().__init__(limits, now, EVENTS)
        self.on_full = on_full
        self.is_blocked = False
        self._by_id = False
        self._comment_at = 0.0
        self._hold_at = 0.0
        self._stalled_seconds = 0.0
        self._session_id = ""  # of a session whose positions are kept
        self._last_number = 0
        self._positions: list[EventPosition] = []
        self._written: list[int] = []

    def begin(self, asked: StreamConnect, deadline: float | None = None) -> list[Event]:
        """The request is complete; it must be answered until `deadline`, if that is given."""
        self._by_id = asked.by_id
        if deadline is not None:
            self._deadline = deadline
        self._enter(State.CONNECTING)
        return [ConnectRequested(0, asked)]

    def accept(
        self,
        message_id: int,
        body: ConnectAccepted,
        asked: ConnectRequest,
        *,
        expires_at: float | None,
        now: float,
    ) -> None:
        super().accept(message_id, body, asked, expires_at=expires_at, now=now)
        window = self.window
        if window is None:
            return
        if self._by_id:
            self.window = PositionWindow(window.messages_max, window.bytes_max, self.on_full)
        else:
            self.window = StreamWindow(window.messages_max, window.bytes_max)
        if not body.streams:  # those are told to users without a device
            self._session_id = body.session
        self._comment_at = now + self._limits.comment_seconds
        self._hold_at = now + HOLD_SECONDS

    def tell_nobody(self) -> None:
        """The connection is lost, and is told nothing more: it holds this, which holds it."""
        self.on_full = _nobody
        if isinstance(self.window, PositionWindow):
            self.window.tell_nobody()

    @property
    def is_full(self) -> bool:
        """Whether nothing more can be handed out in this response."""
        return isinstance(self.window, PositionWindow) and self.window.is_full

    # What is written

    def events(self, data: bytes) -> list[tuple[bytes, int]]:
        """The events in `data` as they are written, each with the message id that `written` gets.

        Called in the order in which they are written. The positions that their ids stand for are in
        `take_positions`.
        """
        return [self._event(text, message_id) for text, message_id in pieces(data)]

    def _event(self, text: bytes, message_id: int) -> tuple[bytes, int]:
        window = self.window
        message = window.find(message_id) if window is not None and message_id else None
        if message is not None and self._session_id:
            self._last_number += 1
            event_id = f"{self._session_id}.{self._last_number}"
            stream = message.subscription.stream
            self._positions.append(EventPosition(event_id, stream, message.offset))
            text = b"id: %b\n%b" % (event_id.encode(), text)
        return text, 0 if self._by_id else message_id

    def written(self, message_id: int) -> None:
        """All bytes of a message have left."""
        if message_id:
            self._written.append(message_id)

    def take_written(self, now: float) -> list[Event]:
        """What it means that messages have been written."""
        events: list[Event] = []
        if self._written:
            written, self._written = self._written, []
            for message_id in written:
                self._done(message_id, now, events)
        return events

    def take_positions(self) -> list[EventPosition]:
        """Positions that events stand for which are written from now on."""
        positions, self._positions = self._positions, []
        return positions

    # Time

    def tick(self, now: float) -> list[Event]:
        events: list[Event] = []
        if self.state is State.OPEN and now >= self._comment_at:
            self._comment(now, events)
        return events + super().tick(now)

    def _comment(self, now: float, events: list[Event]) -> None:
        interval_seconds = self._limits.comment_seconds
        self._comment_at = now + interval_seconds
        if not self.is_blocked:
            self._stalled_seconds = 0.0
            self.unsent = [*(self.unsent or ()), piece(COMMENT)]
        else:
            self._stalled_seconds += interval_seconds
            if self._stalled_seconds > self._limits.heartbeat_grace_seconds:
                reason = f"nothing could be written for {self._stalled_seconds:.0f} s"
                self._fail(DisconnectCode.HEARTBEAT_TIMEOUT, reason, events)
        if self._session_id and now >= self._hold_at:
            self._hold_at = now + HOLD_SECONDS
            events.append(PositionsReached())

    def _silence_deadline(self) -> float:
        """The client never sends anything; `tick` acts when a comment is due."""
        return self._comment_at

    def _fail(
        self,
        code: DisconnectCode,
        reason: str,
        events: list[Event],
        after_seconds: int | None = None,
        servers: list[str] | None = None,
    ) -> None:
        """Before the response has begun there is no event to say it with: the request is refused
        then."""
        if self.state is not State.OPENING and self.state is not State.CONNECTING:
            super()._fail(code, reason, events, after_seconds, servers)
            return
        status = ConnectStatus.USE_ANOTHER_SERVER if servers else ConnectStatus.SERVER_UNAVAILABLE
        refusal = _REFUSAL_OF_END.get(code, "unavailable")
        body = ConnectRefused(code=refusal, detail=reason, servers=servers, after=after_seconds)
        events += self.refuse_connect(0, status, body)
