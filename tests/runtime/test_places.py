"""As many are done at a time as do not make each other wait, the rest in order; one that is held
for long holds up nobody."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from push.runtime.places import (
    GIVE_SECONDS,
    HOLD_SECONDS,
    LEAST_PLACES,
    MOST_HOLD_SECONDS,
    MOST_PLACES,
    MOST_REST_SECONDS,
    OTHERS_TURN,
    QUICK_SECONDS,
    REMEMBERED_SECONDS,
    RESTED_SECONDS,
    Places,
)
from tests.turns import turn

AT_A_TIME = 3


class Works:
    """`begun`: the numbers of those that have, or had, a place, in order."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.places = Places(self.clock, AT_A_TIME)
        self.begun: list[int] = []
        self.kind: str | None = "some"
        self.asks_others = False
        self.rests = 0.0
        self.takes_seconds = 0.0  # of the process, each
        self.ends: list[Deferred[None]] = []
        self.done: list[Deferred[None]] = []

    def begin(self, owner: str = "", *, ends_at_once: bool = False) -> None:
        number = len(self.ends)
        self.ends.append(Deferred())
        if ends_at_once:
            self.ends[-1].callback(None)
        self.done.append(Deferred.fromCoroutine(self._work(owner, number)))

    async def _work(self, owner: str, number: int) -> None:
        async with self.places.place(owner) as place:
            self.begun.append(number)
            self.clock.rightNow += self.takes_seconds
            place.asks_others = self.asks_others
            await self.ends[number]
            place.kind = self.kind
            place.rests = self.rests


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
    for number in (1, 2, 5, 7, 3):
        works.ends[number].callback(None)
    assert works.begun[4:] == [7, 3, 4, 6]


def test_who_had_a_place_lately_waits_for_few_however_many_come_who_had_none(works: Works) -> None:
    for owner in ("anna", "bob", "carol"):
        works.begin(owner)  # 0, 1, 2
    works.begin("anna")  # 3
    works.begin("bob")  # 4
    for number in range(2 * OTHERS_TURN):
        works.begin(f"new {number}")
        works.begin(f"newer {number}")
        works.ends[works.begun[number]].callback(None)
    given = works.begun[AT_A_TIME:]
    assert [given.index(number) + 1 for number in (3, 4)] == [OTHERS_TURN, 2 * OTHERS_TURN]


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


def test_a_place_that_rests_is_given_to_nobody_meanwhile(works: Works) -> None:
    for _ in range(AT_A_TIME + 2):
        works.begin()
    works.rests = 2.0
    works.clock.advance(0.01)
    works.ends[0].callback(None)
    works.rests = 0.0
    works.clock.advance(0.019)
    assert works.begun == [0, 1, 2]
    works.ends[1].callback(None)  # it does not rest
    assert works.begun == [0, 1, 2, 3]
    works.clock.advance(0.002)
    assert works.begun == [0, 1, 2, 3, 4]


def test_no_place_rests_for_long(works: Works) -> None:
    works.rests = 1000.0
    works.begin()
    works.clock.advance(HOLD_SECONDS * 0.9)
    works.ends[0].callback(None)
    works.clock.advance(MOST_REST_SECONDS * 0.9)
    assert not works.done[0].called
    works.clock.advance(MOST_REST_SECONDS * 0.2)
    assert works.done[0].called


def under_way(works: Works) -> list[int]:
    return [number for number in works.begun if not works.ends[number].called]


def test_what_is_slow_gives_back_no_place_while_others_end(works: Works) -> None:
    for _ in range(3 * AT_A_TIME):
        works.begin()
    for _ in range(AT_A_TIME):
        works.clock.advance(HOLD_SECONDS * 0.9)
        assert len(under_way(works)) == AT_A_TIME
        works.ends[under_way(works)[-1]].callback(None)
    works.clock.advance(HOLD_SECONDS)
    assert len(under_way(works)) > AT_A_TIME


def carry_out(works: Works, number: int, seconds: Callable[[int], float]) -> int:
    """So many, each of which takes `seconds` of the number that is under way; how many of them are
    at last."""
    for owner in range(number):
        works.begin(str(owner))
    at_a_time = 0
    while len(works.begun) < len(works.ends):
        begun = under_way(works)
        at_a_time = len(begun)
        works.clock.advance(seconds(at_a_time))
        for each in begun:
            works.ends[each].callback(None)
    for each in under_way(works):
        works.ends[each].callback(None)
    return at_a_time


def test_there_are_fewer_while_they_wait_for_each_other(works: Works) -> None:
    carry_out(works, 200, lambda _: QUICK_SECONDS / 2)  # as quick as one can be
    assert carry_out(works, 500, lambda number: number * QUICK_SECONDS) <= 2 * LEAST_PLACES


def test_there_are_more_where_each_takes_long_by_itself(works: Works) -> None:
    assert carry_out(works, 1500, lambda _: HOLD_SECONDS / 2) > MOST_PLACES / 2


def test_others_end_while_one_is_held_and_it_holds_up_nobody_for_long(works: Works) -> None:
    """Its server hangs; those of the others do not."""
    for _ in range(AT_A_TIME):
        works.begin("hangs")
    for number in range(100):
        works.begin(str(number))
    ends = 0
    while works.clock.seconds() < MOST_HOLD_SECONDS + HOLD_SECONDS:
        works.clock.advance(HOLD_SECONDS / 4)
        for each in works.begun[AT_A_TIME:]:
            if not works.ends[each].called:
                works.ends[each].callback(None)
                ends += 1
    assert ends > AT_A_TIME
    assert len(under_way(works)) <= AT_A_TIME + works.places._at_a_time.whole


