"""After a large request its place stays taken for a while: what others ask of Redis comes first."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from push.connector.limits.large_requests import LARGE_REQUESTS_AT_A_TIME, RESTS, LargeRequests
from push.connector.limits.line import MOST_REST_SECONDS

TOOK_SECONDS = 0.01


class Requests:
    """`begun`: the numbers of those that are, or were, carried out, in order."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.large = LargeRequests(self.clock)
        self.begun: list[int] = []
        self.ends: list[Deferred[None]] = []

    def ask(self) -> None:
        number = len(self.ends)
        self.ends.append(Deferred())
        Deferred.fromCoroutine(self._carry_out(number))

    async def _carry_out(self, number: int) -> None:
        async with self.large.turn():
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
    requests.clock.advance(60)
    requests.ends[0].callback(None)
    requests.clock.advance(MOST_REST_SECONDS)
    assert len(requests.begun) == LARGE_REQUESTS_AT_A_TIME + 1


def test_one_that_took_no_time_leaves_its_place_at_once() -> None:
    requests = all_places_taken()
    requests.ends[0].callback(None)
    assert len(requests.begun) == LARGE_REQUESTS_AT_A_TIME + 1
    assert not requests.clock.getDelayedCalls()
