"""The client role of the device protocol: bytes and time in, bytes, events and a deadline out.

Strategy: the shell (asyncio, threads) moves bytes and arms one timer. It calls `receive_data` with
the bytes that came, `tick` when `next_deadline()` has passed, `lost` when the connection ended, a
request when the application wants one, and after each of these sends `data_to_send()`. `now` is any
monotonic time in seconds, always the same clock. A signal without a cell in the table is ignored,
because servers may be newer than this.

Two families of errors: what the server breaks comes out as the event `ProtocolViolated`; a request
at the wrong time is our own fault and raises `RequestNotPossible`.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from push.session.client import bodies as read
from push.session.client.events import (
    ConnectionDead,
    Event,
    MessageReceived,
    Pong,
    ProtocolViolated,
)
from push.session.client.heartbeat import AdaptiveHeartbeat
from push.session.client.liveness import Liveness
from push.session.client.memory import ClientCursors, Deliveries
from push.session.client.outgoing import Outgoing, RequestNotPossible
from push.session.client.receiving import MessageReceiver
from push.session.transitions import CLIENT, Action, State
from push.wire import bodies
from push.wire.errors import ProtocolError, VersionMismatch, bad_frame
from push.wire.frames import MAX_FRAME_BYTES, Frame, FrameDecoder
from push.wire.signals import ConnectStatus, DisconnectCode, Signal

MAX_REGISTRATIONS = 3
ANSWER_SECONDS = 15.0  # for SUB and CONNECT; the server's own handshake time-out is 10 s
MAX_CURSORS_BYTES = 48 * 1024  # of the 64 KiB that a CONNECT may have, beside a JWT of 8 KiB


class ClientSession:
    """One connection, seen from the device.

    `deliveries`, `cursors` and `heartbeat` outlive it: hand the same objects to the next session of
    the client. With a `heartbeat` the session finds out how long it may be silent.
    """

    def __init__(
        self,
        deliveries: Deliveries | None = None,
        cursors: ClientCursors | None = None,
        heartbeat: AdaptiveHeartbeat | None = None,
    ) -> None:
        self.deliveries = Deliveries() if deliveries is None else deliveries
        self.cursors = ClientCursors() if cursors is None else cursors
        self.deliveries.begin_session()
        self._receiver = MessageReceiver(self.deliveries, self.cursors)
        # Larger than the contract's 64 KiB: CONNECT_ACK lists streams, and the server is trusted.
        self._decoder = FrameDecoder(MAX_FRAME_BYTES)
        self._state = State.OPENING
        self._outgoing = Outgoing()
        self._registrations = 0
        self._liveness = Liveness()
        self._adaptive = heartbeat
        self._asked_seconds: int | None = None  # the heartbeat that the server has not answered yet
        self._silence_probed: float | None = None  # by a heartbeat that has no answer yet
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
        return self._outgoing.unanswered

    def data_to_send(self) -> bytes:
        """Everything queued since the last call. In CLOSING: send it, then close."""
        return self._outgoing.take()

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
        if self._outgoing.awaits(Signal.SUB):
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
            heartbeat=self._first_heartbeat(heartbeat_seconds),
            sdk=sdk,
            window=window_messages,
            max_frame=max_frame_bytes,
            cursors=self.cursors.positions(MAX_CURSORS_BYTES),
        )
        message_id = self._request(Signal.CONNECT, bodies.encode_body(body))
        if body.heartbeat is not None:
            self._asked_seconds = self._liveness.heartbeat_seconds = body.heartbeat
        self._state = State.CONNECTING
        return message_id

    def _first_heartbeat(self, wish_seconds: int | None) -> int | None:
        if self._adaptive is None:
            return wish_seconds
        self._adaptive.begin_session()
        return self._adaptive.interval_seconds

    def ping(self, now: float, interval_seconds: int | None = None) -> int:
        """PING; with `interval_seconds` ask for another heartbeat."""
        self._require(State.OPEN)
        self._now = now
        message_id = self._request(
            Signal.PING, bodies.encode_body(bodies.PingBody(interval=interval_seconds))
        )
        if interval_seconds is not None:
            self._asked_seconds = interval_seconds
        self._liveness.pinged(now)
        return message_id

    def check(self, now: float) -> None:
        """The network may have changed: a PING, whose answer must come within 3 s."""
        self._require(State.OPEN)
        if not self._outgoing.awaits(Signal.PING):
            self.ping(now)
        self._liveness.checked(now)

    def change_network(self, now: float) -> None:
        """The `heartbeat` that was handed in is of another network now: ask for its interval."""
        if self._adaptive is None or self._state is not State.OPEN:
            return
        self._silence_probed = None
        if self._adaptive.interval_seconds != self._liveness.heartbeat_seconds:
            self.ping(now, self._adaptive.interval_seconds)

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
        message_id = self._request(Signal.PUBLISH, encoded, sub_signal)
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
        for number in self._receiver.finish(message):
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
            reason = self._doubt(now)
        else:
            reason = f"no answer within {ANSWER_SECONDS:g} s"
        if reason is None:
            return []
        self.lost()
        return [ConnectionDead(reason)]

    def _doubt(self, now: float) -> str | None:
        """Why the open connection is dead, or None, after a PING where one is due."""
        waits = self._outgoing.awaits(Signal.PING)
        silence = self._liveness.silent_seconds(now)
        is_heartbeat = self._liveness.is_heartbeat_due(now)
        reason = self._liveness.doubt(now, ping_unanswered=waits)
        if reason is None and not waits:
            self.ping(now)
            self._silence_probed = silence if is_heartbeat else None
        return reason

    def lost(self) -> None:
        """The connection ended without a word. Does nothing when the session is over already."""
        if self._silence_probed is not None and self._adaptive is not None:
            self._adaptive.missed(self._silence_probed)
        self._close()

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
        elif self._outgoing.awaits_more_than_a_ping:
            self._liveness.still_waiting(now)
        return events

    def _receive(self, frame: Frame, events: list[Event]) -> None:
        match CLIENT[self._state].get(frame.signal):
            case Action.MESSAGE:
                for number in self._receiver.receive(frame, events):
                    self._acknowledge_number(number)
            case Action.ANSWER if self._outgoing.answers(frame, Signal.PUBLISH):
                events.append(read.read_answer(frame))
            case Action.HEARTBEAT:
                self._on_pong(frame, events)
            case Action.RENEWED if self._outgoing.answers(frame, Signal.AUTH):
                events.append(read.read_auth_answer(frame))
            case Action.REGISTERED if self._outgoing.answers(frame, Signal.SUB):
                self._on_registered(frame, events)
            case Action.CONNECTED:
                self._on_connect_ack(frame, events)
            case Action.CLOSE:
                self._on_disconnect(frame, events)

    def _on_pong(self, frame: Frame, events: list[Event]) -> None:
        self._outgoing.answers(frame, Signal.PING)
        body = bodies.decode_body(bodies.PingBody, frame.body, "PING")
        if body.interval is not None and body.interval < 1:
            raise bad_frame(f"PING body: no heartbeat is {body.interval} s long - at `$.interval`")
        if body.interval is not None:
            self._hold_heartbeat(body.interval)
        events.append(Pong(self._liveness.heartbeat_seconds, body.time or 0))
        probed, self._silence_probed = self._silence_probed, None
        if self._adaptive is not None and probed is not None and self._adaptive.answered(probed):
            self.ping(self._now, self._adaptive.interval_seconds)

    def _hold_heartbeat(self, seconds: int) -> None:
        """What the server answered to the last wish."""
        asked, self._asked_seconds = self._asked_seconds, None
        self._liveness.heartbeat_seconds = seconds
        if self._adaptive is not None and asked is not None:
            self._adaptive.granted(asked, seconds)

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
            frame, self._liveness.heartbeat_seconds, self._outgoing.max_frame_bytes
        )
        self._outgoing.forget_requests()
        self._state = State.OPEN
        self._answer_by = None
        self._hold_heartbeat(connected.heartbeat_seconds)
        self._outgoing.max_frame_bytes = connected.max_frame_bytes
        self.cursors.begin_session(connected.streams)
        events.append(connected)

    def _on_disconnect(self, frame: Frame, events: list[Event]) -> None:
        goodbye = read.read_disconnect(frame)
        self._close()
        events.append(goodbye)

    # --- Parts of these ---------------------------------------------------------------------------

    def _is_over(self) -> bool:
        return self._state is State.CLOSING

    def _require(self, state: State) -> None:
        if self._state is not state:
            raise RequestNotPossible(f"not while the connection is {self._state.name}")

    def _request(self, signal: Signal, body: bytes, sub_signal: int = 0) -> int:
        message_id = self._outgoing.request(signal, body, sub_signal)
        self._liveness.sent(self._now)
        return message_id

    def _await_answer(self, now: float) -> None:
        """Before the request is sent: the time of sending begins the heartbeat."""
        self._now = now
        self._answer_by = now + ANSWER_SECONDS

    def _acknowledge_number(self, number: int) -> None:
        if self._state is State.OPEN:
            self._send(Signal.PUB_ACK, b"", number)

    def _send(self, signal: Signal, body: bytes, message_id: int = 0, sub_signal: int = 0) -> None:
        self._outgoing.send(signal, body, message_id, sub_signal)
        self._liveness.sent(self._now)

    def _close(self) -> None:
        self._state = State.CLOSING
        self._silence_probed = None
        self._answer_by = None
