"""After a large request its place stays taken for a while: what others ask of Redis comes first."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from push.connector.limits.large_requests import (
    LARGE_HOLD_SECONDS,
    LARGE_REQUESTS_AT_A_TIME,
    RESTS,
    LargeRequests,
)
from push.runtime.places import MOST_REST_SECONDS

TOOK_SECONDS = 0.01


class Requests:
    """`begun`: the numbers of those that are, or were, carried out, in order."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.large = LargeRequests(self.clock)
        self.begun: list[int] = []
        self.ends: list[Deferred[None]] = []

    def ask(self, owner: str = "anna") -> None:
        number = len(self.ends)
        self.ends.append(Deferred())
        Deferred.fromCoroutine(self._carry_out(owner, number))

    async def _carry_out(self, owner: str, number: int) -> None:
        async with self.large.turn(owner):
            self.begun.append(number)
            await self.ends[number]


def all_places_taken() -> Requests:
    requests = Requests()
    for _ in range(LARGE_REQUESTS_AT_A_TIME + 1):
        requests.ask()
    assert requests.begun == list(range(LARGE_REQUESTS_AT_A_TIME))
    return requests


def test_the_next_begins_when_the_place_has_rested() -> None:
    requests = all_places_taken()
    requests.clock.advance(TOOK_SECONDS)
    requests.ends[0].callback(None)
    requests.clock.advance(TOOK_SECONDS * RESTS * 0.9)
    assert len(requests.begun) == LARGE_REQUESTS_AT_A_TIME
    requests.clock.advance(TOOK_SECONDS * RESTS * 0.2)
    assert requests.begun[-1] == LARGE_REQUESTS_AT_A_TIME


def test_no_rest_is_long() -> None:
    requests = all_places_taken()
    requests.clock.advance(LARGE_HOLD_SECONDS * 0.9)
    requests.ends[0].callback(None)
    assert len(requests.begun) == LARGE_REQUESTS_AT_A_TIME
    requests.clock.advance(MOST_REST_SECONDS)
    assert len(requests.begun) == LARGE_REQUESTS_AT_A_TIME + 1


def test_one_that_took_no_time_leaves_its_place_at_once() -> None:
    requests = all_places_taken()
    requests.ends[0].callback(None)
    assert len(requests.begun) == LARGE_REQUESTS_AT_A_TIME + 1
    requests.large.stop()
    assert not requests.clock.getDelayedCalls()


def test_the_requests_of_one_user_do_not_wait_for_all_of_another() -> None:
    requests = Requests()
    for owner in ("greedy",) * 6 + ("anna",):
        requests.ask(owner)
    requests.ends[0].callback(None)
    requests.ends[1].callback(None)
    assert requests.begun == [0, 1, 6, 2]


def test_those_that_a_server_does_not_answer_hold_up_nobody_for_long() -> None:
    requests = all_places_taken()
    requests.clock.advance(LARGE_HOLD_SECONDS)
    assert len(requests.begun) == LARGE_REQUESTS_AT_A_TIME + 1
