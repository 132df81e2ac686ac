"""A listening port on real sockets: connections that have ended are not accepted."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.abstract import FileDescriptor
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure

from push.runtime.bounded_port import (
    MOST_ENDED_AT_ONCE,
    BoundedPort,
    ListeningSocket,
    has_ended,
)
from tests.waiting import WaitUntil, wait_for


def reset(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=100) as found:
        yield found


def dial(listening: socket.socket) -> socket.socket:
    return socket.create_connection(listening.getsockname())


def test_what_has_ended(listening: socket.socket) -> None:
    client = dial(listening)
    accepted, _ = listening.accept()
    assert not has_ended(accepted)
    client.sendall(b"x")
    client.shutdown(socket.SHUT_WR)
    assert not has_ended(accepted), "it has asked, and may wait for an answer"
    assert accepted.recv(10) == b"x"
    assert accepted.recv(10) == b""
    reset(client)
    wait_for(lambda: has_ended(accepted))
    accepted.close()


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\n\r\n"])
def test_a_reset_connection_has_ended_whatever_it_has_sent(
    listening: socket.socket, sent: bytes
) -> None:
    client = dial(listening)
    accepted, _ = listening.accept()
    client.sendall(sent)
    reset(client)
    wait_for(lambda: has_ended(accepted))
    accepted.close()


def test_one_that_was_closed_without_a_byte_has_ended(listening: socket.socket) -> None:
    dial(listening).close()
    accepted, _ = listening.accept()
    wait_for(lambda: has_ended(accepted))
    accepted.close()


def test_those_that_have_ended_are_passed_over(
    listening: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system may be told of an end late: here the test says which have ended."""
    bounded = ListeningSocket(fileno=listening.detach())
    bounded.setblocking(False)
    with bounded, pytest.raises(BlockingIOError):
        bounded.accept()
    gone = set()
    with socket.create_server(("127.0.0.1", 0), backlog=100) as again:
        bounded = ListeningSocket(fileno=again.detach())
    bounded.setblocking(False)
    monkeypatch.setattr(
        "push.runtime.bounded_port.has_ended", lambda each: each.getpeername()[1] in gone
    )
    clients = [dial(bounded) for _ in range(MOST_ENDED_AT_ONCE + 2)]
    gone.update(each.getsockname()[1] for each in clients[:-1])
    with bounded:
        with pytest.raises(BlockingIOError):
            bounded.accept()  # so many at once, and no more
        accepted, address = bounded.accept()
        assert address == clients[-1].getsockname()
        assert accepted.getpeername() == address
        accepted.close()
    for client in clients:
        client.close()


class Kept(Factory):
    """Keeps what was connected, and says which have ended."""

    def __init__(self) -> None:
        self.connected: list[Any] = []
        self.ended: list[Any] = []

    def buildProtocol(self, _address: Any) -> Protocol:
        factory = self

        class Connection(Protocol):
            def connectionMade(self) -> None:
                factory.connected.append(self)

            def connectionLost(self, _reason: Any = None) -> None:
                factory.ended.append(self)

        return Connection()


class Once(FileDescriptor):
    """Does something as one event of the reactor: it can be read from the beginning."""

    def __init__(self, reactor: Any, act: Callable[[], None]) -> None:
        super().__init__(reactor)
        self._act = act
        self._ours, self._theirs = socket.socketpair()
        self._theirs.send(b"x")
        self.startReading()

    def fileno(self) -> int:
        return self._ours.fileno()

    def doRead(self) -> None:
        self.stopReading()
        self._act()

    def close(self) -> None:
        self._ours.close()
        self._theirs.close()


def use_descriptors_below(number: int) -> list[int]:
    """The next descriptor that is made is `number`, which is free. To be closed: those it made."""
    made = []
    while (descriptor := os.dup(0)) < number:
        made.append(descriptor)
    assert descriptor == number
    os.close(descriptor)
    return made


@pytest_twisted.ensureDeferred
async def test_the_end_of_a_connection_ends_no_other_that_got_its_descriptor(
    wait_until: WaitUntil,
) -> None:
    """The system tells in one go: do it, somebody connects, the old connection is reset."""
    from twisted.internet import reactor

    kept, descriptors = Kept(), list[int]()
    port = BoundedPort(0, kept, interface="127.0.0.1", reactor=reactor)
    port.startListening()
    address = ("127.0.0.1", port.getHost().port)
    old_client = socket.create_connection(address)
    await wait_until(lambda: kept.connected)
    old = kept.connected[0].transport
    number = old.fileno()

    def end_the_old_one() -> None:
        old.connectionLost(Failure(ConnectionDone()))
        descriptors.extend(use_descriptors_below(number))

    new_client = socket.socket()
    # No event is worked off before the next wait, and they come in this order. The old connection
    # is not read: then its reset comes as an end, and not as something to read.
    old.stopReading()
    trigger = Once(reactor, end_the_old_one)
    new_client.connect(address)
    old.startWriting()
    reset(old_client)
    await wait_until(lambda: len(kept.connected) == 2)
    new = kept.connected[1].transport
    assert new.fileno() == number
    new_client.sendall(b"x")
    new.write(b"y")
    assert await wait_until(lambda: readable(new_client)) == b"y"
    assert kept.ended == kept.connected[:1]
    for descriptor in descriptors:
        os.close(descriptor)
    trigger.close()
    new_client.close()
    await wait_until(lambda: len(kept.ended) == 2)
    await port.stopListening()


def readable(client: socket.socket) -> bytes | None:
    try:
        return client.recv(10, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return None
