"""Whose turn it is: what is worked off in a turn of the reactor, by counts and a fake clock."""

from __future__ import annotations

import pytest
from twisted.internet.task import Clock

from push.connector.limits.counts import FRAMES_PER_SECOND, WAITING_REQUESTS, LimitCounts
from push.connector.limits.read_queue import (
    ASIDE_SECONDS,
    BYTES_PER_TURN,
    FRAMES_AT_ONCE_PER_TURN,
    OVER_RATE_SECONDS,
    REQUESTS_AT_ONCE_PER_TURN,
    PausedReading,
    ReadQueue,
)
from push.connector.limits.session_rates import LONG_SECONDS, Rates
from tests.conftest import LoggedErrors
from tests.turns import turn

FRAME_BYTES = 10
SLICE_BYTES = 1000


class Peer:
    """A connection whose frames have 10 bytes, all of which count."""

    paused: PausedReading | None = None
    is_read = True
    has_unread_answers = False
    has_many_requests = False
    is_newcomer = False

    def __init__(self, world: World) -> None:
        self.world = world
        self.reads = True
        self.got = b""
        self.takes_seconds = 0.0  # each slice

    def take_slice(self, data: bytes, start: int) -> int:
        end = min(start + SLICE_BYTES, len(data))
        self.got += data[start:end]
        size, now = end - start, self.world.clock.seconds()
        self.world.clock.rightNow += self.takes_seconds
        self.world.queue.charge(self, size // FRAME_BYTES, size, now)
        return end

    def stop_reading(self) -> None:
        self.reads = False

    def read_again(self) -> None:
        self.reads = True

    def abort(self) -> None:
        self.is_read = False


class World:
    def __init__(self, rates: Rates) -> None:
        self.clock = Clock()
        self.counts = LimitCounts()
        self.ended: list[tuple[Peer, str]] = []
        self.queue = ReadQueue(
            self.clock, rates, self.counts, lambda peer, limit: self.ended.append((peer, limit))
        )

    def turn(self) -> None:
        turn(self.clock)

    def settle(self) -> int:
        """Turns until nothing waits."""
        turns = 0
        while self.queue.paused_count:
            self.turn()
            turns += 1
            assert turns < 10_000
        return turns

    def settle_in_time(self) -> None:
        """Turns until nothing waits, while time goes on."""
        while self.queue.paused_count:
            self.turn()
            self.clock.rightNow += 0.01


@pytest.fixture
def world() -> World:
    return World(Rates(0, 0))


def test_what_is_one_slice_is_worked_off_at_once(world: World) -> None:
    peer = Peer(world)
    world.queue.received(peer, b"x" * SLICE_BYTES)
    assert peer.got == b"x" * SLICE_BYTES
    assert peer.reads
    assert world.queue.paused_count == 0


def test_of_a_flood_one_slice_is_worked_off_and_its_transport_paused(world: World) -> None:
    peer = Peer(world)
    data = bytes(range(250)) * 64
    world.queue.received(peer, data)
    assert len(peer.got) == SLICE_BYTES
    assert not peer.reads
    assert world.queue.waiting_bytes == len(data) - SLICE_BYTES
    assert world.settle() <= len(data) // SLICE_BYTES + 1
    assert peer.got == data
    assert peer.reads
    assert world.queue.waiting_bytes == 0


@pytest.mark.parametrize("flooders", [1, 4, 16, 200])
def test_a_turn_has_a_bound_whoever_floods(world: World, flooders: int) -> None:
    """What a quiet device waits for does not grow with the number of those that flood."""
    peers = [Peer(world) for _ in range(flooders)]

    def total() -> int:
        return sum(len(peer.got) for peer in peers)

    for peer in peers:
        world.queue.received(peer, b"x" * 16_000)
    assert total() <= FRAMES_AT_ONCE_PER_TURN * FRAME_BYTES + SLICE_BYTES
    while world.queue.paused_count:
        before = total()
        world.turn()
        assert 0 < total() - before <= BYTES_PER_TURN + SLICE_BYTES
    assert all(peer.got == b"x" * 16_000 and peer.reads for peer in peers)


def test_all_that_flood_get_the_same(world: World) -> None:
    peers = [Peer(world) for _ in range(7)]
    for peer in peers:
        world.queue.received(peer, b"x" * 16_000)
    for _ in range(50):
        world.turn()
    done = [len(peer.got) for peer in peers]
    assert max(done) - min(done) <= 2 * SLICE_BYTES  # the first got one at once


def test_a_quiet_device_is_served_in_the_turn_in_which_it_comes(world: World) -> None:
    for _ in range(16):
        world.queue.received(Peer(world), b"x" * 16_000)
    world.turn()
    quiet = Peer(world)
    assert not world.queue.is_busy
    world.queue.received(quiet, b"q" * 10)
    assert quiet.got == b"q" * 10


def test_what_comes_on_while_something_waits_keeps_its_order(world: World) -> None:
    """TLS hands on a record of which the transport had read a part before it was paused."""
    peer = Peer(world)
    parts = [bytes([n]) * 3_000 for n in range(5)]
    for part in parts:
        world.queue.received(peer, part)
        world.turn()
    world.settle()
    assert peer.got == b"".join(parts)


def test_one_that_is_lost_or_read_no_more_takes_nothing_with_it() -> None:
    world = World(Rates(0, 0))
    lost, silent, other = Peer(world), Peer(world), Peer(world)
    for peer in (lost, silent, other):
        world.queue.received(peer, b"x" * 5_000)
    world.queue.forget(lost)
    silent.is_read = False
    got = len(lost.got)
    world.settle()
    assert len(lost.got) == got
    assert other.got == b"x" * 5_000
    assert world.queue.waiting_bytes == 0
    assert silent.paused is None


def test_over_its_rate_a_connection_is_read_at_the_rate() -> None:
    world = World(Rates(200, 0))
    peer = Peer(world)
    for _ in range(40):
        if peer.paused is None:
            world.queue.received(peer, b"x" * 10_000)
        for _ in range(40):
            world.turn()
        world.clock.advance(ASIDE_SECONDS)
    frames = len(peer.got) // FRAME_BYTES
    assert 2800 <= frames <= 3200  # 1,000 at once, and 200 in each of ten seconds
    assert world.counts.acted[FRAMES_PER_SECOND] > 0


def test_after_ten_seconds_over_its_rate_it_ends() -> None:
    world = World(Rates(200, 0))
    peer, quiet = Peer(world), Peer(world)
    for tick in range(100):
        if world.ended:
            break
        if peer.paused is None:
            world.queue.received(peer, b"x" * 16_000)
        if tick % 4 == 0:
            world.queue.received(quiet, b"q" * 1_000)  # half its rate
        for _ in range(20):
            world.turn()
        world.clock.advance(ASIDE_SECONDS)
    assert world.ended == [(peer, FRAMES_PER_SECOND)]
    assert OVER_RATE_SECONDS <= world.clock.seconds() <= OVER_RATE_SECONDS + 2
    assert world.counts.ended[FRAMES_PER_SECOND] == 1
    assert peer.paused is None


def test_a_burst_that_ends_is_forgiven() -> None:
    world = World(Rates(200, 0))
    peer = Peer(world)
    for _ in range(3):
        world.queue.received(peer, b"x" * 15_000)
        for _ in range(80):
            world.turn()
            world.clock.advance(ASIDE_SECONDS)
        assert peer.reads
    assert world.ended == []
    assert peer.got == b"x" * 45_000


def test_one_with_many_requests_waits_until_some_are_done(world: World) -> None:
    peer = Peer(world)
    peer.has_many_requests = True
    world.queue.check(peer)
    assert not peer.reads
    for _ in range(10):
        world.clock.advance(ASIDE_SECONDS)
    assert not peer.reads
    peer.has_many_requests = False
    world.queue.check(peer)
    world.turn()
    assert peer.reads
    assert world.counts.acted[WAITING_REQUESTS] == 1


def test_a_slice_that_brings_too_much_holds_the_rest_back(world: World) -> None:
    class Asking(Peer):
        def take_slice(self, data: bytes, start: int) -> int:
            end = super().take_slice(data, start)
            self.has_many_requests = True
            self.world.queue.check(self)
            return end

    peer = Asking(world)
    world.queue.received(peer, b"x" * 3_000)
    for _ in range(5):
        world.turn()
    assert len(peer.got) == SLICE_BYTES
    for _ in range(3):
        peer.has_many_requests = False
        world.queue.check(peer)
        world.turn()
    assert peer.got == b"x" * 3_000


@pytest.mark.parametrize("is_newcomer", [False, True])
def test_an_error_ends_the_connection_whose_turn_it_was_and_no_other(
    world: World, logged_errors: LoggedErrors, is_newcomer: bool
) -> None:
    class Failing(Peer):
        def take_slice(self, data: bytes, start: int) -> int:
            raise RuntimeError("of a test")

    first, failing, last = Peer(world), Failing(world), Peer(world)
    for peer in (first, failing, last):
        peer.is_newcomer = is_newcomer
    world.queue.is_busy = True  # all wait for their turn
    for peer in (first, failing, last):
        world.queue.received(peer, b"x" * 10)
    world.settle_in_time()
    assert (first.got, last.got) == (b"x" * 10, b"x" * 10)
    assert [peer.is_read for peer in (first, failing, last)] == [True, False, True]
    assert failing.paused is None
    assert world.queue.waiting_bytes == 0
    assert len(logged_errors.flush(RuntimeError)) == 1


@pytest.mark.parametrize("fails", ["is looked at", "is over its rate", "is read again"])
def test_an_error_ends_the_connection_that_waited_aside_and_no_other(
    logged_errors: LoggedErrors, fails: str
) -> None:
    class Failing(Peer):
        is_failing = False

        @property
        def has_unread_answers(self) -> bool:  # type: ignore[override]
            if self.is_failing and fails == "is looked at":
                raise RuntimeError("of a test")
            return False

        def read_again(self) -> None:
            if self.is_failing and fails == "is read again":
                raise RuntimeError("of a test")
            super().read_again()

    world = World(Rates(200, 0))
    first, failing, last = peers = [Peer(world), Failing(world), Peer(world)]

    def end(peer: Peer, limit: str) -> None:
        if peer is failing:
            raise RuntimeError("of a test")
        world.ended.append((peer, limit))

    world.queue._over_rate = end
    for tick in range(60):
        for peer in peers:
            if peer.paused is None and peer.is_read and (fails == "is over its rate" or not tick):
                world.queue.received(peer, b"x" * 16_000)
        failing.is_failing = True
        for _ in range(20):
            world.turn()
        world.clock.advance(ASIDE_SECONDS)
    if fails == "is over its rate":
        assert [peer for peer, _ in world.ended] == [first, last]
    else:
        assert first.got == last.got == b"x" * 16_000
    assert not failing.is_read
    assert failing.paused is None
    assert len(logged_errors.flush(RuntimeError)) == 1
    world.queue.stop()


def test_an_error_in_one_that_was_put_off_leaves_the_others_read(
    world: World, logged_errors: LoggedErrors
) -> None:
    class Failing(Peer):
        def read_again(self) -> None:
            raise RuntimeError("of a test")

    first, failing, last = Peer(world), Failing(world), Peer(world)
    for peer in (first, failing, last):
        world.queue.put_off(peer)
    world.clock.advance(ASIDE_SECONDS)
    assert (first.reads, last.reads) == (True, True)
    assert not failing.is_read
    assert len(logged_errors.flush(RuntimeError)) == 1


def test_a_flood_that_is_of_no_use_is_read_at_a_rate(world: World) -> None:
    peer = Peer(world)
    reads = 0
    for _ in range(400):
        if peer.reads:
            reads += 1
            world.queue.put_off(peer)
        world.clock.advance(0.01)
    assert reads <= 4 / ASIDE_SECONDS + 1
    world.queue.stop()
    assert world.clock.getDelayedCalls() == []


def test_of_many_requests_that_come_at_once_few_begin_in_a_turn(world: World) -> None:
    """Of those that are refused at once as well: no other turn of the reactor passes between."""
    peer, begun = Peer(world), 0
    while (wait := world.queue.turn_of(peer)) is None:
        begun += 1
        assert begun <= REQUESTS_AT_ONCE_PER_TURN
    assert begun == REQUESTS_AT_ONCE_PER_TURN
    waiting = [wait, *(world.queue.turn_of(peer) for _ in range(20))]
    turns = 0
    while not all(each is not None and each.called for each in waiting):
        world.turn()
        turns += 1
    assert 2 < turns < 20
    assert world.queue.turn_of(peer) is None
    world.queue.stop()


def test_one_that_takes_long_to_read_is_read_while_others_have_most_of_the_time(
    world: World,
) -> None:
    slow, quick = Peer(world), Peer(world)
    slow.takes_seconds = 2 * LONG_SECONDS
    world.queue.received(slow, b"x" * 10)
    assert not slow.reads
    world.turn()
    for _ in range(20):
        world.queue.received(slow, b"x" * 10)
        world.queue.received(quick, b"x" * 10)
        assert len(quick.got) == 10  # at once
        quick.got = b""
        world.turn()
    assert len(slow.got) == 20  # the first, and one, after which the line rests
    world.settle_in_time()
    assert len(slow.got) == 210
    slow.takes_seconds = 0.0
    world.clock.rightNow += 10
    got = len(slow.got)
    world.queue.received(slow, b"x" * 10)
    assert len(slow.got) == got + 10
    world.queue.stop()
