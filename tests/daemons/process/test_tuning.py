"""What a daemon changes in its process."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable, Iterator

import pytest
from twisted.internet import epollreactor
from twisted.internet.error import ConnectionDone
from twisted.internet.main import CONNECTION_DONE
from twisted.logger import LogEvent
from twisted.python.failure import Failure

from push.daemons.process.tuning import read_without_log_context

pytestmark = pytest.mark.skipif(not hasattr(select, "epoll"), reason="Linux alone has epoll")


class Reader:
    """Reads one side of a pair of sockets. One that `is_faulty` fails when it is told its end."""

    def __init__(self, end: socket.socket, *, is_faulty: bool = False) -> None:
        self._end = end
        self._is_faulty = is_faulty
        self.read: list[bytes] = []
        self.ended: list[Failure] = []

    def fileno(self) -> int:
        return self._end.fileno()

    def logPrefix(self) -> str:
        raise AssertionError("it is asked for no name")

    def doRead(self) -> Exception | None:
        data = self._end.recv(100)
        self.read.append(data)
        return None if data else CONNECTION_DONE

    def connectionLost(self, reason: Failure) -> None:
        self.ended.append(reason)
        if self._is_faulty:
            raise ValueError("on purpose")


@pytest.fixture
def reactor(monkeypatch: pytest.MonkeyPatch) -> Iterator[epollreactor.EPollReactor]:
    monkeypatch.setattr(epollreactor, "log", epollreactor.log)  # so that it comes back
    read_without_log_context()
    made = epollreactor.EPollReactor()
    yield made
    made.removeAll()
    made._poller.close()


def test_who_has_something_to_read_is_called_and_not_asked_for_its_name(
    reactor: epollreactor.EPollReactor,
) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        reader = Reader(ours)
        reactor.addReader(reader)
        theirs.send(b"hello")
        reactor.doPoll(10)
        theirs.close()
        reactor.doPoll(10)

    assert reader.read == [b"hello", b""]
    assert [reason.type for reason in reader.ended] == [ConnectionDone]
    assert reader not in reactor.getReaders()


def test_one_that_fails_when_it_ends_is_logged_and_no_others_are_held_up(
    reactor: epollreactor.EPollReactor, flush_logged_errors: Callable[..., list[LogEvent]]
) -> None:
    pairs = [socket.socketpair() for _ in range(2)]
    readers = [Reader(ours, is_faulty=place == 0) for place, (ours, _) in enumerate(pairs)]
    for reader, (_, theirs) in zip(readers, pairs, strict=True):
        reactor.addReader(reader)
        theirs.close()
    while not all(reader.ended for reader in readers):
        reactor.doPoll(10)
    for ours, _ in pairs:
        ours.close()

    assert [len(reader.ended) for reader in readers] == [1, 1]
    (event,) = flush_logged_errors(ValueError)
    assert event["event"] == "reactor.call_failed"
