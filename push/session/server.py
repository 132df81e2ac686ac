"""The server's role in the protocol, without I/O and without a clock.

Bytes and the time go in (`receive_data`, `tick`), events come out, and bytes to send
(`data_to_send`). Hand-out of messages is in `delivery_policy.py`; what may come when is the table
in `transitions.py`; this file is what each cell does. All times are seconds of one monotonic clock.
"""

from __future__ import annotations

import msgspec

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
from push.session.subscription import LateAcknowledgement
from push.session.transitions import SERVER, SERVER_ACCEPTS, Action, State
from push.session.window import Window
from push.wire import defaults
from push.wire.bodies import (
    AuthRequest,
    ConnectAccepted,
    ConnectRefused,
    ConnectRequest,
    DisconnectBody,
    Empty,
    PingBody,
    RequestAnswer,
    SubAnswer,
    SubRequest,
    decode_body,
    encode_body,
)
from push.wire.errors import ProtocolError, RequestError, VersionMismatch, bad_frame
from push.wire.frames import (
    HEADER_BYTES,
    MAX_FRAME_BEFORE_SESSION_BYTES,
    MAX_FRAME_BYTES,
    Frame,
    FrameDecoder,
    encode_frame,
)
from push.wire.signals import VERSION, ConnectStatus, DisconnectCode, Signal, signal_name

_ACK_HEADER = encode_frame(Signal.PUB_ACK)[:8]
MAX_REGISTRATIONS_PER_CONNECTION = 3
MAX_UNANSWERED_REQUESTS = 64
ENDING_SECONDS = 10.0  # after a peer's DISCONNECT, for what it asked for before


class SessionLimits(msgspec.Struct, frozen=True):
    """What one listener grants its sessions; shared by all of them."""

    heartbeat_seconds: int = defaults.HEARTBEAT_SECONDS
    heartbeat_min_seconds: int = defaults.HEARTBEAT_MIN_SECONDS
    heartbeat_max_seconds: int = defaults.HEARTBEAT_MAX_SECONDS
    heartbeat_grace_seconds: int = defaults.HEARTBEAT_GRACE_SECONDS
    handshake_timeout_seconds: float = defaults.HANDSHAKE_TIMEOUT_SECONDS
    redeliver_after_seconds: float = defaults.REDELIVER_AFTER_SECONDS
    max_deliveries: int = 10
    window_messages: int = defaults.WINDOW_MESSAGES
    window_bytes: int = 1024 * 1024
    max_frame_bytes: int = MAX_FRAME_BYTES

    def clamp_heartbeat(self, wanted_seconds: int | None, current_seconds: int) -> int:
        if wanted_seconds is None:
            return current_seconds
        return max(self.heartbeat_min_seconds, min(wanted_seconds, self.heartbeat_max_seconds))


