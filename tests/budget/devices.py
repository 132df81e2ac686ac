"""Devices and backends of the budget test: they do what they are told, when they are told.

None of them waits: the daemon they talk to may be one whose clock stands still.
"""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
from collections.abc import Sequence

from benchmarks.fleet import Fleet
from benchmarks.running import Running
from push.wire.frames import Frame, FrameDecoder, encode_frame
from push.wire.signals import ConnectStatus, Signal
from tests.waiting import DEADLINE_SECONDS

DATA = {"text": "x" * 189}  # 200 bytes of JSON
EVERYONE: dict[str, object] = {"all": True}


def push(to: dict[str, object], qos: int) -> dict[str, object]:
    return {"to": to, "data": DATA, "qos": qos}


def read_available(sock: socket.socket) -> bytes:
    """What is there now."""
    got = b""
    sock.settimeout(0)
    with contextlib.suppress(BlockingIOError, ssl.SSLWantReadError):
        while data := sock.recv(1 << 18):
            got += data
    sock.settimeout(DEADLINE_SECONDS)
    return got


class Device:
    """A session, or a connection that becomes one."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._decoder = FrameDecoder(1 << 20)
        self._came: list[Frame] = []
        self._unacknowledged: list[int] = []

    def has(self, count: int) -> bool:
        self._came += self._decoder.feed(read_available(self._socket))
        return len(self._came) >= count

    def has_shaken_hands(self) -> bool:
        """Of TLS; it goes on with what came."""
        assert isinstance(self._socket, ssl.SSLSocket)
        self._socket.settimeout(0)
        try:
            self._socket.do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return False
        return True

    def say_connect(self, pair: dict[str, str]) -> None:
        self._socket.sendall(encode_frame(Signal.CONNECT, 0, 1, json.dumps(pair).encode()))

    def check_accepted(self) -> None:
        (frame,) = self._taken(1)
        assert frame.signal == Signal.CONNECT_ACK, frame
        assert frame.sub_signal == ConnectStatus.ACCEPTED, frame

    def take(self, count: int) -> None:
        """So many messages; what asks for an acknowledgement waits for `acknowledge`."""
        for frame in self._taken(count):
            assert frame.signal == Signal.PUSH, frame
            if frame.message_id:
                self._unacknowledged.append(frame.message_id)

    def acknowledge(self) -> None:
        """All in one write."""
        acks = b"".join(encode_frame(Signal.PUB_ACK, 0, number) for number in self._unacknowledged)
        self._socket.sendall(acks)
        self._unacknowledged.clear()

    def ping(self) -> None:
        self._socket.sendall(encode_frame(Signal.PING, 0, 7))

    def take_pong(self) -> None:
        (frame,) = self._taken(1)
        assert frame.signal == Signal.PING, frame

    def close(self) -> None:
        self._socket.close()

    def _taken(self, count: int) -> list[Frame]:
        came, self._came = self._came, []
        assert len(came) == count, came
        return came


class Devices:
    """Registered devices in session, over TCP or TLS."""

    def __init__(self, running: Running, count: int, *, tls: bool = False) -> None:
        self._fleet = Fleet(running.tls_address if tls else running.tcp_address, count, tls=tls)
        self._fleet.connect(running.app_key)
        self.pairs = self._fleet.pairs()
        self.all = [Device(device.socket) for device in self._fleet._devices.values()]

    @property
    def tokens(self) -> Sequence[str]:
        return [pair["token"] for pair in self.pairs]

    def have(self, count: int) -> bool:
        return all(device.has(count) for device in self.all)

    def take(self, count: int) -> None:
        for device in self.all:
            device.take(count)

    def acknowledge(self) -> None:
        for device in self.all:
            device.acknowledge()

    def close(self) -> None:
        self._fleet.close()


class Backend:
    """One kept connection to the HTTP API."""

    def __init__(self, running: Running) -> None:
        self._socket = socket.create_connection(running.http, DEADLINE_SECONDS)
        host, port = running.http
        self._head = (
            f"Host: {host}:{port}\r\nAuthorization: Bearer {running.admin_key}\r\n"
            "Content-Type: application/json\r\n"
        )
        self._came = b""

    def send(self, path: str, body: object) -> None:
        text = json.dumps(body, separators=(",", ":"))
        head = f"POST {path} HTTP/1.1\r\n{self._head}Content-Length: {len(text)}\r\n\r\n"
        self._socket.sendall((head + text).encode())

    def is_answered(self) -> bool:
        """These routes say how long their answers are."""
        self._came += read_available(self._socket)
        head, end, body = self._came.partition(b"\r\n\r\n")
        _, _, length = head.lower().partition(b"\r\ncontent-length:")
        return bool(end) and len(body) == int(length.split(b"\r\n")[0])

    def check_accepted(self) -> None:
        """The request, and every item of a batch."""
        head, _, body = self._came.partition(b"\r\n\r\n")
        self._came = b""
        assert head.startswith(b"HTTP/1.1 20"), (head, body)
        answer = json.loads(body)
        assert all(item["status"] == 202 for item in answer.get("results", ())), answer

    def close(self) -> None:
        self._socket.close()


def dial(running: Running, *, tls: bool = False) -> Device:
    """A new connection; over TLS its handshake comes then."""
    if not tls:
        return Device(socket.create_connection(running.tcp_address, DEADLINE_SECONDS))
    sock = socket.create_connection(running.tls_address, DEADLINE_SECONDS)
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return Device(context.wrap_socket(sock, do_handshake_on_connect=False))
