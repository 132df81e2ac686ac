"""Reading the connections of a port: of many in one loop, and of none that has ended."""

from __future__ import annotations

import os
import select
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from push.connector.transport import device_port
from push.connector.transport.device_port import READ_BYTES, SHORT_BYTES, DevicePort
from tests.conftest import LoggedErrors
from tests.waiting import WaitUntil


class End(Protocol):
    """One end of a connection."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.lost: Failure | None = None

    @property
    def received(self) -> bytes:
        return b"".join(self.pieces)

    def dataReceived(self, data: bytes) -> None:
        self.pieces.append(data)
        if data == b"fail":
            raise RuntimeError("this protocol cannot read that")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost = reason


class Port(Factory):
    """A port of devices; `made`: its ends of the connections, in the order of accepting."""

    noisy = False

    def __init__(self) -> None:
        from twisted.internet import reactor

        self.made: list[End] = []
        factory: Any = self
        self.port: Any = DevicePort(0, factory, 50, "127.0.0.1", reactor)
        self.port.startListening()

    def buildProtocol(self, addr: Any) -> End:
        self.made.append(End())
        return self.made[-1]

    def accepts_now(self) -> int:
        return 8

    def accepts_wait_seconds(self) -> float:
        return 0.0


def is_readable(transport: Any) -> bool:
    poll = select.poll()
    poll.register(transport.fileno(), select.POLLIN)
    return bool(poll.poll(0))


class Pairs:
    """Connections with both ends."""

    def __init__(self, wait_until: WaitUntil) -> None:
        self.here = Port()
        self.there: list[Any] = []
        self._wait_until = wait_until

    async def open(self, count: int) -> list[tuple[Any, Any]]:
        from twisted.internet import reactor

        number = self.here.port.getHost().port
        before = len(self.here.made)
        for place in range(before, before + count):
            self.there.append(
                await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", number), End())
            )
            await self._wait_until(lambda place=place: len(self.here.made) > place)
        return list(zip(self.here.made[before:], self.there[before:], strict=True))

    @property
    def is_known(self) -> bool:
        """Whether the reactor reads for the port's connections."""
        from twisted.internet import reactor

        readers: list[Any] = reactor.getReaders()  # type: ignore[attr-defined]
        return self.here.port.reader in readers


@pytest_twisted.async_yield_fixture
async def pairs(wait_until: WaitUntil) -> AsyncIterator[Pairs]:
    found = Pairs(wait_until)
    yield found
    for end in (*found.there, *found.here.made):
        if end.lost is None:
            end.transport.abortConnection()
    await wait_until(lambda: all(end.lost is not None for end in found.here.made))
    await found.here.port.stopListening()
    assert not found.is_known


@pytest_twisted.ensureDeferred
async def test_what_comes_is_read_of_all_a_part_in_each_turn(
    pairs: Pairs, wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_port, "READS_PER_TURN", 3)
    monkeypatch.setattr(device_port, "READS_AT_ONCE", 1)
    opened = await pairs.open(10)
    for number, (_, there) in enumerate(opened):
        there.transport.write(b"%d" % number)
    await wait_until(lambda: all(here.pieces for here, _ in opened))
    assert [here.received for here, _ in opened] == [b"%d" % number for number in range(10)]


class SlowTransport:
    """Each read of it takes `seconds`, by the reactor's clock; `done` has those that were read."""

    def __init__(self, clock: Clock, seconds: float, done: list[SlowTransport]) -> None:
        self._clock = clock
        self._seconds = seconds
        self._done = done
        self._here, self._there = socket.socketpair()
        self._there.send(b"x")

    def fileno(self) -> int:
        return self._here.fileno()

    def read(self) -> None:
        self._here.recv(10)
        self._clock.advance(self._seconds)
        self._done.append(self)

    def close(self) -> None:
        self._here.close()
        self._there.close()


@pytest.mark.parametrize("reads_in_a_turn", [1, 3])
def test_reads_that_take_long_end_the_turn(reads_in_a_turn: int) -> None:
    clock: Any = Clock()  # as much of a reactor as is needed
    clock.addReader = clock.removeReader = lambda _reader: None
    reader = device_port.DeviceReader(clock)
    done: list[SlowTransport] = []
    seconds = device_port.SECONDS_PER_TURN / reads_in_a_turn / device_port.READS_AT_ONCE
    number = 3 * reads_in_a_turn * device_port.READS_AT_ONCE
    transports = [SlowTransport(clock, seconds * 1.01, done) for _ in range(number)]
    for transport in transports:
        reader.add(transport)  # type: ignore[arg-type]  # it never ends
    for turn in range(1, 4):
        reader.doRead()
        assert len(done) == turn * reads_in_a_turn * device_port.READS_AT_ONCE
    assert set(done) == set(transports)
    for transport in transports:
        reader.remove(transport)  # type: ignore[arg-type]  # as above
        transport.close()


