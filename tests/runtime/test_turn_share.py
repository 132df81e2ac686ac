"""Of work of which there is much, each turn of the reactor does a bounded part, in order."""

from __future__ import annotations

from functools import partial

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from push.runtime.turn_share import LEAST_SECONDS, MOST_SECONDS, TURN_SECONDS, TurnShare, TurnTime
from tests.conftest import LoggedErrors

STEPS, SECONDS = 4, 0.01


class Sharing:
    """A share of the turns of a clock, and what was done in each."""

    def __init__(self, step_seconds: float = 0.0) -> None:
        self.clock = Clock()
        self.time = TurnTime(self.clock, SECONDS)
        self.share = TurnShare(self.time, STEPS)
        self.done: list[int] = []
        self._step_seconds = step_seconds

    def work(self, number: int) -> None:
        self.done.append(number)
        self.clock.rightNow += self._step_seconds

    def do(self, number: int) -> None:
        self.share.do(partial(self.work, number))

    def turn(self) -> list[int]:
        """What the next turn does by itself."""
        self.done = []
        for call in self.clock.getDelayedCalls():
            work = call.func
            call.cancel()
            work()
        return self.done

    def turns_until_idle(self) -> list[list[int]]:
        found = []
        while self.clock.getDelayedCalls():
            found.append(self.turn())
        return found


def test_what_there_is_room_for_is_done_at_once() -> None:
    sharing = Sharing()

    for number in range(STEPS):
        sharing.do(number)

    assert sharing.done == list(range(STEPS))
    assert sharing.turns_until_idle() == [[]]


def test_a_turn_does_so_many_steps_and_the_oldest_first() -> None:
    sharing = Sharing()
    for number in range(3 * STEPS):
        sharing.do(number)

    assert sharing.done == [0, 1, 2, 3]
    assert len(sharing.share) == 2 * STEPS
    assert sharing.turns_until_idle() == [[4, 5, 6, 7], [8, 9, 10, 11], []]


def test_what_comes_later_waits_behind_those_that_wait() -> None:
    sharing = Sharing()
    for number in range(STEPS + 2):
        sharing.do(number)

    assert sharing.turn() == [4, 5]
    sharing.do(6)
    sharing.do(7)
    sharing.do(8)

    assert sharing.done == [4, 5, 6, 7]
    assert sharing.turn() == [8]


def test_after_some_time_no_step_begins_and_one_is_always_done() -> None:
    sharing = Sharing(step_seconds=SECONDS / 2)
    for number in range(4):
        sharing.do(number)
    assert sharing.done == [0, 1]
    assert sharing.turn() == [2, 3]

    long = Sharing(step_seconds=10 * SECONDS)
    for number in range(3):
        long.do(number)
    assert long.done == [0]
    assert long.turns_until_idle() == [[1], [2], []]


def test_what_work_asks_for_waits_for_its_turn() -> None:
    sharing = Sharing()

    def again(number: int) -> None:
        sharing.work(number)
        sharing.share.do(partial(again, number + 1))

    sharing.share.do(partial(again, 0))

    assert sharing.done == [0, 1, 2, 3]
    assert sharing.turn() == [4, 5, 6, 7]
    sharing.time.stop()


def test_a_coroutine_goes_on_in_its_step() -> None:
    sharing = Sharing()

    async def steps(number: int) -> None:
        for _ in range(2):
            await sharing.share.step()
            sharing.work(number)

    jobs = [Deferred.fromCoroutine(steps(number)) for number in range(3)]

    assert sharing.done == [0, 0, 1, 1]
    assert sharing.turns_until_idle() == [[2, 2], []]
    assert all(job.called for job in jobs)


def test_an_error_keeps_no_other_from_its_step(logged_errors: LoggedErrors) -> None:
    sharing = Sharing()
    for number in range(STEPS):
        sharing.do(number)
    sharing.share.do(lambda: 1 / 0)
    sharing.do(9)

    assert sharing.turn() == [9]
    assert len(logged_errors.flush(ZeroDivisionError)) == 1


def test_several_shares_have_one_time_and_each_has_a_step() -> None:
    sharing = Sharing(step_seconds=SECONDS / 2)
    other = TurnShare(sharing.time, STEPS)
    for number in range(4):
        sharing.do(number)
        other.do(partial(sharing.work, 10 + number))

    assert sharing.done == [0, 10]
    later = sharing.turns_until_idle()
    assert max(map(len, later)) == 3  # by itself each would have two in a turn
    assert sorted(number for turn in later for number in turn) == [1, 2, 3, 11, 12, 13]


def test_the_shares_begin_a_turn_by_turns() -> None:
    sharing = Sharing(step_seconds=2 * SECONDS)
    other = TurnShare(sharing.time, STEPS)
    for number in range(4):
        sharing.share.later(partial(sharing.work, number))
        other.later(partial(sharing.work, 10 + number))

    first = [turn[0] // 10 for turn in sharing.turns_until_idle() if turn]

    assert set(first) == {0, 1}


def test_what_else_is_done_in_a_turn_is_taken_from_its_time() -> None:
    clock = Clock()
    time = TurnTime(clock)

    def share_of_a_turn(others_seconds: float) -> float:
        """The time that it has, when others take so long in it."""
        assert not time.is_over
        begun = clock.seconds()
        while not time.is_over:
            clock.rightNow += LEAST_SECONDS / 100
        share_seconds = clock.seconds() - begun
        clock.rightNow += others_seconds
        clock.advance(0)
        return share_seconds

    alone = [share_of_a_turn(0.0) for _ in range(5)][-1]
    beside_much = [share_of_a_turn(TURN_SECONDS) for _ in range(20)][-1]
    beside_some = [share_of_a_turn(TURN_SECONDS / 2) for _ in range(20)][-1]
    alone_again = [share_of_a_turn(0.0) for _ in range(20)][-1]

    assert alone == pytest.approx(MOST_SECONDS, rel=0.02)
    assert beside_much == pytest.approx(LEAST_SECONDS, rel=0.02)
    assert beside_some == pytest.approx(TURN_SECONDS / 2, rel=0.02)
    assert alone_again == pytest.approx(MOST_SECONDS, rel=0.02)


def test_a_clock_that_stands_ends_no_turn() -> None:
    sharing = Sharing()
    for _ in range(20):
        for number in range(STEPS):
            sharing.do(number)
        sharing.turn()

    assert not sharing.time.is_over


def test_nothing_is_called_after_the_end() -> None:
    sharing = Sharing()
    for number in range(STEPS + 1):
        sharing.do(number)

    sharing.time.stop()

    assert sharing.clock.getDelayedCalls() == []


@pytest.mark.parametrize("kinds", [2, 3, 4])
@pytest.mark.parametrize("asks_for", [0, 1])
def test_each_kind_of_work_is_first_as_often_as_the_others(kinds: int, asks_for: int) -> None:
    """Whatever the order in which they ask again: one may let another ask."""
    sharing = Sharing()
    order: list[int] = []
    works = []

    def work(number: int) -> None:
        order.append(number)
        if number == 0:
            sharing.time.next_turn(works[asks_for])
        sharing.time.next_turn(works[number])

    works += [partial(work, number) for number in range(kinds)]
    for each in works:
        sharing.time.next_turn(each)
    firsts = []
    for _ in range(6 * kinds):
        order.clear()
        sharing.turn()
        assert sorted(order) == list(range(kinds))
        firsts.append(order[0])

    assert [firsts.count(number) for number in range(kinds)] == [6] * kinds
