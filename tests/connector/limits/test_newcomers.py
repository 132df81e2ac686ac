"""Clients without a session, and those that send much, have a bounded part of the time."""

from __future__ import annotations

import pytest

from push.connector.limits.line import (
    LEAST_BYTES_PER_SLICE,
    LONG_RESTS,
    MOST_NEWCOMERS,
    MOST_REST_SECONDS,
    NEWCOMERS_BYTES_PER_TURN,
    SECONDS_PER_TURN,
)
from push.connector.limits.read_queue import PausedReading
from push.connector.limits.session_rates import Rates
from tests.connector.limits.test_read_queue import Peer, World

COST_SECONDS = 0.0004


class Newcomer(Peer):
    """What it wants takes a while, whatever its size."""

    is_newcomer = True
    paused: PausedReading | None = None

    def take_slice(self, data: bytes, start: int) -> int:
        self.world.clock.rightNow += COST_SECONDS
        self.got += data[start:]
        return len(data)


@pytest.fixture
def world() -> World:
    return World(Rates(200, 1 << 20))


def arrive(world: World, count: int) -> list[Newcomer]:
    newcomers = [Newcomer(world) for _ in range(count)]
    for newcomer in newcomers:
        world.queue.received(newcomer, b"hello")
    return newcomers


def served(newcomers: list[Newcomer]) -> int:
    return sum(bool(newcomer.got) for newcomer in newcomers)


def test_a_newcomer_is_never_served_in_the_turn_of_its_socket(world: World) -> None:
    (newcomer,) = arrive(world, 1)
    assert newcomer.got == b""
    world.turn()
    assert newcomer.got == b"hello"
    assert newcomer.reads


def test_those_without_a_session_have_a_bounded_time_in_a_turn(world: World) -> None:
    newcomers = arrive(world, 40)
    for _ in range(20):
        before, begun = served(newcomers), world.clock.seconds()
        world.turn()
        assert served(newcomers) > before
        assert world.clock.seconds() - begun <= SECONDS_PER_TURN + COST_SECONDS
        world.clock.rightNow += MOST_REST_SECONDS
        if served(newcomers) == 40:
            break
    assert served(newcomers) == 40


def test_where_they_cost_nothing_their_number_is_bounded(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.connector.limits.test_newcomers.COST_SECONDS", 0.0)
    newcomers = arrive(world, 60)
    world.turn()
    assert served(newcomers) == NEWCOMERS_BYTES_PER_TURN // LEAST_BYTES_PER_SLICE


def share_of_time(world: World) -> float:
    """Of newcomers that always come again."""
    begun, work = world.clock.seconds(), 0
    newcomers = arrive(world, 10)
    while world.clock.seconds() - begun < 1.0:
        world.turn()
        work += served(newcomers)
        newcomers = [each for each in newcomers if not each.got]
        newcomers += arrive(world, 10 - len(newcomers))
        world.clock.rightNow += 0.0001  # the others of this turn
    return work * COST_SECONDS / (world.clock.seconds() - begun)


def test_while_most_come_to_nothing_most_of_the_time_is_left_to_sessions(world: World) -> None:
    for _ in range(100):
        world.queue.newcomers.note_outcome(session=True)
    assert share_of_time(world) > 0.4
    for _ in range(100):
        world.queue.newcomers.note_outcome(session=False)
    assert share_of_time(world) < 1 / LONG_RESTS
    for _ in range(100):
        world.queue.newcomers.note_outcome(session=True)
    assert share_of_time(world) > 0.4


def test_sessions_that_do_not_last_are_worth_no_more_than_refusals(world: World) -> None:
    for _ in range(100):
        world.queue.newcomers.note_outcome(session=True)
        world.queue.newcomers.note_outcome(session=False, weight=4)
    assert share_of_time(world) < 1 / LONG_RESTS


def test_while_they_rest_and_while_many_wait_nothing_is_accepted(world: World) -> None:
    queue = world.queue
    assert queue.newcomers.accepts_wait_seconds == 0.0
    arrive(world, MOST_NEWCOMERS)
    assert queue.newcomers.accepts_wait_seconds > 0.0
    world.settle_in_time()
    assert queue.newcomers.accepts_wait_seconds == 0.0
    for _ in range(100):
        queue.newcomers.note_outcome(session=False)
    arrive(world, 5)
    world.turn()
    assert queue.newcomers.accepts_wait_seconds > 0.0
    world.settle_in_time()
    world.clock.rightNow += MOST_REST_SECONDS
    assert queue.newcomers.accepts_wait_seconds == 0.0


def test_one_that_is_gone_before_its_turn_costs_nothing(world: World) -> None:
    newcomers = arrive(world, 3)
    world.queue.forget(newcomers[1])
    world.settle_in_time()
    assert [bool(each.got) for each in newcomers] == [True, False, True]
    assert world.queue.waiting_bytes == 0


def test_one_that_has_sent_much_is_read_a_little_at_a_time(world: World) -> None:
    """Also where no read is more than a slice: as a client does that sends byte by byte."""
    busy, calm = Peer(world), Peer(world)
    for _ in range(101):
        if busy.reads:
            world.queue.received(busy, b"x" * 10)
        assert calm.reads
    assert not busy.reads
    world.turn()
    assert busy.reads  # its turn
    got = len(busy.got)
    world.queue.received(busy, b"x" * 10)
    assert len(busy.got) == got
    assert world.queue.paused_count == 1
    world.queue.received(calm, b"x" * 10)
    assert calm.got == b"x" * 10


def test_requests_of_one_that_has_sent_much_begin_a_few_at_a_time(world: World) -> None:
    peer = Peer(world)
    assert world.queue.turn_of(peer) is None
    world.queue.charge(peer, 200, 2_000)
    turns = [world.queue.turn_of(peer) for _ in range(10)]
    began: list[int] = []
    for number, turn in enumerate(turns):
        assert turn is not None
        turn.addCallback(lambda _, number=number: began.append(number))
    world.turn()
    assert 0 < len(began) <= 3
    world.queue.stop()  # nobody waits for ever
    assert began == list(range(10))
    assert world.queue.turn_of(peer) is None


def test_those_that_have_gone_cost_the_others_no_time(world: World) -> None:
    """A flood of them, of which each would count for its turn and for a rest."""
    newcomers = arrive(world, 500)
    for newcomer in newcomers[:-1]:
        world.queue.forget(newcomer)
    world.queue.newcomers.note_outcome(session=False, weight=50)
    world.turn()
    assert served(newcomers) == 1
    assert newcomers[-1].got == b"hello"
