"""A well-behaved device over TCP, one message at a time."""

from __future__ import annotations

import json
import socket
from typing import NamedTuple

from push.wire.frames import FrameDecoder, encode_frame
from push.wire.signals import Signal


class Message(NamedTuple):
    """What a client needs of a frame."""

    signal: str
    message_id: int
    body: dict[str, object]


class Client:
    """A device over TCP."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._decoder = FrameDecoder(1 << 20)
        self._waiting: list[Message] = []
        self.pair: dict[str, str] = {}

    def encoded(self, signal: str, message_id: int, body: bytes = b"") -> bytes:
        return encode_frame(Signal[signal], 0, message_id, body)

    def read(self) -> list[Message]:
        return [
            Message(Signal(frame.signal).name, frame.message_id, json.loads(frame.body or b"{}"))
            for frame in self._decoder.feed(self.socket.recv(1 << 16))
        ]

    def next(self, signal: str) -> Message:
        """The next message of this kind."""
        while True:
            for place, message in enumerate(self._waiting):
                if message.signal == signal:
                    return self._waiting.pop(place)
            self._waiting += self.read()

    def open(self, key: str) -> None:
        sub = json.dumps({"key": key, "platform": "bench", "app": "bench"}).encode()
        self.socket.sendall(self.encoded("SUB", 1, sub))
        self.pair = {name: str(text) for name, text in self.next("SUB").body.items()}
        self.socket.sendall(self.encoded("CONNECT", 2, json.dumps(self.pair).encode()))
        assert "session" in self.next("CONNECT_ACK").body