def test_what_was_refused_at_once_says_nothing_of_the_others(works: Works) -> None:
    works.kind = None
    carry_out(works, 20, lambda _: 0.0)
    works.kind = "some"
    assert carry_out(works, 1500, lambda _: HOLD_SECONDS / 2) > MOST_PLACES / 2


def test_one_kind_may_take_longer_than_another(works: Works) -> None:
    works.kind = "quick"
    carry_out(works, 20, lambda _: QUICK_SECONDS / 8)
    works.kind = "slow"
    assert carry_out(works, 1500, lambda _: HOLD_SECONDS / 2) > MOST_PLACES / 2


def test_how_quick_one_was_is_forgotten(works: Works) -> None:
    assert carry_out(works, 200, lambda _: QUICK_SECONDS / 8) > AT_A_TIME
    works.clock.advance(2 * REMEMBERED_SECONDS)
    assert carry_out(works, 1500, lambda _: HOLD_SECONDS / 2) > AT_A_TIME


def test_thousands_that_end_at_once_are_not_deep(works: Works) -> None:
    for _ in range(AT_A_TIME):
        works.begin()
    for _ in range(5000):
        works.begin(ends_at_once=True)
    works.ends[0].callback(None)
    assert len(works.begun) == 5000 + AT_A_TIME
    assert works.begun == sorted(works.begun)


def test_what_ends_at_once_has_a_time_in_each_turn(works: Works) -> None:
    """However many end in a turn, and give their places."""
    for _ in range(AT_A_TIME):
        works.begin()
    for _ in range(100):
        works.begin(ends_at_once=True)
    works.takes_seconds = GIVE_SECONDS / 4
    for number in range(AT_A_TIME):
        works.ends[number].callback(None)
    given = len(works.begun) - AT_A_TIME
    assert 0 < given <= 6
    turn(works.clock)
    assert given < len(works.begun) - AT_A_TIME <= 2 * given
    works.clock.advance(0)
    assert works.begun == list(range(100 + AT_A_TIME))


def test_what_does_not_hang_keeps_its_place_for_longer(works: Works) -> None:
    """More of what only takes long would take longer still."""
    asked: list[float] = []
    works.places.may_hang = lambda seconds: bool(asked.append(seconds))
    for _ in range(AT_A_TIME + 1):
        works.begin()
    while works.clock.seconds() < MOST_HOLD_SECONDS - HOLD_SECONDS:
        works.clock.advance(HOLD_SECONDS / 2)
    assert works.begun == [0, 1, 2]
    assert len(asked) > 2
    works.places.may_hang = lambda seconds: True
    works.clock.advance(HOLD_SECONDS)
    assert works.begun == [0, 1, 2, 3]


def test_there_are_fewer_after_what_was_held_for_long(works: Works) -> None:
    carry_out(works, 500, lambda _: QUICK_SECONDS / 2)
    before = works.places._at_a_time.whole
    works.places.may_hang = lambda seconds: False
    first = len(works.ends)
    for owner in range(2 * before):
        works.begin(str(owner))
    works.clock.advance(MOST_HOLD_SECONDS)
    assert len(works.begun) > first + before
    assert works.places._at_a_time.whole < before
    for _ in range(20):
        works.clock.advance(MOST_HOLD_SECONDS)
        for owner in range(before):
            works.begin(str(owner))
    assert works.places._at_a_time.whole == LEAST_PLACES
    while begun := under_way(works):
        works.ends[begun[0]].callback(None)


def test_what_asks_others_is_held_up_by_them_and_holds_up_nobody(works: Works) -> None:
    """Another process is silent; the server answers, and one after the other ends."""
    works.places.may_hang = lambda seconds: False
    carry_out(works, 100, lambda _: QUICK_SECONDS / 2)
    before = works.places._at_a_time.whole
    works.asks_others = True
    first = len(works.ends)
    for number in range(before):
        works.begin(f"asks {number}")
    works.asks_others = False
    while works.clock.seconds() < MOST_HOLD_SECONDS:
        works.begin("another")
        begun_by = works.clock.seconds() + 2 * HOLD_SECONDS
        while works.begun[-1] != len(works.ends) - 1:
            assert works.clock.seconds() < begun_by
            works.clock.advance(HOLD_SECONDS / 10)
        works.ends[-1].callback(None)
        works.clock.advance(HOLD_SECONDS / 10)
    for number in range(before):
        works.ends[first + number].callback(None)
    assert works.places._at_a_time.whole == before


def test_what_asked_others_for_long_does_not_count_as_slow(works: Works) -> None:
    carry_out(works, 100, lambda _: QUICK_SECONDS / 2)
    before = works.places._at_a_time.whole
    works.asks_others = True
    for number in range(before):  # nobody waits: they keep their places
        works.begin(str(number))
    works.clock.advance(MOST_HOLD_SECONDS)
    for each in under_way(works):
        works.ends[each].callback(None)
    assert works.places._at_a_time.whole == before


def test_what_asks_others_and_is_answered_at_once_counts_as_all_do(works: Works) -> None:
    works.asks_others = True
    carry_out(works, 200, lambda _: QUICK_SECONDS / 2)
    assert works.places._at_a_time.whole > AT_A_TIME
    carry_out(works, 500, lambda _: QUICK_SECONDS / 2)
    at_last = carry_out(works, 500, lambda _: HOLD_SECONDS / 2)
    assert at_last <= LEAST_PLACES
