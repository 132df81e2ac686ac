"""A device by hand on a blocking socket, for what the SDK never does."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import time
from typing import Any, NamedTuple

from push.wire.frames import Frame, FrameDecoder, encode_frame
from push.wire.signals import ConnectStatus, Signal
from tests.faults.audit import Received
from tests.waiting import DEADLINE_SECONDS


class Pair(NamedTuple):
    """A registered device."""

    token: str
    secret: str


class Ended(Exception):
    """The connection is over; the text is the server's code, or empty."""


class RawDevice:
    """One connection. `receive_buffer_bytes`: the socket's, set before connecting."""

    def __init__(
        self, port: int, *, receive_buffer_bytes: int | None = None, source: str = "127.0.0.1"
    ) -> None:
        self._socket = socket.socket()
        self._socket.bind((source, 0))
        if receive_buffer_bytes is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        self._socket.settimeout(DEADLINE_SECONDS)
        self._socket.connect(("127.0.0.1", port))
        self._decoder = FrameDecoder(1 << 20)
        self._frames: list[Frame] = []

    def _send(
        self, signal: Signal, body: Any = None, message_id: int = 0, sub_signal: int = 0
    ) -> None:
        content = b"" if body is None else json.dumps(body).encode()
        try:
            self._socket.sendall(encode_frame(signal, sub_signal, message_id, content))
        except OSError as error:
            raise Ended(str(error)) from None

    def _receive(self, seconds: float) -> Frame | None:
        """The next frame, or None when none comes within `seconds`."""
        deadline = time.monotonic() + seconds
        while not self._frames:
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            self._socket.settimeout(left)
            try:
                data = self._socket.recv(65536)
            except TimeoutError:
                return None
            except OSError as error:
                raise Ended(str(error)) from None
            if not data:
                raise Ended("")
            self._frames += self._decoder.feed(data)
        return self._frames.pop(0)

    def register(self, app_key: str) -> Pair:
        body = self.try_to_register(app_key)
        assert "token" in body, body
        return Pair(body["token"], body["secret"])

    def try_to_register(self, app_key: str) -> dict[str, Any]:
        """What is answered."""
        self._send(Signal.SUB, {"key": app_key, "platform": "linux", "app": "faults"}, 1)
        frame = self._receive(DEADLINE_SECONDS)
        assert frame is not None
        body: dict[str, Any] = json.loads(frame.body)
        return body

    def begin_connect(self, pair: Pair) -> None:
        self._send(Signal.CONNECT, pair._asdict(), 2)

    def begin_connect_as(self, jwt: str) -> None:
        """As the user of the JWT, without a device."""
        self._send(Signal.CONNECT, {"jwt": jwt}, 2)

    def end_connect(self) -> None:
        """The session is open. Raises `Ended` when it is refused, or taken over meanwhile."""
        frame = self._receive(DEADLINE_SECONDS)
        if frame is None or frame.signal != Signal.CONNECT_ACK:
            raise Ended("no answer to CONNECT" if frame is None else str(frame.body))
        if frame.sub_signal != ConnectStatus.ACCEPTED:
            raise Ended(str(frame.body))

    def connect(self, pair: Pair) -> None:
        self.begin_connect(pair)
        self.end_connect()

    def connect_status(self) -> tuple[ConnectStatus, dict[str, Any]]:
        """The answer to a CONNECT that was sent."""
        frame = self._receive(DEADLINE_SECONDS)
        assert frame is not None, "no answer to CONNECT"
        assert frame.signal == Signal.CONNECT_ACK, frame
        return ConnectStatus(frame.sub_signal), json.loads(frame.body)

    def begin_request(self, sub_signal: int, body: Any, message_id: int = 7) -> None:
        self._send(Signal.PUBLISH, body, message_id, sub_signal)

    def ask(self, sub_signal: int, body: Any) -> dict[str, Any]:
        """The answer to a request."""
        self.begin_request(sub_signal, body)
        return self.end_request()

    def end_request(self) -> dict[str, Any]:
        """The answer to a request, what comes before it passed over. Raises `Ended` with the code
        of a DISCONNECT."""
        while True:
            frame = self._receive(DEADLINE_SECONDS)
            if frame is None:
                raise Ended("no answer to PUBLISH")
            body: dict[str, Any] = json.loads(frame.body or b"{}")
            if frame.signal == Signal.DISCONNECT:
                raise Ended(body["code"])
            if frame.signal == Signal.PUB_ACK:
                return body

    def message(self, seconds: float = DEADLINE_SECONDS) -> tuple[Received, int] | None:
        """The next message and its number, to be acknowledged; None when none comes.

        Raises `Ended` with the code of a DISCONNECT.
        """
        while True:
            frame = self._receive(seconds)
            if frame is None:
                return None
            body = json.loads(frame.body or b"{}")
            if frame.signal == Signal.DISCONNECT:
                raise Ended(body["code"])
            if frame.signal == Signal.PUSH and "kind" not in body:
                offset = int(body.get("offset", 0))
                received = Received(body["id"], body["stream"], offset, body["data"]["n"])
                return received, frame.message_id

    def ended_with(self) -> str:
        """The code of the server's DISCONNECT, "" while there is none. Messages are passed over."""
        try:
            while self.message(0.01) is not None:
                pass
        except Ended as ended:
            return str(ended)
        return ""

    def acknowledge(self, number: int) -> None:
        if number:
            self._send(Signal.PUB_ACK, None, number)

    def close(self, *, abruptly: bool = False) -> None:
        """Close; `abruptly`: with a reset, as when the network is gone."""
        if abruptly:
            with contextlib.suppress(OSError):
                self._socket.setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                )
        self._socket.close()
