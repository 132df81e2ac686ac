"""A user that asks for much waits itself: each owner has a turn after the other."""

from __future__ import annotations

import sys

from twisted.internet.defer import Deferred

from push.runtime.owner_queue import FairSemaphore


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
