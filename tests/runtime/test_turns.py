"""Whose work is next: as much for one as for another, and of strangers only a share."""

from __future__ import annotations

import random

import pytest
from twisted.internet.task import Clock

from push.runtime.turns import (
    KNOWN_SECONDS,
    MAX_DEBT_SECONDS,
    MOST_AHEAD_SECONDS,
    SHARED_FOR_SECONDS,
    SHARED_SECONDS,
    STRANGERS_SHARE,
    Turns,
    WorkOwner,
)
from tests.conftest import LoggedErrors


class Working:
    """Work that takes time on a clock, and what was done in each turn of the reactor."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.turns = Turns(self.clock)
        self.done: list[str] = []

    def owner(self, name: str, *, is_known: bool = True) -> WorkOwner:
        return self.turns.work_owner(name, is_known=is_known)

    def ask(
        self, owner: WorkOwner, name: str, seconds: float = 0.001, *, at_once: bool = True
    ) -> bool:
        def work() -> None:
            self.done.append(name)
            self.clock.rightNow += seconds

        return self.turns.work(owner, work, at_once=at_once)

    def turn(self) -> list[str]:
        """What one turn of the reactor does, when its time has come."""
        self.done = []
        due = [call for call in self.clock.getDelayedCalls() if call.getTime() <= self.now]
        for call in due:
            work = call.func
            call.cancel()
            work()
        return self.done

    def turns_until_idle(self) -> list[list[str]]:
        found = []
        while calls := self.clock.getDelayedCalls():
            self.clock.rightNow = max(self.now, min(call.getTime() for call in calls))
            found.append(self.turn())
        return [each for each in found if each]

    @property
    def now(self) -> float:
        return self.clock.seconds()


@pytest.fixture
def working() -> Working:
    return Working()


def test_work_is_done_at_once_while_there_is_time(working: Working) -> None:
    backend, stranger = working.owner("key"), working.owner("192.0.2.7", is_known=False)
    assert working.ask(backend, "a")
    assert working.ask(stranger, "b")
    assert working.done == ["a", "b"]
    assert working.turns.waiting == 0


def test_a_turn_does_so_much_for_those_that_are_known(working: Working) -> None:
    backend = working.owner("key")
    for number in range(10):
        working.ask(backend, f"{number}", KNOWN_SECONDS / 2)

    first = working.done
    assert [first, *working.turns_until_idle()] == [
        [f"{number}", f"{number + 1}"] for number in range(0, 10, 2)
    ]


def test_owners_share_a_turn(working: Working) -> None:
    """However much one asks for, and whatever was asked for first."""
    greedy, modest = working.owner("greedy"), working.owner("modest")
    for number in range(20):
        working.ask(greedy, f"greedy{number}", SHARED_SECONDS / 4)
    working.ask(modest, "modest0", SHARED_SECONDS / 4)
    working.ask(modest, "modest1", SHARED_SECONDS / 4)
    working.turns_until_idle()
    for number in range(20):
        working.ask(greedy, f"greedy{number}", SHARED_SECONDS / 4)
    working.ask(modest, "modest0", SHARED_SECONDS / 4, at_once=False)
    working.ask(modest, "modest1", SHARED_SECONDS / 4, at_once=False)

    following = working.turn()

    assert following.count("modest0") == following.count("modest1") == 1
    assert len(following) == 4


def test_a_heavy_lane_gets_more(working: Working) -> None:
    heavy, light = working.owner("heavy"), working.owner("light")
    heavy.weight = 3
    for number in range(100):
        working.ask(heavy, f"heavy{number}", SHARED_SECONDS / 8, at_once=False)
        working.ask(light, f"light{number}", SHARED_SECONDS / 8, at_once=False)

    working.turn()
    done = [name[:5] for _ in range(8) for name in working.turn()]

    assert 64 <= len(done) <= 66
    assert 46 <= done.count("heavy") <= 50


def test_one_that_comes_later_does_not_make_up_for_what_it_did_not_use(working: Working) -> None:
    early, late = working.owner("early"), working.owner("late")
    for number in range(1000):
        working.ask(early, f"early{number}", SHARED_SECONDS / 4)
    for _ in range(10):
        working.turn()
    for number in range(100):
        working.ask(late, f"late{number}", SHARED_SECONDS / 4, at_once=False)

    working.turn()
    done = [*working.turn(), *working.turn()]

    early_count = sum(name.startswith("early") for name in done)
    assert early_count == len(done) - early_count == 4, done


def test_strangers_get_a_share_of_the_time(working: Working) -> None:
    owners = [working.owner(f"192.0.2.{number}", is_known=False) for number in range(50)]
    for owner in owners:
        for number in range(4):
            working.ask(owner, f"{owner.name} {number}", 0.001)
    begun = working.now

    done = working.turns_until_idle()

    assert working.turns.waiting == 0
    used = sum(map(len, done)) * 0.001
    assert working.now - begun >= used / STRANGERS_SHARE - 0.01
    assert max(map(len, done)) <= 2, "between two of them others are served"


def test_those_that_are_known_do_not_wait_for_strangers(working: Working) -> None:
    stranger, backend = working.owner("192.0.2.7", is_known=False), working.owner("key")
    for number in range(100):
        working.ask(stranger, f"stranger{number}", 0.01)

    assert working.ask(backend, "known")
    assert working.turns.waiting == 99


def test_a_long_work_of_a_stranger_is_paid_for_and_forgotten(working: Working) -> None:
    stranger = working.owner("192.0.2.7", is_known=False)
    working.ask(stranger, "long", 100.0)
    working.ask(stranger, "next")
    assert "next" not in working.done
    working.clock.rightNow += MAX_DEBT_SECONDS
    assert working.turn() == ["next"]


def test_what_comes_of_a_work_is_measured_alone(working: Working) -> None:
    """A connection is read as a stranger's, and its request is that of a key."""
    stranger, backend = working.owner("192.0.2.7", is_known=False), working.owner("key")

    def read() -> None:
        working.clock.rightNow += 0.001
        working.ask(backend, "request", 0.002)
        working.clock.rightNow += 0.001

    working.turns.work(stranger, read)

    assert stranger.spent == pytest.approx(0.002)
    assert backend.spent == pytest.approx(0.002)


