"""TLS of devices: handshakes take turns, records are joined, and nothing stays of what is over."""

from __future__ import annotations

import contextlib
import gc
import socket
from collections.abc import Iterator
from typing import Any

import pytest
import pytest_twisted
from OpenSSL import SSL
from twisted.internet.task import deferLater

from push.connector.transport.connection import DeviceConnection
from push.connector.transport.tls import DeviceTls
from push.wire.frames import encode_frame
from push.wire.signals import Signal
from tests.waiting import WaitUntil

Make = Any


@pytest.fixture
def no_collector() -> Iterator[None]:
    """What has a circle of references stays."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def node(node: Any, certificate: tuple[Any, Any]) -> Any:
    node.listen(tls=certificate[0], web=False)
    return node


def left_over() -> list[str]:
    """Connections that the interpreter still has."""
    kinds = (DeviceTls, DeviceConnection)
    return [type(each).__name__ for each in gc.get_objects() if isinstance(each, kinds)]


async def settle() -> None:
    """Let the reactor forget what it did."""
    from twisted.internet import reactor

    for _ in range(3):
        await deferLater(reactor, 0)


def dial_plainly(node: Any, first: bytes) -> socket.socket:
    made = socket.socket()
    made.setblocking(False)
    made.connect_ex(("127.0.0.1", node.ports[-1].getHost().port))
    made.setblocking(True)
    if first:
        made.sendall(first)
    return made


@pytest.mark.parametrize("first", [b"", b"\x16\x03\x01", b"GET / HTTP/1.1\r\n\r\n"])
@pytest_twisted.ensureDeferred
async def test_nothing_is_left_of_a_handshake_that_failed(
    node: Any, wait_until: WaitUntil, no_collector: None, first: bytes
) -> None:
    before = left_over()
    made = dial_plainly(node, first)
    await wait_until(lambda: node.gateway.counters.accepted == 1)
    made.close()
    await wait_until(lambda: not node.gateway.connections)
    await settle()
    assert left_over() == before
    refused = node.gateway.counters.reasons.refused
    assert refused == ({("TLS", "handshake"): 1} if b"HTTP" in first else {})


@pytest.mark.parametrize("how", ["cut", "goodbye", "kicked"])
@pytest_twisted.ensureDeferred
async def test_nothing_is_left_of_a_session(
    node: Any,
    dial: Make,
    certificate: tuple[Any, Any],
    wait_until: WaitUntil,
    no_collector: None,
    how: str,
) -> None:
    before = left_over()
    client = await dial(node, tls=certificate[1], web=False)
    await client.register()
    await client.connect()
    (session,) = node.gateway.sessions.values()
    if how == "cut":
        client.transport.abortConnection()
    elif how == "goodbye":
        client.send(Signal.DISCONNECT, {"code": "bye", "reason": ""})
    else:
        node.gateway.kick(session, "for a test")
    del session
    await wait_until(lambda: not node.gateway.connections)
    await settle()
    await wait_until(lambda: left_over() == before)


@pytest_twisted.ensureDeferred
async def test_handshakes_wait_in_the_line_of_newcomers(
    node: Any, dial: Make, certificate: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """None is made in the turn of its socket."""
    reads = node.gateway.reads
    in_line: list[bool] = []
    original = DeviceTls.take_slice

    def noted(self: DeviceTls, data: bytes, start: int) -> int:
        in_line.append(self.paused is not None)
        return original(self, data, start)

    monkeypatch.setattr(DeviceTls, "take_slice", noted)
    clients = [await dial(node, tls=certificate[1], web=False) for _ in range(4)]
    for client in clients:
        await client.register()
    assert len(in_line) >= 4
    assert all(in_line)
    assert reads.waiting_bytes == 0
    assert reads.paused_count == 0


def records(connection: SSL.Connection, pieces: list[bytes]) -> bytes:
    """Each piece in a record of its own."""
    sealed = b""
    for piece in pieces:
        connection.send(piece)
        sealed += connection.bio_read(1 << 15)
    return sealed


class RawTls:
    """A client that seals its records itself, on the test's reactor."""

    def __init__(self, node: Any) -> None:
        context = SSL.Context(SSL.TLS_METHOD)
        self.connection = SSL.Connection(context, None)
        self.connection.set_connect_state()
        self._socket = dial_plainly(node, b"")
        self._socket.setblocking(False)

    def _receive(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self.connection.bio_write(self._socket.recv(1 << 16))

    def write(self, data: bytes) -> None:
        self._socket.sendall(data)

    async def open(self) -> None:
        from twisted.internet import reactor

        while True:
            try:
                self.connection.do_handshake()
                break
            except SSL.WantReadError:
                with contextlib.suppress(SSL.WantReadError):
                    self.write(self.connection.bio_read(1 << 16))
                await deferLater(reactor, 0.005)
                self._receive()
        self.write(self.connection.bio_read(1 << 16))

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def raw_tls(node: Any) -> Iterator[Any]:
    made: list[RawTls] = []

    async def make() -> RawTls:
        made.append(RawTls(node))
        await made[-1].open()
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest_twisted.ensureDeferred
async def test_records_of_a_byte_that_came_together_are_one_piece(
    node: Any, raw_tls: Make, wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces: list[int] = []
    original = DeviceConnection.dataReceived

    def noted(self: DeviceConnection, data: bytes) -> None:
        pieces.append(len(data))
        original(self, data)

    monkeypatch.setattr(DeviceConnection, "dataReceived", noted)
    client = await raw_tls()
    client.write(records(client.connection, [b"\xf8"] * 100))
    await wait_until(lambda: sum(pieces) == 100)
    assert len(pieces) <= 2


@pytest_twisted.ensureDeferred
async def test_what_says_nothing_to_the_session_counts_as_frames(
    node: Any, raw_tls: Make, wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parts of a record, here; a client that renews its keys again and again is the same."""
    charged: list[int] = []
    reads = node.gateway.reads
    original = reads.charge

    def noted(connection: Any, frames: int, *rest: Any) -> None:
        charged.append(frames)
        original(connection, frames, *rest)

    client = await raw_tls()
    await settle()
    (connection,) = node.gateway.connections
    await wait_until(lambda: connection._secured)
    monkeypatch.setattr(reads, "charge", noted)
    sealed = records(client.connection, [b"\xf8" * 20])
    for size in range(1, 11):
        client.write(sealed[size - 1 : size])
        await wait_until(lambda: len(charged) == size)  # noqa: B023, waited for at once
    assert charged == [1] * 10


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("size", [1, 4, 5, 10])
async def test_records_of_less_than_a_frame_count_as_frames(
    node: Any, raw_tls: Make, wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """As one each, beside what is in them."""
    charged: list[int] = []
    handled: list[bytes] = []
    original = DeviceConnection.dataReceived

    def noted(self: DeviceConnection, data: bytes) -> None:
        handled.append(data)
        original(self, data)

    client = await raw_tls()
    await settle()
    (connection,) = node.gateway.connections
    await wait_until(lambda: connection._secured)
    monkeypatch.setattr(DeviceConnection, "dataReceived", noted)
    monkeypatch.setattr(
        node.gateway.reads, "charge", lambda _, frames, *rest: charged.append(frames)
    )
    unfinished = encode_frame(Signal.PING, 0, 0, b"x")[:10]  # no frame ends: nothing else counts
    pieces = [unfinished[place : place + size] for place in range(0, 10, size)]
    client.write(records(client.connection, pieces))
    await wait_until(lambda: len(b"".join(handled)) == 10)
    await settle()
    of_records = len(pieces) - 10 // 5 if size < 5 else 0
    assert sum(charged) == of_records + 1  # a part of a frame counts as one