def test_one_read_may_end_the_turn_and_those_after_it_are_not_forgotten() -> None:
    clock: Any = Clock()  # as much of a reactor as is needed
    clock.addReader = clock.removeReader = lambda _reader: None
    reader = device_port.DeviceReader(clock)
    done: list[SlowTransport] = []
    number = 2 * device_port.READS_AT_ONCE
    slow = device_port.SECONDS_PER_TURN * 1.01
    transports = [SlowTransport(clock, slow, done) for _ in range(number)]
    for transport in transports:
        reader.add(transport)  # type: ignore[arg-type]  # it never ends
    for turn in range(1, number + 1):
        reader.doRead()
        assert len(done) == turn
    assert set(done) == set(transports)
    for transport in transports:
        reader.remove(transport)  # type: ignore[arg-type]  # as above
        transport.close()


@pytest_twisted.ensureDeferred
async def test_long_data_comes_whole_and_in_pieces_that_are_bounded(
    pairs: Pairs, wait_until: WaitUntil
) -> None:
    [(here, there)] = await pairs.open(1)
    sent = b"".join(b"%07d," % number for number in range(20_000))
    there.transport.write(sent)
    await wait_until(lambda: len(here.received) == len(sent))
    assert here.received == sent
    assert max(map(len, here.pieces)) <= READ_BYTES


@pytest.mark.parametrize("size", [1, SHORT_BYTES, READ_BYTES - 1, READ_BYTES, 3 * READ_BYTES])
@pytest_twisted.ensureDeferred
async def test_the_end_is_seen_that_has_come_together_with_data(
    size: int, pairs: Pairs, wait_until: WaitUntil
) -> None:
    """The `epoll` reports both at once, and only once."""
    [(here, there)] = await pairs.open(1)
    here.transport.pauseProducing()
    peer = socket.socket(fileno=os.dup(there.transport.fileno()))
    with peer:
        peer.send(b"x" * size)
        peer.shutdown(socket.SHUT_WR)
    here.transport.resumeProducing()
    await wait_until(lambda: here.lost is not None)
    assert here.received == b"x" * size


@pytest_twisted.ensureDeferred
async def test_what_came_while_nothing_was_read_is_read_afterwards(
    pairs: Pairs, wait_until: WaitUntil
) -> None:
    [(here, there)] = await pairs.open(1)
    for number in range(3):
        here.transport.pauseProducing()
        there.transport.write(b"%d" % number)
        await wait_until(lambda: is_readable(here.transport))
        here.transport.resumeProducing()
        await wait_until(lambda number=number: len(here.received) > number)
    assert here.received == b"012"


@pytest_twisted.ensureDeferred
async def test_the_reactor_knows_it_while_there_are_connections(
    pairs: Pairs, wait_until: WaitUntil
) -> None:
    assert not pairs.is_known
    [(here, there)] = await pairs.open(1)
    assert pairs.is_known
    there.transport.loseConnection()
    await wait_until(lambda: here.lost is not None)
    assert here.lost.check(type(connectionDone.value))
    assert not pairs.is_known


@pytest_twisted.ensureDeferred
async def test_an_error_ends_the_connection_that_made_it_and_no_other(
    pairs: Pairs, wait_until: WaitUntil, logged_errors: LoggedErrors
) -> None:
    (bad, there), (good, elsewhere) = await pairs.open(2)
    there.transport.write(b"fail")
    elsewhere.transport.write(b"fine")
    await wait_until(lambda: bad.lost is not None and bool(good.pieces))
    assert bad.lost.check(RuntimeError)
    assert good.lost is None
    [logged] = logged_errors.flush(RuntimeError)
    assert logged["event"] == "connection.read_failed"


@pytest_twisted.ensureDeferred
async def test_one_that_was_ended_in_this_turn_is_not_read(
    pairs: Pairs, wait_until: WaitUntil
) -> None:
    opened = await pairs.open(4)

    def end_all(data: bytes) -> None:
        calls.append(data)
        for here, _ in opened:
            here.transport.abortConnection()

    calls: list[bytes] = []
    for here, _ in opened:
        here.dataReceived = end_all
    for _, there in opened:
        there.transport.write(b"x")
    await wait_until(lambda: all(here.lost is not None for here, _ in opened))
    assert calls == [b"x"]


@pytest_twisted.ensureDeferred
async def test_what_is_paused_is_not_read_until_it_resumes(
    pairs: Pairs, wait_until: WaitUntil
) -> None:
    (paused, there), (other, elsewhere) = await pairs.open(2)
    paused.transport.pauseProducing()
    there.transport.write(b"later")
    elsewhere.transport.write(b"now")
    await wait_until(lambda: bool(other.pieces))
    assert not paused.pieces
    paused.transport.resumeProducing()
    await wait_until(lambda: paused.received == b"later")


@pytest_twisted.ensureDeferred
async def test_what_was_aborted_is_not_read_again(pairs: Pairs, wait_until: WaitUntil) -> None:
    [(here, there)] = await pairs.open(1)
    here.transport.abortConnection()
    here.transport.resumeProducing()
    assert not pairs.is_known
    await wait_until(lambda: here.lost is not None and there.lost is not None)
