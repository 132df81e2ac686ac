"""The server's role in the protocol, without I/O and without a clock.

Bytes and the time go in (`receive_data`, `tick`), events come out, and bytes to send
(`data_to_send`). Hand-out of messages is in `delivery_policy.py`; what may come when is the table
in `transitions.py`; this file is what each cell does, `server_answers.py` what it answers. All
times are seconds of one monotonic clock.
"""

from __future__ import annotations

from push.session.events import (
    ConnectRequested,
    Ended,
    Event,
    GoodbyeSaid,
    HeartbeatRequested,
    LateAcknowledged,
    OnlineAcknowledged,
    Progress,
    PublishRequested,
    RedeliveryDue,
    RegisterRequested,
    RenewRequested,
)
from push.session.server_answers import ServerAnswers, SessionLimits
from push.session.subscription import LateAcknowledgement
from push.session.transitions import SERVER, Action, State
from push.wire.bodies import (
    AuthRequest,
    ConnectRequest,
    DisconnectBody,
    Empty,
    PingBody,
    SubRequest,
    decode_body,
)
from push.wire.codecs.binary import BINARY
from push.wire.codecs.codec import Codec
from push.wire.errors import ProtocolError, VersionMismatch, bad_frame
from push.wire.frames import Frame
from push.wire.signals import DisconnectCode, signal_name

MAX_REGISTRATIONS_PER_CONNECTION = 3
FEW_BYTES = 512
_OPEN = State.OPEN  # a member of an Enum takes a call each time
ENDING_SECONDS = 10.0  # after a peer's DISCONNECT, for what it asked for before


