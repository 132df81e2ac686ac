"""A listening port on real sockets: connections that have ended are not accepted."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

import pytest

from push.runtime.bounded_port import MOST_ENDED_AT_ONCE, ListeningSocket, has_ended
from tests.waiting import wait_for


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
