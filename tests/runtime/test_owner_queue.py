"""A user that asks for much waits itself: each owner has a turn after the other."""

from __future__ import annotations

import sys

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from push.runtime.owner_queue import FairSemaphore, PacedTurns


class OwnedWorks:
    """`begun`: the names of those that have, or had, a turn, in order."""

    def __init__(self, at_a_time: int) -> None:
        self.turns = FairSemaphore(at_a_time)
        self.begun: list[str] = []
        self.ends: dict[str, Deferred[None]] = {}
        self.done: dict[str, Deferred[None]] = {}

    def begin(self, owner: str, *names: str) -> None:
        for name in names:
            self.ends[name] = Deferred()
            self.done[name] = Deferred.fromCoroutine(self._work(owner, name))

    async def _work(self, owner: str, name: str) -> None:
        async with self.turns.turn(owner):
            self.begun.append(name)
            await self.ends[name]

    def end(self, *names: str) -> None:
        for name in names:
            self.ends[name].callback(None)


def test_each_owner_has_a_turn_after_the_other() -> None:
    works = OwnedWorks(2)
    works.begin("greedy", "g0", "g1", "g2", "g3", "g4")
    works.begin("anna", "a0", "a1")
    works.begin("bob", "b0")
    assert works.begun == ["g0", "g1"]
    for name in ("g0", "g1", "g2", "a0", "b0", "g3"):
        works.end(name)
    assert works.begun == ["g0", "g1", "g2", "a0", "b0", "g3", "a1", "g4"]


def test_one_that_comes_while_others_wait_does_not_go_before_them() -> None:
    works = OwnedWorks(1)
    works.begin("greedy", "g0", "g1")
    works.end("g0")
    works.begin("anna", "a0")
    works.begin("greedy", "g2")
    works.end("g1", "a0")
    assert works.begun == ["g0", "g1", "a0", "g2"]


def test_a_turn_is_given_on_after_an_error_and_not_to_one_that_was_cancelled() -> None:
    works = OwnedWorks(1)
    works.begin("anna", "a0", "a1")
    works.begin("bob", "b0")
    for name in ("a0", "a1"):
        works.done[name].addErrback(lambda _failure: None)
    works.done["a1"].cancel()
    works.ends["a0"].errback(ValueError("it failed"))
    assert works.begun == ["a0", "b0"]
    works.end("b0")
    works.begin("carol", "c0")
    assert works.begun == ["a0", "b0", "c0"]


def test_any_number_that_ends_at_once_is_no_deeper_than_one() -> None:
    works = OwnedWorks(1)
    works.begin("anna", "first")
    names = [str(number) for number in range(20 * sys.getrecursionlimit())]
    works.begin("anna", *names)
    works.end(*names)  # before they begin
    works.end("first")
    assert works.begun == ["first", *names]
    assert all(done.called for done in works.done.values())


class PacedWorks:
    """`begun`: the names of those that have had a turn, in order."""

    def __init__(self, per_second: float, burst: int) -> None:
        self.clock = Clock()
        self.turns = PacedTurns(self.clock, per_second, burst)
        self.begun: list[str] = []
        self.done: dict[str, Deferred[None]] = {}

    def begin(self, owner: str, *names: str) -> None:
        for name in names:
            self.done[name] = Deferred.fromCoroutine(self._work(owner, name))

    async def _work(self, owner: str, name: str) -> None:
        await self.turns.turn(owner)
        self.begun.append(name)


def test_turns_come_at_a_rate_after_a_burst_and_each_owner_has_one_after_the_other() -> None:
    works = PacedWorks(10, 2)
    works.begin("greedy", "g0", "g1", "g2", "g3", "g4")
    works.begin("anna", "a0")
    assert works.begun == ["g0", "g1"]
    for seconds, name in ((0.11, "g2"), (0.1, "a0"), (0.1, "g3")):
        works.clock.advance(seconds)
        assert works.begun[-1] == name
    for seconds in (0.1, 60):
        works.clock.advance(seconds)
    works.begin("bob", "b0", "b1", "b2")
    assert works.begun == ["g0", "g1", "g2", "a0", "g3", "g4", "b0", "b1"]
    works.clock.advance(0.2)
    assert works.begun[-1] == "b2"
    assert not works.clock.getDelayedCalls()


def test_who_waits_no_more_costs_the_others_no_turn() -> None:
    works = PacedWorks(1, 1)
    works.begin("anna", "a0", "a1", "a2", "a3")
    works.begin("bob", "b0")
    works.done["a1"].addErrback(lambda _cancelled: None)
    works.done["a1"].cancel()
    works.turns.end_waiting("anna")
    assert works.begun == ["a0", "a2", "a3"]  # and are told so
    works.clock.advance(1.01)
    assert works.begun[-1] == "b0"
    works.begin("bob", "b1")
    works.turns.stop()
    works.begin("anna", "a4")
    assert works.begun[-2:] == ["b1", "a4"]
    assert not works.clock.getDelayedCalls()
