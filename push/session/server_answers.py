"""What a server says on one connection: answers, and its last words; without I/O.

What the frames of the peer mean is in `server.py`, which is built on this.
"""

from __future__ import annotations

import msgspec

from push.session.events import Ended, Event
from push.session.transitions import SERVER_ACCEPTS, State
from push.session.window import Window
from push.wire import defaults
from push.wire.bodies import (
    ConnectAccepted,
    ConnectRefused,
    ConnectRequest,
    DisconnectBody,
    PingBody,
    RequestAnswer,
    SubAnswer,
    encode_body,
)
from push.wire.codecs.codec import Codec, Decoder
from push.wire.errors import ProtocolError, RequestError, VersionMismatch, bad_frame
from push.wire.frames import MAX_FRAME_BEFORE_SESSION_BYTES, MAX_FRAME_BYTES
from push.wire.signals import VERSION, ConnectStatus, DisconnectCode, Signal, SubSignal

MAX_UNANSWERED_REQUESTS = 64


class SessionLimits(msgspec.Struct, frozen=True):
    """What one listener grants its sessions; shared by all of them."""

    heartbeat_seconds: int = defaults.HEARTBEAT_SECONDS
    heartbeat_min_seconds: int = defaults.HEARTBEAT_MIN_SECONDS
    heartbeat_max_seconds: int = defaults.HEARTBEAT_MAX_SECONDS
    heartbeat_grace_seconds: int = defaults.HEARTBEAT_GRACE_SECONDS
    handshake_timeout_seconds: float = defaults.HANDSHAKE_TIMEOUT_SECONDS
    redeliver_after_seconds: float = defaults.REDELIVER_AFTER_SECONDS
    max_deliveries: int = defaults.MAX_DELIVERIES
    comment_seconds: float = defaults.COMMENT_SECONDS
    window_messages: int = defaults.WINDOW_MESSAGES
    window_bytes: int = defaults.WINDOW_BYTES
    max_frame_bytes: int = MAX_FRAME_BYTES

    def clamp_heartbeat(self, wanted_seconds: int | None, current_seconds: int) -> int:
        if wanted_seconds is None:
            return current_seconds
        return max(self.heartbeat_min_seconds, min(wanted_seconds, self.heartbeat_max_seconds))


class ServerAnswers:
    """The half of a `ServerSession` that writes: its owner answers what the peer asked for."""

    __slots__ = (
        "_decoder",
        "_expires_at",
        "_goodbye",
        "_last_received_at",
        "_limits",
        "_registering",
        "_requests",
        "_unanswered",
        "codec",
        "heartbeat_seconds",
        "max_frame_bytes",
        "session_id",
        "state",
        "unsent",
        "window",
    )

    def __init__(self, limits: SessionLimits, codec: Codec, now: float) -> None:
        self.codec = codec
        self.session_id = ""  # once it is open
        self._limits = limits
        self._decoder: Decoder = codec.new_decoder(
            MAX_FRAME_BEFORE_SESSION_BYTES, SERVER_ACCEPTS[State.OPENING]
        )
        self.unsent: list[bytes] | None = None  # for `data_to_send`
        self._last_received_at = now
        self._expires_at: float | None = None
        self._registering = False
        self._unanswered: set[int] | None = None
        self._requests = 0  # PUBLISHes that are not answered, those without a message id included
        self._goodbye: Ended | None = None
        self.state = State.OPENING
        self.heartbeat_seconds = limits.heartbeat_seconds
        self.max_frame_bytes = limits.max_frame_bytes  # of a body that the peer takes
        self.window: Window | None = None

    @property
    def closing(self) -> bool:
        """Whether the session has sent its last signal: nothing more is taken or sent."""
        return self.state is State.CLOSING

    @property
    def is_established(self) -> bool:
        """Whether there is a session whose requests are carried out."""
        return self.state is State.OPEN or self.state is State.ENDING

    @property
    def max_received_bytes(self) -> int:
        """The largest frame that is accepted from the peer now."""
        return self._decoder.max_frame_bytes

    def rest_of_frame(self, data: bytes, start: int) -> int:
        """How many bytes of `data` from `start` on belong to the frame that is being read there; 0
        while that is not known."""
        return self._decoder.rest_of_frame(data, start)

    def data_to_send(self) -> bytes:
        out = self.unsent
        if out is None:
            return b""
        self.unsent = None
        return out[0] if len(out) == 1 else b"".join(out)

    # Ids of requests

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

    # Answers

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
        self.session_id = body.session
        self.max_frame_bytes = min(
            asked.max_frame or limits.max_frame_bytes, limits.max_frame_bytes
        )
        self.max_frame_bytes -= self.codec.push_envelope_bytes
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

    def answer(self, message_id: int, sub_signal: SubSignal, body: bytes) -> list[Event]:
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

    def pong(self, message_id: int, sub_signal: SubSignal, time_ms: int) -> None:
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

    def abandon(self, code: str, reason: str) -> list[Event]:
        """The connection ends without a DISCONNECT: its carrier says why."""
        if self.state is State.CLOSING:
            return []
        self._enter(State.CLOSING)
        return [Ended(code, reason, by_peer=True)]

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

    def discard_received(self) -> None:
        """Forget the frame that is incomplete: its rest will not come."""
        self._decoder.discard()

    def _send(self, signal: int, sub_signal: SubSignal, message_id: int, body: bytes) -> None:
        if self.state is State.CLOSING:
            return
        data = self.codec.encode(signal, sub_signal, message_id, body)
        if self.unsent is None:
            self.unsent = [data]
        else:
            self.unsent.append(data)
