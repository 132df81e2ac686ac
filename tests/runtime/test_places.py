"""So many are done at a time, the rest in order; one that is held for long holds up nobody."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from push.runtime.places import HOLD_SECONDS, RESTED_SECONDS, Places

AT_A_TIME = 3


class Works:
    """`begun`: the numbers of those that have, or had, a place, in order."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.places = Places(self.clock, AT_A_TIME)
        self.begun: list[int] = []
        self.ends: list[Deferred[None]] = []
        self.done: list[Deferred[None]] = []

    def begin(self, owner: str = "", *, ends_at_once: bool = False) -> None:
        number = len(self.ends)
        self.ends.append(Deferred())
        if ends_at_once:
            self.ends[-1].callback(None)
        self.done.append(Deferred.fromCoroutine(self._work(owner, number)))

    async def _work(self, owner: str, number: int) -> None:
        async with self.places.place(owner):
            self.begun.append(number)
            await self.ends[number]


@pytest.fixture
def works() -> Iterator[Works]:
    made = Works()
    yield made
    made.places.stop()
    assert not made.clock.getDelayedCalls()


def test_the_next_in_order_begins_when_one_ends(works: Works) -> None:
    for _ in range(AT_A_TIME + 2):
        works.begin()
    assert works.begun == [0, 1, 2]
    works.ends[1].callback(None)
    assert works.begun == [0, 1, 2, 3]
    works.ends[3].callback(None)
    assert works.begun == [0, 1, 2, 3, 4]


def test_who_had_no_place_lately_comes_first(works: Works) -> None:
    for owner in ("anna", "bob", "carol"):
        works.begin(owner)  # 0, 1, 2
    for owner in ("anna", "bob", "dora", "anna"):
        works.begin(owner)  # 3, 4, 5, 6
    works.ends[0].callback(None)
    assert works.begun[3:] == [5]
    works.clock.advance(RESTED_SECONDS)
    works.begin("bob")  # 7
    for number in (1, 2, 5, 7):
        works.ends[number].callback(None)
    assert works.begun[4:] == [7, 3, 4, 6]


def test_one_owner_does_not_make_others_wait_for_all_that_it_wants(works: Works) -> None:
    for _ in range(AT_A_TIME + 3):
        works.begin("greedy")
    works.begin("anna")
    works.begin("bob")
    for number in range(5):
        works.ends[number].callback(None)
    assert works.begun == [0, 1, 2, 6, 7, 3, 4, 5]


def test_a_place_is_free_again_after_an_error(works: Works) -> None:
    for _ in range(AT_A_TIME + 1):
        works.begin()
    works.ends[0].errback(ValueError("it failed"))
    works.done[0].addErrback(lambda failure: failure.trap(ValueError))
    assert works.begun == [0, 1, 2, 3]


def test_one_that_is_cancelled_while_it_waits_gets_no_place(works: Works) -> None:
    for _ in range(AT_A_TIME + 2):
        works.begin()
    works.done[AT_A_TIME].cancel()
    works.done[AT_A_TIME].addErrback(lambda _cancelled: None)
    works.ends[0].callback(None)
    assert works.begun == [0, 1, 2, 4]


def test_what_is_held_for_long_holds_up_nobody(works: Works) -> None:
    for _ in range(2 * AT_A_TIME + 1):
        works.begin()
    works.clock.advance(HOLD_SECONDS * 0.9)
    assert works.begun == [0, 1, 2]
    works.clock.advance(HOLD_SECONDS * 0.1)
    assert works.begun == [0, 1, 2, 3, 4, 5]
    works.ends[0].callback(None)  # its place was given back already
    assert len(works.begun) == 2 * AT_A_TIME
    works.clock.advance(HOLD_SECONDS)
    assert len(works.begun) == 2 * AT_A_TIME + 1


def test_thousands_that_end_at_once_are_not_deep(works: Works) -> None:
    for _ in range(AT_A_TIME):
        works.begin()
    for _ in range(5000):
        works.begin(ends_at_once=True)
    works.ends[0].callback(None)
    assert len(works.begun) == 5000 + AT_A_TIME
    assert works.begun == sorted(works.begun)