class ServerSession:
    """One connection from accept to close."""

    __slots__ = (
        "_deadline",
        "_decoder",
        "_expires_at",
        "_goodbye",
        "_last_received_at",
        "_limits",
        "_out",
        "_registering",
        "_registrations",
        "_requests",
        "_started",
        "_unanswered",
        "heartbeat_seconds",
        "max_frame_bytes",
        "state",
        "window",
    )

    def __init__(self, limits: SessionLimits, now: float) -> None:
        self._limits = limits
        self._decoder = FrameDecoder(MAX_FRAME_BEFORE_SESSION_BYTES, SERVER_ACCEPTS[State.OPENING])
        self._out: list[bytes] = []
        # Of the handshake; after a DISCONNECT of the peer, of what it asked for before.
        self._deadline = now + limits.handshake_timeout_seconds
        self._last_received_at = now
        self._expires_at: float | None = None
        self._started = False
        self._registering = False
        self._registrations = 0
        self._unanswered: set[int] | None = None
        self._requests = 0  # PUBLISHes that are not answered, those without a message id included
        self._goodbye: Ended | None = None
        self.state = State.OPENING
        self.heartbeat_seconds = limits.heartbeat_seconds
        self.max_frame_bytes = limits.max_frame_bytes
        self.window: Window | None = None

    @property
    def closing(self) -> bool:
        """Whether the last word was said: nothing more is taken or sent."""
        return self.state is State.CLOSING

    def _peer_is_done(self) -> bool:
        """Whether nothing more is taken from the peer."""
        return self.state is State.CLOSING or self.state is State.ENDING

    @property
    def is_established(self) -> bool:
        """Whether there is a session whose requests are carried out."""
        return self.state is State.OPEN or self.state is State.ENDING

    # Bytes and time

    def receive_data(self, data: bytes, now: float) -> list[Event]:
        """Take bytes from the peer; what its frames mean."""
        self._last_received_at = now
        events: list[Event] = []
        if self._peer_is_done():
            return events
        if len(data) == HEADER_BYTES and self._acknowledges(data):
            # By far the commonest thing that comes: one acknowledgement without a body.
            self._done(data[8] << 8 | data[9], now, events)
            return events
        try:
            for frame in self._decoder.feed(data):
                self._started = True
                self._take(frame, now, events)
                if self._peer_is_done():
                    break
        except VersionMismatch as error:
            self._refuse_version(error, events)
        except ProtocolError as error:
            self._fail(error.code, error.reason, events)
        return events

    def data_to_send(self) -> bytes:
        out = self._out
        if not out:
            return b""
        data = out[0] if len(out) == 1 else b"".join(out)
        out.clear()
        return data

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

    def _acknowledges(self, data: bytes) -> bool:
        return (
            data.startswith(_ACK_HEADER)
            and self.state is State.OPEN
            and not self._decoder.buffered_bytes
        )

    # Frames from the peer

    def _take(self, frame: Frame, now: float, events: list[Event]) -> None:
        action = SERVER[self.state].get(frame.signal)
        if action is Action.ACKNOWLEDGE:
            self._acknowledge(frame, now, events)
        elif action is Action.HEARTBEAT:
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
        self._done(frame.message_id, now, events)

    def _done(self, number: int, now: float, events: list[Event]) -> None:
        """A copy of message `number` was acknowledged."""
        window = self.window
        if window is None:
            return
        moved = window.acknowledge(number, now)
        if isinstance(moved, LateAcknowledgement):
            events.append(LateAcknowledged(moved))
        elif moved is not None:
            events.append(Progress(moved))
        elif window.online is not None:
            found = window.acknowledge_online(number)
            if found is not None:
                events.append(OnlineAcknowledged(*found))

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

    def _claim(self, message_id: int) -> None:
        """A request's id is taken until it is answered."""
        if not message_id:
            return
        self._check_free(message_id)
        unanswered = self._unanswered
        if unanswered is None:
            unanswered = self._unanswered = set()
        if len(unanswered) >= MAX_UNANSWERED_REQUESTS:
            raise ProtocolError(
                DisconnectCode.RATE_LIMITED,
                f"more than {MAX_UNANSWERED_REQUESTS} requests are not answered yet",
            )
        unanswered.add(message_id)

    def _check_free(self, message_id: int) -> None:
        if self._unanswered is not None and message_id in self._unanswered:
            raise bad_frame(f"message id: {message_id} is not answered yet")

    def _release(self, message_id: int) -> None:
        if self._unanswered is not None:
            self._unanswered.discard(message_id)
            if not self._unanswered:
                self._unanswered = None

    # Answers of the owner

    def registered(self, message_id: int, token: str, secret: str) -> None:
        self._answer_registration(message_id, SubAnswer(token=token, secret=secret))

    def refuse_registration(self, message_id: int, refusal: RequestError) -> None:
        answer = SubAnswer(
            ok=False, code=refusal.code, detail=refusal.detail, after=refusal.after_seconds
        )
        self._answer_registration(message_id, answer)

    def _answer_registration(self, message_id: int, answer: SubAnswer) -> None:
        self._registering = False
        self._release(message_id)
        self._send(Signal.SUB, 0, message_id, encode_body(answer))

    def accept(
        self,
        message_id: int,
        body: ConnectAccepted,
        asked: ConnectRequest,
        *,
        expires_at: float | None,
        now: float,
    ) -> None:
        """Open the session. Fills in what the session itself settles: heartbeat, window, frame."""
        if self.state is State.CLOSING:
            return
        self._release(message_id)
        limits = self._limits
        self.heartbeat_seconds = limits.clamp_heartbeat(asked.heartbeat, limits.heartbeat_seconds)
        messages = min(asked.window or limits.window_messages, limits.window_messages)
        self.window = Window(messages, limits.window_bytes)
        self.max_frame_bytes = min(
            asked.max_frame or limits.max_frame_bytes, limits.max_frame_bytes
        )
        self._expires_at = expires_at
        self._last_received_at = now
        self._decoder.max_frame_bytes = limits.max_frame_bytes
        body.heartbeat = self.heartbeat_seconds
        body.window = messages
        body.max_frame = limits.max_frame_bytes
        self._send(Signal.CONNECT_ACK, ConnectStatus.ACCEPTED, message_id, encode_body(body))
        self._enter(State.OPEN)

    def refuse_connect(
        self, message_id: int, status: ConnectStatus, body: ConnectRefused
    ) -> list[Event]:
        """Say why there is no session; the connection then closes."""
        if self.state is State.CLOSING:
            return []
        self._send(Signal.CONNECT_ACK, status, message_id, encode_body(body))
        self._enter(State.CLOSING)
        return [Ended(status.name, body.detail or "", by_peer=False)]

    def renewed(self, message_id: int, expires_ms: int, expires_at: float) -> None:
        """New credentials hold until `expires_at` (monotonic), told as `expires_ms`."""
        self._expires_at = expires_at
        self._release(message_id)
        self._send(
            Signal.AUTH, 0, message_id, encode_body(RequestAnswer(ok=True, expires=expires_ms))
        )

    def refuse_renewal(self, message_id: int, refusal: RequestError) -> None:
        self._release(message_id)
        answer = RequestAnswer(ok=False, code=refusal.code, detail=refusal.detail)
        self._send(Signal.AUTH, 0, message_id, encode_body(answer))

    def answer(self, message_id: int, sub_signal: int, body: bytes) -> list[Event]:
        """Answer a PUBLISH with the JSON `body`. A peer that said DISCONNECT gets no answer any
        more: its session ends with its last request."""
        events: list[Event] = []
        self._requests -= 1
        if message_id:
            self._release(message_id)
            if self.state is State.OPEN:
                self._send(Signal.PUB_ACK, sub_signal, message_id, body)
        if self.state is State.ENDING and not self._requests:
            self._leave(events)
        return events

    def pong(self, message_id: int, sub_signal: int, time_ms: int) -> None:
        body = encode_body(PingBody(interval=self.heartbeat_seconds, time=time_ms))
        self._send(Signal.PING, sub_signal, message_id, body)

    def notify(self, body: bytes) -> None:
        """A PUSH at QoS 0: no message id, no acknowledgement."""
        if self.state is State.OPEN:
            self._send(Signal.PUSH, 0, 0, body)

    def disconnect(
        self,
        code: DisconnectCode,
        reason: str,
        *,
        after_seconds: int | None = None,
        servers: list[str] | None = None,
    ) -> list[Event]:
        """End the connection from our side."""
        events: list[Event] = []
        self._fail(code, reason, events, after_seconds, servers)
        return events

    # Ends

    def _leave(self, events: list[Event]) -> None:
        """The peer said DISCONNECT."""
        assert self._goodbye is not None
        self._enter(State.CLOSING)
        events.append(self._goodbye)

    def _fail(
        self,
        code: DisconnectCode,
        reason: str,
        events: list[Event],
        after_seconds: int | None = None,
        servers: list[str] | None = None,
    ) -> None:
        if self.state is State.CLOSING:
            return
        body = DisconnectBody(code=code.value, reason=reason)
        if servers:
            body.servers = servers
        if after_seconds is not None:
            body.after = after_seconds
        self._send(Signal.DISCONNECT, 0, 0, encode_body(body))
        self._enter(State.CLOSING)
        events.append(Ended(code.value, reason, by_peer=False))

    def _refuse_version(self, error: VersionMismatch, events: list[Event]) -> None:
        if self._started:
            self._fail(error.code, error.reason, events)
            return
        body = encode_body(ConnectRefused(versions=[VERSION]))
        status = ConnectStatus.UNACCEPTABLE_PROTOCOL_VERSION
        self._send(Signal.CONNECT_ACK, status, 0, body)
        self._enter(State.CLOSING)
        events.append(Ended(status.name, error.reason, by_peer=False))

    def _enter(self, state: State) -> None:
        self.state = state
        self._decoder.accepted = SERVER_ACCEPTS[state]
        if state is State.CLOSING:
            self._decoder.discard()

    def _send(self, signal: int, sub_signal: int, message_id: int, body: bytes) -> None:
        if self.state is not State.CLOSING:
            self._out.append(encode_frame(signal, sub_signal, message_id, body))
