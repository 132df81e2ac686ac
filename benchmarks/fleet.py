"""Many devices in one process: connections that count what they receive, and acknowledge it.

Not the SDK: a device here costs a few microseconds a message, so that the receiving side does not
become what is measured.
"""

from __future__ import annotations

import contextlib
import json
import select
import socket
import ssl
import time
from collections.abc import Callable

from push.wire.frames import HEADER_BYTES, FrameDecoder, encode_frame
from push.wire.signals import ConnectStatus, Signal

CONNECTING_AT_ONCE = 64


class Device:
    """One connection and what it counted."""

    __slots__ = ("decoder", "frames", "pair", "socket", "stage")

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.decoder = FrameDecoder(1 << 20)
        self.frames = 0
        self.stage = "new"
        self.pair: dict[str, str] = {}


class Fleet:
    """`count` devices on `address`; `frames` counts all PUSH frames that they received."""

    def __init__(self, address: tuple[str, int], count: int, *, tls: bool = False) -> None:
        self._address = address
        self._epoll = select.epoll()
        self._devices: dict[int, Device] = {}
        self._context = _unverified_context() if tls else None
        self.count = count
        self.frames = 0
        self.bytes = 0

    def connect_raw(self) -> None:
        """Connections that only count bytes."""
        for _ in range(self.count):
            self._add(self._dial())

    def connect(self, key: str, progress: Callable[[int], None] = lambda _: None) -> list[str]:
        """Register and connect all devices, a few at a time; their tokens."""
        sub = json.dumps({"key": key, "platform": "bench", "app": "bench"}).encode()
        waiting: set[Device] = set()
        done = 0
        for number in range(self.count):
            device = self._add(self._dial())
            device.socket.sendall(encode_frame(Signal.SUB, 0, 1, sub))
            waiting.add(device)
            while len(waiting) >= CONNECTING_AT_ONCE or (number == self.count - 1 and waiting):
                for ready in self._ready():
                    self._shake_hands(ready)
                    if ready.stage == "open":
                        waiting.discard(ready)
                        done += 1
                        if done % 1000 == 0:
                            progress(done)
        return [pair["token"] for pair in self.pairs()]

    def _shake_hands(self, device: Device) -> None:
        for frame in device.decoder.feed(_receive(device.socket)):
            if frame.signal == Signal.SUB:
                pair = json.loads(frame.body)
                if "token" not in pair:
                    raise SystemExit(f"a device could not register: {pair}")
                device.pair = pair
                device.socket.sendall(encode_frame(Signal.CONNECT, 0, 2, frame.body))
            elif frame.signal == Signal.CONNECT_ACK:
                if frame.sub_signal != ConnectStatus.ACCEPTED:
                    raise SystemExit(f"a device could not connect: {frame}")
                device.stage = "open"

    def receive_bytes(self, wanted: int, timeout_seconds: float = 60) -> None:
        """Take bytes until `wanted` more came in all."""
        goal, deadline = self.bytes + wanted, time.monotonic() + timeout_seconds
        buffer = bytearray(1 << 18)
        devices = self._devices
        while self.bytes < goal:
            for number, _ in self._epoll.poll(1, 1024):
                with contextlib.suppress(BlockingIOError, ssl.SSLWantReadError):
                    self.bytes += devices[number].socket.recv_into(buffer)
            if time.monotonic() > deadline:
                raise SystemExit(f"only {self.bytes} of {goal} bytes came in {timeout_seconds} s")

    def receive_and_acknowledge(self, wanted: int, timeout_seconds: float = 60) -> None:
        """Take frames until `wanted` more came in all; acknowledge each that asks for it."""
        goal, deadline = self.frames + wanted, time.monotonic() + timeout_seconds
        devices = self._devices
        header = encode_frame(Signal.PUB_ACK)[:8]
        while self.frames < goal:
            for number, _ in self._epoll.poll(1, 1024):
                device = devices[number]
                acks = []
                for frame in device.decoder.feed(_receive(device.socket)):
                    if frame.signal != Signal.PUSH:
                        raise SystemExit(f"a device got {frame}")
                    self.frames += 1
                    device.frames += 1
                    if frame.message_id:
                        acks.append(header + frame.message_id.to_bytes(2, "big"))
                if acks:
                    device.socket.sendall(b"".join(acks))
            if time.monotonic() > deadline:
                raise SystemExit(f"only {self.frames} of {goal} frames came in {timeout_seconds} s")

    def first_frame(self, timeout_seconds: float = 30) -> int:
        """The size in bytes of one PUSH frame, taken from every device."""
        sizes: set[int] = set()
        received = 0
        deadline = time.monotonic() + timeout_seconds
        while received < self.count and time.monotonic() < deadline:
            for device in self._ready():
                for frame in device.decoder.feed(_receive(device.socket)):
                    sizes.add(HEADER_BYTES + len(frame.body))
                    received += 1
                    if frame.message_id:
                        device.socket.sendall(encode_frame(Signal.PUB_ACK, 0, frame.message_id))
        if received < self.count or len(sizes) != 1:
            raise SystemExit(f"{received} devices received frames of the sizes {sizes}")
        return sizes.pop()

    def pairs(self) -> list[dict[str, str]]:
        """Token and secret of each device."""
        return [device.pair for device in self._devices.values()]

    def counts(self) -> list[int]:
        """Frames that each device took by `receive_and_acknowledge`."""
        return [device.frames for device in self._devices.values()]

    def close(self) -> None:
        self._epoll.close()
        for device in self._devices.values():
            device.socket.close()

    def _dial(self) -> socket.socket:
        sock = socket.create_connection(self._address)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._context is not None:
            sock = self._context.wrap_socket(sock)
        return sock

    def _add(self, sock: socket.socket) -> Device:
        device = Device(sock)
        self._devices[sock.fileno()] = device
        self._epoll.register(sock.fileno(), select.EPOLLIN)
        return device

    def _ready(self) -> list[Device]:
        return [self._devices[number] for number, _ in self._epoll.poll(1, 1024)]


def _receive(sock: socket.socket) -> bytes:
    data = sock.recv(1 << 18)
    if not data:
        raise SystemExit("the server closed a connection")
    while isinstance(sock, ssl.SSLSocket) and sock.pending():
        data += sock.recv(sock.pending())
    return data


def _unverified_context() -> ssl.SSLContext:
    """For this benchmark only: it measures memory, not trust."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