class ServerSession(ServerAnswers):
    """One connection from accept to close."""

    __slots__ = (
        "_deadline",
        "_is_partial",
        "_registrations",
        "_started",
        "charged_bytes",
        "charged_frames",
    )

    def __init__(self, limits: SessionLimits, now: float, codec: Codec = BINARY) -> None:
        super().__init__(limits, codec, now)
        # Of the handshake; after a DISCONNECT of the peer, of what it asked for before.
        self._deadline = now + limits.handshake_timeout_seconds
        self._started = False
        self._is_partial = False  # of a frame the beginning has come
        self._registrations = 0
        # What came and counts for the session's rates, since the owner last took it from here:
        # everything but acknowledgements of messages that are outstanding.
        self.charged_frames = 0
        self.charged_bytes = 0

    def _peer_is_done(self) -> bool:
        """Whether nothing more is taken from the peer."""
        return self.state is State.CLOSING or self.state is State.ENDING

    # Bytes and time

    def acknowledged(self, data: bytes, now: float) -> Progress | None:
        """The short cut for what is by far the commonest: acknowledgements, without a body, of the
        first messages of a stream. None: it is something else, for `receive_data`, and nothing was
        done."""
        window = self.window
        if window is None or self._is_partial or self.state is not _OPEN:
            return None
        numbers = self.codec.acknowledged_ids(data)
        if not numbers:
            return None
        self._last_received_at = now
        return window.acknowledge_in_order(numbers, now)

    def receive_data(self, data: bytes, now: float) -> list[Event]:
        """Take bytes from the peer; what its frames mean."""
        self._last_received_at = now
        events: list[Event] = []
        if self._peer_is_done():
            return events
        charged_before, frame = self.charged_frames, None
        try:
            for frame in self._decoder.feed(data):
                self._started = True
                self._take(frame, now, events)
                if self._peer_is_done():
                    break
        except ProtocolError as error:
            if isinstance(error, VersionMismatch) and not self._started:
                self._refuse_version(error, events)
                return events
            self._fail(error.code, error.reason, events)
        self._is_partial = self._decoder.buffered_bytes > 0
        if frame is None:
            # Else single bytes, each of which costs as much as a frame, would count for nothing.
            self._charge(len(data) < FEW_BYTES, len(data))
        elif self.charged_frames > charged_before or self._is_partial:
            self.charged_bytes += len(data)
        return events

    def _charge(self, frames: int, size_bytes: int) -> None:
        self.charged_frames += frames
        self.charged_bytes += size_bytes

    def next_deadline(self) -> float | None:
        """When `tick` is to be called at the latest."""
        if self.state in (State.OPENING, State.CONNECTING):
            return self._deadline
        if self.state is State.CLOSING:
            return None
        if self.state is State.ENDING:
            expires_at = self._expires_at
            return self._deadline if expires_at is None else min(self._deadline, expires_at)
        deadline = self._silence_deadline()
        since = self.window.waiting_since() if self.window else None
        if since is not None:
            deadline = min(deadline, since + self._limits.redeliver_after_seconds)
        if self._expires_at is not None and self._expires_at < deadline:
            deadline = self._expires_at
        return deadline

    def tick(self, now: float) -> list[Event]:
        """Do what is due at `now`."""
        events: list[Event] = []
        if self.state in (State.OPENING, State.CONNECTING):
            if now >= self._deadline:
                self._fail(DisconnectCode.HANDSHAKE_TIMEOUT, "no session in time", events)
        elif self.state is State.ENDING:
            if now >= self._deadline:
                self._leave(events)
            elif self._expires_at is not None and now >= self._expires_at:
                self._fail(DisconnectCode.CREDENTIALS_EXPIRED, "the JWT has expired", events)
        elif self.state is State.OPEN:
            if now >= self._silence_deadline():
                reason = f"nothing came for {now - self._last_received_at:.0f} s"
                self._fail(DisconnectCode.HEARTBEAT_TIMEOUT, reason, events)
            elif self._expires_at is not None and now >= self._expires_at:
                self._fail(DisconnectCode.CREDENTIALS_EXPIRED, "the JWT has expired", events)
            else:
                self._collect_due(events, now)
        return events

    def _silence_deadline(self) -> float:
        interval = self.heartbeat_seconds + self._limits.heartbeat_grace_seconds
        return self._last_received_at + interval

    def _collect_due(self, events: list[Event], now: float) -> None:
        window = self.window
        if window is None:
            return
        due = window.take_due(now, self._limits.redeliver_after_seconds)
        if due:
            events.append(RedeliveryDue(due))

    # Frames from the peer

    def _take(self, frame: Frame, now: float, events: list[Event]) -> None:
        action = SERVER[self.state].get(frame.signal)
        if action is Action.ACKNOWLEDGE:
            self._acknowledge(frame, now, events)
            return
        self.charged_frames += 1
        if action is Action.HEARTBEAT:
            self._heartbeat(frame, events)
        elif action is Action.REQUEST:
            self._claim(frame.message_id)
            self._requests += 1
            events.append(PublishRequested(frame.message_id, frame.sub_signal, frame.body))
        elif action is Action.CONNECT:
            body = decode_body(ConnectRequest, frame.body, "CONNECT")
            self._claim(frame.message_id)
            self._enter(State.CONNECTING)
            events.append(ConnectRequested(frame.message_id, body))
        elif action is Action.REGISTER:
            self._register(frame, events)
        elif action is Action.RENEW:
            renewal = decode_body(AuthRequest, frame.body, "AUTH")
            self._claim(frame.message_id)
            events.append(RenewRequested(frame.message_id, renewal))
        elif action is Action.CLOSE:
            said = decode_body(DisconnectBody, frame.body, "DISCONNECT")
            self._goodbye = Ended(said.code, said.reason, by_peer=True)
            if self._requests:
                self._deadline = now + ENDING_SECONDS
                self._enter(State.ENDING)
                events.append(GoodbyeSaid())
            else:
                self._leave(events)
        else:
            raise bad_frame(f"signal: {signal_name(frame.signal)} is not accepted here")

    def _acknowledge(self, frame: Frame, now: float, events: list[Event]) -> None:
        if frame.body:
            decode_body(Empty, frame.body, "PUB_ACK")
            self.charged_frames += len(frame.body) > FEW_BYTES
        if not self._done(frame.message_id, now, events):
            self.charged_frames += 1

    def _done(self, number: int, now: float, events: list[Event]) -> bool:
        """A copy of message `number` was acknowledged; whether one was outstanding."""
        window = self.window
        if window is None:
            return False
        in_order = window.acknowledge_in_order((number,), now)
        if in_order is not None:
            events.append(in_order)
            return True
        delivery = window.find(number)
        if delivery is not None:
            moved = window.acknowledge(number, now)
            if isinstance(moved, LateAcknowledgement):
                events.append(LateAcknowledged(moved))
            elif moved is not None:
                events.append(Progress(moved, (delivery,)))
            return True
        found = window.acknowledge_online(number)
        if found is None:
            return False
        events.append(OnlineAcknowledged(*found))
        return True

    def _heartbeat(self, frame: Frame, events: list[Event]) -> None:
        asked = decode_body(PingBody, frame.body, "PING").interval
        self._check_free(frame.message_id)  # not claimed: a PING is answered at once
        self.heartbeat_seconds = self._limits.clamp_heartbeat(asked, self.heartbeat_seconds)
        events.append(HeartbeatRequested(frame.message_id, frame.sub_signal))

    def _register(self, frame: Frame, events: list[Event]) -> None:
        body = decode_body(SubRequest, frame.body, "SUB")
        if self._registering:
            raise bad_frame("SUB: one at a time, the one before is not answered yet")
        if self._registrations >= MAX_REGISTRATIONS_PER_CONNECTION:
            raise bad_frame(f"SUB: at most {MAX_REGISTRATIONS_PER_CONNECTION} on one connection")
        self._claim(frame.message_id)
        self._registering = True
        self._registrations += 1
        events.append(RegisterRequested(frame.message_id, body))
