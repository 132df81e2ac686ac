"""A user that asks for much waits itself: each owner has a turn after the other."""

from __future__ import annotations

import sys

from twisted.internet.defer import Deferred

from push.runtime.owner_queue import FairSemaphore, OwnerShares


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


class SharesTaken:
    """`begun`: the names of those that have begun, in order."""

    def __init__(self, most: int) -> None:
        self.shares = OwnerShares(most)
        self.begun: list[str] = []
        self.turns: dict[str, Deferred[None]] = {}

    def take(self, owner: str, name: str, weight: int) -> None:
        turn = self.shares.take(owner, weight)
        if turn is None:
            self.begun.append(name)
        else:
            self.turns[name] = turn.addCallback(lambda _: self.begun.append(name))


def test_an_owner_has_so_much_under_way_and_the_rest_in_its_order() -> None:
    shared = SharesTaken(10)
    for number, weight in enumerate((6, 4, 5, 1, 4)):
        shared.take("greedy", f"g{number}", weight)
    shared.take("anna", "a0", 9)
    assert shared.begun == ["g0", "g1", "a0"]
    shared.shares.give_back("greedy", 4)
    assert shared.begun == ["g0", "g1", "a0"]  # the third is too much, and the next is after it
    shared.shares.give_back("greedy", 6)
    assert shared.begun == ["g0", "g1", "a0", "g2", "g3", "g4"]


def test_one_that_is_more_than_a_share_is_under_way_by_itself() -> None:
    shared = SharesTaken(10)
    shared.take("anna", "large", 50)
    shared.take("anna", "small", 1)
    assert shared.begun == ["large"]
    shared.shares.give_back("anna", 50)
    shared.take("anna", "next", 50)
    assert shared.begun == ["large", "small"]
    shared.shares.give_back("anna", 1)
    assert shared.begun == ["large", "small", "next"]


def test_one_that_is_cancelled_while_it_waits_takes_no_share() -> None:
    shared = SharesTaken(10)
    for name in ("first", "cancelled", "last"):
        shared.take("anna", name, 10)
    shared.turns["cancelled"].addErrback(lambda _cancelled: None).cancel()
    shared.shares.give_back("anna", 10)
    assert shared.begun == ["first", "last"]
    shared.shares.give_back("anna", 10)
    shared.take("anna", "again", 10)
    assert shared.begun == ["first", "last", "again"]
