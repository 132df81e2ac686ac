"""The client role of the device protocol: bytes and time in, bytes, events and a deadline out.

Strategy: the shell (asyncio, threads) moves bytes and arms one timer. It calls `receive_data` with
what came, `tick` when `next_deadline()` has passed, a request when the application wants one, and
after each of these sends `data_to_send()`. `now` is any monotonic time in seconds, always the same
clock. A signal without a cell in the table is ignored, because servers may be newer than this.

Two families of errors: what the server breaks comes out as the event `ProtocolViolated`; a request
at the wrong time is our own fault and raises `RequestNotPossible`.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from push.session import client_bodies as read
from push.session.client_events import (
    ConnectionDead,
    Duplicate,
    Event,
    Ignored,
    MessageReceived,
    Pong,
    ProtocolViolated,
    StreamFollowed,
    Unfollowed,
)
from push.session.client_liveness import Liveness
from push.session.client_memory import Arrival, ClientCursors, Deliveries
from push.session.transitions import CLIENT, Action, State
from push.wire import bodies
from push.wire.errors import ProtocolError, VersionMismatch, bad_frame
from push.wire.frames import (
    MAX_FRAME_BEFORE_SESSION_BYTES,
    MAX_FRAME_BYTES,
    Frame,
    FrameDecoder,
    encode_frame,
)
from push.wire.signals import ConnectStatus, DisconnectCode, Signal

MAX_UNANSWERED_REQUESTS = 64
MAX_REGISTRATIONS = 3
ANSWER_SECONDS = 15.0  # for SUB and CONNECT; the server's own handshake time-out is 10 s
MAX_CURSORS_BYTES = 48 * 1024  # of the 64 KiB that a CONNECT may have, beside a JWT of 8 KiB
_MAX_ID = 0xFFFF

KNOWN_KINDS = frozenset({"chat", "recall", "receipt", "group", "typing", "truncated"})
_FOLLOW, _UNFOLLOW = "follow", "unfollow"


class RequestNotPossible(RuntimeError):
    """Our own fault: the session is not in the state for this request, or it is too large."""


class TooManyRequests(RequestNotPossible):
    """64 requests are unanswered; wait for an answer."""


class ClientSession:
    """One connection, seen from the device.

    `deliveries` and `cursors` outlive it: hand the same objects to the next session of the client.
    """

    def __init__(
        self, deliveries: Deliveries | None = None, cursors: ClientCursors | None = None
    ) -> None:
        self.deliveries = Deliveries() if deliveries is None else deliveries
        self.cursors = ClientCursors() if cursors is None else cursors
        self.deliveries.begin_session()
        # Larger than the contract's 64 KiB: CONNECT_ACK lists streams, and the server is trusted.
        self._decoder = FrameDecoder(MAX_FRAME_BYTES)
        self._state = State.OPENING
        self._outgoing: list[bytes] = []
        self._waiting: dict[int, Signal] = {}
        self._unanswered = 0
        self._last_id = 0
        self._registrations = 0
        self._max_send_bytes = MAX_FRAME_BEFORE_SESSION_BYTES
        self._liveness = Liveness()
        self._now = 0.0
        self._answer_by: float | None = None

    @property
    def state(self) -> State:
        return self._state

    @property
    def closed(self) -> bool:
        """Whether the session is over: send what is queued, then close the connection."""
        return self._is_over()

    @property
    def unanswered(self) -> int:
        """PUBLISH requests without an answer yet; at most `MAX_UNANSWERED_REQUESTS`."""
        return self._unanswered

    def data_to_send(self) -> bytes:
        """Everything queued since the last call. In CLOSING: send it, then close."""
        data = b"".join(self._outgoing)
        self._outgoing.clear()
        return data

    # --- Requests ---------------------------------------------------------------------------

    def register(
        self,
        now: float,
        *,
        platform: str,
        app: str,
        key: str | None = None,
        device: str | None = None,
        token: str | None = None,
        secret: str | None = None,
    ) -> int:
        """SUB: ask for a token. With a `token` and its `secret` the same pair comes again."""
        self._require(State.OPENING)
        if self._registrations == MAX_REGISTRATIONS:
            raise RequestNotPossible(f"at most {MAX_REGISTRATIONS} SUB a connection")
        if Signal.SUB in self._waiting.values():
            raise RequestNotPossible("one SUB at a time")
        self._await_answer(now)
        body = bodies.SubRequest(platform, app, key, device, token, secret)
        message_id = self._request(Signal.SUB, bodies.encode_body(body))
        self._registrations += 1
        return message_id

    def connect(
        self,
        now: float,
        *,
        token: str | None = None,
        secret: str | None = None,
        jwt: str | None = None,
        heartbeat_seconds: int | None = None,
        window_messages: int | None = None,
        max_frame_bytes: int | None = None,
        sdk: str | None = None,
    ) -> int:
        """CONNECT: open the session. `cursors` come from the client's memory."""
        self._require(State.OPENING)
        self._await_answer(now)
        body = bodies.ConnectRequest(
            token=token,
            secret=secret,
            jwt=jwt,
            heartbeat=heartbeat_seconds,
            sdk=sdk,
            window=window_messages,
            max_frame=max_frame_bytes,
            cursors=self.cursors.positions(MAX_CURSORS_BYTES),
        )
        message_id = self._request(Signal.CONNECT, bodies.encode_body(body))
        if heartbeat_seconds is not None:
            self._liveness.heartbeat_seconds = heartbeat_seconds
        self._state = State.CONNECTING
        return message_id

    def ping(self, now: float, interval_seconds: int | None = None) -> int:
        """PING; with `interval_seconds` ask for another heartbeat."""
        self._require(State.OPEN)
        self._now = now
        message_id = self._request(
            Signal.PING, bodies.encode_body(bodies.PingBody(interval=interval_seconds))
        )
        self._liveness.pinged(now)
        return message_id

    def publish(
        self,
        sub_signal: int,
        body: Mapping[str, object] | msgspec.Raw,
        *,
        answered: bool = True,
        now: float | None = None,
    ) -> int:
        """PUBLISH: the message id that its `Answer` will carry, or 0 when none is wanted.

        Give `now`, so that a missing answer is noticed. `Raw`: a body that is JSON already.
        """
        self._require(State.OPEN)
        encoded = msgspec.json.encode(body)
        self._now = self._now if now is None else now
        if not answered:
            self._send(Signal.PUBLISH, encoded, sub_signal=sub_signal)
            return 0
        if self._unanswered >= MAX_UNANSWERED_REQUESTS:
            raise TooManyRequests(f"{MAX_UNANSWERED_REQUESTS} requests wait for their answers")
        message_id = self._request(Signal.PUBLISH, encoded, sub_signal)
        self._unanswered += 1
        self._liveness.asked(self._now)
        return message_id

    def renew(self, jwt: str, now: float | None = None) -> int:
        """AUTH: a new JWT for the same user and token. Give `now`, as to `publish`."""
        self._require(State.OPEN)
        self._now = self._now if now is None else now
        message_id = self._request(Signal.AUTH, bodies.encode_body(bodies.AuthRequest(jwt)))
        self._liveness.asked(self._now)
        return message_id

    def acknowledge(self, message: MessageReceived) -> None:
        """The application is done with `message`: acknowledge every copy that came.

        Also right after the connection it came on has ended: a copy that comes later is then
        acknowledged at once. Doing it twice does nothing.
        """
        if not message.number:
            return
        message_ids = self.deliveries.finished(message.id)
        self.cursors.acknowledged(message.stream, message.offset)
        for number in message_ids:
            self._acknowledge_number(number)

    def release(self, message: MessageReceived) -> None:
        """The application gives `message` back: its next copy is delivered as a new message."""
        self.deliveries.released(message.id)

    def disconnect(self, code: str = DisconnectCode.BYE, reason: str = "") -> None:
        """Say why, and send nothing more. Does nothing when the session is over already."""
        if self._state is not State.CLOSING:
            body = bodies.DisconnectBody(str(code), reason)
            self._send(Signal.DISCONNECT, bodies.encode_body(body))
            self._close()

    # --- Time -------------------------------------------------------------------------------

    def next_deadline(self) -> float | None:
        """When to call `tick`, or None."""
        if self._state is State.OPEN:
            return self._liveness.next_deadline()
        return None if self._state is State.CLOSING else self._answer_by

    def tick(self, now: float) -> list[Event]:
        """Do what is due: a PING after `heartbeat` seconds of silence in either direction, or when
        a request gets no answer and nothing else comes either.
        """
        self._now = now
        deadline = self.next_deadline()
        if deadline is None or now < deadline:
            return []
        if self._state is State.OPEN:
            waits = Signal.PING in self._waiting.values()
            reason = self._liveness.doubt(now, ping_unanswered=waits)
            if reason is None and not waits:
                self.ping(now)
        else:
            reason = f"no answer within {ANSWER_SECONDS:g} s"
        if reason is None:
            return []
        self._close()
        return [ConnectionDead(reason)]

    # --- Receiving --------------------------------------------------------------------------

    def receive_data(self, data: bytes, now: float) -> list[Event]:
        """The events of the frames that `data` completes, in order.

        The last may be `Disconnected`, `ConnectRefused` or `ProtocolViolated`; then the session is
        over and further bytes are ignored.
        """
        self._now = now
        events: list[Event] = []
        if self._is_over() or not data:
            return events
        self._liveness.received(now)
        try:
            for frame in self._decoder.feed(data):
                self._receive(frame, events)
                if self._is_over():
                    break
        except ProtocolError as error:
            if isinstance(error, VersionMismatch):
                self._close()
            self.disconnect(error.code, error.reason)
            events.append(ProtocolViolated(error))
        if self._is_over():
            self._decoder.discard()
        elif any(signal is not Signal.PING for signal in self._waiting.values()):
            self._liveness.still_waiting(now)
        return events

    def _receive(self, frame: Frame, events: list[Event]) -> None:
        match CLIENT[self._state].get(frame.signal):
            case Action.MESSAGE:
                self._on_message(frame, events)
            case Action.ANSWER if self._answers(frame, Signal.PUBLISH):
                self._unanswered -= 1
                events.append(read.read_answer(frame))
            case Action.HEARTBEAT:
                self._on_pong(frame, events)
            case Action.RENEWED if self._answers(frame, Signal.AUTH):
                events.append(read.read_auth_answer(frame))
            case Action.REGISTERED if self._answers(frame, Signal.SUB):
                self._on_registered(frame, events)
            case Action.CONNECTED:
                self._on_connect_ack(frame, events)
            case Action.CLOSE:
                self._on_disconnect(frame, events)

    def _on_message(self, frame: Frame, events: list[Event]) -> None:
        message = read.read_push(frame)
        if message.kind is None or message.kind in KNOWN_KINDS:
            self._deliver(message, events)
            return
        if message.number:
            self._deliver(message, [])
            self.acknowledge(message)
        if message.kind == "follow":
            self.cursors.followed(message.stream, message.offset)
            events.append(StreamFollowed(message.stream, message.offset))
        elif message.kind == "unfollow":
            self.cursors.unfollowed(message.stream)
            events.append(Unfollowed(message.stream))
        else:
            events.append(Ignored(message.id, message.kind))

    def _deliver(self, message: MessageReceived, events: list[Event]) -> None:
        if not message.number:  # QoS 0 never comes again
            events.append(message)
            return
        arrival = self.deliveries.arrived(message.id, message.number)
        if arrival is Arrival.NEW:
            self.cursors.delivered(message.stream, message.offset)
            events.append(message)
            return
        if arrival is Arrival.DONE:
            self.cursors.acknowledged(message.stream, message.offset)
            self._acknowledge_number(message.number)
        events.append(Duplicate(message.id, arrival is Arrival.DONE))

    def _on_pong(self, frame: Frame, events: list[Event]) -> None:
        self._answers(frame, Signal.PING)
        body = bodies.decode_body(bodies.PingBody, frame.body, "PING")
        if body.interval is not None and body.interval < 1:
            raise bad_frame(f"PING body: no heartbeat is {body.interval} s long - at `$.interval`")
        if body.interval is not None:
            self._liveness.heartbeat_seconds = body.interval
        events.append(Pong(self._liveness.heartbeat_seconds, body.time or 0))

    def _on_registered(self, frame: Frame, events: list[Event]) -> None:
        if self._state is State.OPENING:
            self._answer_by = None
        events.append(read.read_registration(frame))

    def _on_connect_ack(self, frame: Frame, events: list[Event]) -> None:
        if frame.sub_signal != ConnectStatus.ACCEPTED:
            # A refusal counts also before CONNECT: so does a server say that it knows no version 2.
            refusal = read.read_refusal(frame)
            self._close()
            events.append(refusal)
            return
        if self._state is not State.CONNECTING:
            raise bad_frame("CONNECT_ACK: nobody asked")
        connected = read.read_acceptance(
            frame, self._liveness.heartbeat_seconds, self._max_send_bytes
        )
        self._waiting.clear()
        self._state = State.OPEN
        self._answer_by = None
        self._liveness.heartbeat_seconds = connected.heartbeat_seconds
        self._max_send_bytes = connected.max_frame_bytes
        self.cursors.begin_session(connected.streams)
        events.append(connected)

    def _on_disconnect(self, frame: Frame, events: list[Event]) -> None:
        goodbye = read.read_disconnect(frame)
        self._close()
        events.append(goodbye)

    # --- The rest ---------------------------------------------------------------------------

    def _is_over(self) -> bool:
        return self._state is State.CLOSING

    def _require(self, state: State) -> None:
        if self._state is not state:
            raise RequestNotPossible(f"not while the connection is {self._state.name}")

    def _request(self, signal: Signal, body: bytes, sub_signal: int = 0) -> int:
        """Send with an id that no unanswered request has. At most 64 + a few ids are taken."""
        message_id = self._last_id % _MAX_ID + 1
        while message_id in self._waiting:
            message_id = message_id % _MAX_ID + 1
        self._send(signal, body, message_id, sub_signal)
        self._last_id = message_id
        self._waiting[message_id] = signal
        return message_id

    def _answers(self, frame: Frame, signal: Signal) -> bool:
        """Whether `frame` answers a request of that signal; its id is free again."""
        if self._waiting.get(frame.message_id) is not signal:
            return False
        del self._waiting[frame.message_id]
        return True

    def _await_answer(self, now: float) -> None:
        """Before the request is sent: the time of sending begins the heartbeat."""
        self._now = now
        self._answer_by = now + ANSWER_SECONDS

    def _acknowledge_number(self, number: int) -> None:
        if self._state is State.OPEN:
            self._send(Signal.PUB_ACK, b"", number)

    def _send(self, signal: Signal, body: bytes, message_id: int = 0, sub_signal: int = 0) -> None:
        if len(body) > self._max_send_bytes:
            raise RequestNotPossible(
                f"{signal.name} of {len(body)} bytes where the server accepts "
                f"{self._max_send_bytes}"
            )
        self._outgoing.append(encode_frame(signal, sub_signal, message_id, body))
        self._liveness.sent(self._now)

    def _close(self) -> None:
        self._state = State.CLOSING
        self._answer_by = None