def test_what_is_not_to_be_done_at_once_waits_for_the_next_turn(working: Working) -> None:
    """As pipelined requests do: a connection has one in a turn."""
    backend, other = working.owner("key"), working.owner("other")
    assert not working.ask(backend, "second", at_once=False)
    assert working.done == []
    working.ask(other, "third")
    assert working.turn() == ["second", "third"]


def test_work_that_fails_ends_no_other(working: Working, logged_errors: LoggedErrors) -> None:
    backend = working.owner("key")

    def fail() -> None:
        raise RuntimeError("of a test")

    with pytest.raises(RuntimeError):  # the reactor ends the connection that was read
        working.turns.work(backend, fail)
    working.turns.work(backend, fail, at_once=False)
    working.ask(backend, "other")
    assert working.turns_until_idle() == [["other"]]
    assert len(logged_errors.flush(RuntimeError)) == 1


def test_owners_of_addresses_that_have_gone_are_forgotten(working: Working) -> None:
    kept = working.owner("192.0.2.7", is_known=False)
    working.ask(kept, "waits", at_once=False)
    numbers = random.Random(7)
    for _ in range(5000):
        working.owner(f"{numbers.getrandbits(64):x}", is_known=False)

    assert len(working.turns._owners) <= 1024
    assert working.owner("192.0.2.7", is_known=False) is kept


def test_work_that_cannot_wait_is_done_and_paid_for(working: Working) -> None:
    stranger = working.owner("192.0.2.7", is_known=False)
    working.clock.rightNow = 100.0
    assert working.ask(stranger, "a", 0.02)
    ended: list[float] = []

    def end() -> None:
        working.clock.rightNow += 0.1
        ended.append(working.now)

    working.turns.charge(stranger, end)
    assert len(ended) == 1, "although its time is used up"
    assert not working.ask(stranger, "b")
    working.turns_until_idle()
    assert working.now - ended[0] >= 0.1, "as long again is for others"


def test_what_is_charged_within_other_work_is_counted_once(working: Working) -> None:
    outer, inner = working.owner("outer"), working.owner("inner")

    def end() -> None:
        working.clock.rightNow += 0.0005

    def work() -> None:
        working.clock.rightNow += 0.001
        working.turns.charge(inner, end)
        working.clock.rightNow += 0.002

    assert working.turns.work(outer, work)
    assert (outer.spent, inner.spent) == pytest.approx((0.003, 0.0005))


def test_one_that_is_alone_has_longer_turns(working: Working) -> None:
    greedy, modest = working.owner("greedy"), working.owner("modest")
    assert working.ask(greedy, "a", KNOWN_SECONDS / 4)
    assert working.ask(greedy, "b", KNOWN_SECONDS / 4)
    working.turns_until_idle()

    working.ask(modest, "c", KNOWN_SECONDS / 4)
    working.turns_until_idle()

    assert working.ask(greedy, "d", KNOWN_SECONDS / 4)
    assert not working.ask(greedy, "e", KNOWN_SECONDS / 4)
    working.turns_until_idle()
    working.clock.rightNow += SHARED_FOR_SECONDS
    working.ask(greedy, "f", KNOWN_SECONDS / 4)
    working.turns_until_idle()
    assert working.ask(greedy, "g", KNOWN_SECONDS / 4)
    assert working.ask(greedy, "h", KNOWN_SECONDS / 4)


def test_who_asks_for_little_does_not_wait_for_who_asks_for_much(working: Working) -> None:
    greedy, modest = working.owner("greedy"), working.owner("modest")
    for number in range(100):
        working.ask(greedy, f"greedy{number}", KNOWN_SECONDS / 4)
    working.turn()

    piece = MOST_AHEAD_SECONDS / 10
    at_once = [working.ask(modest, f"modest{number}", piece) for number in range(100)]

    assert at_once[:10] == [True] * 10
    assert at_once.count(True) <= 10 + KNOWN_SECONDS / piece, "it has not saved up more"
    assert at_once == sorted(at_once, reverse=True)
