"""Calls that can wait: as many are under way as do not make what else a server is asked wait, each
owner in turn."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from push.redis.connection.measures import RedisMeasures
from push.redis.connection.patient_calls import (
    CALLS_AT_A_TIME,
    LEAST_CALLS,
    LEAST_REST_SECONDS,
    MOST_CALLS,
    MOST_REST_SECONDS,
    MOST_WAITING,
    REMEMBERED_SECONDS,
    SLOW_SECONDS,
    PatientCalls,
)
from push.wire.errors import RequestError

FAR_SECONDS = 0.1


class Server:
    """`begun`: the numbers of the calls that are, or were, under way, in order."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.measures = RedisMeasures()
        self.quickest_seconds = 0.0001
        self.calls = PatientCalls(self.clock, self.measures)
        self.begun: list[int] = []
        self.answers: list[Deferred[str]] = []
        self.outcomes: list[Deferred[str]] = []

    def ask(self, owner: str = "") -> None:
        number = len(self.answers)
        answer: Deferred[str] = Deferred()
        self.answers.append(answer)

        async def call() -> str:
            self.begun.append(number)
            return await answer

        self.outcomes.append(Deferred.fromCoroutine(self.calls.run(owner, "page", call)))

    @property
    def under_way(self) -> list[int]:
        return [number for number in self.begun if not self.answers[number].called]

    def carry_out(self, number: int, seconds: Callable[[int], float]) -> int:
        """So many calls of as many owners, each of which takes `seconds` of the number that is
        under way; how many were at last. Other calls take `self.quickest_seconds`."""
        for owner in range(number):
            self.ask(str(owner))
        at_a_time = 0
        while len(self.begun) < len(self.answers):
            begun = self.under_way
            self.measures.answered(self.quickest_seconds)
            at_a_time = len(begun) or at_a_time
            self.clock.advance(seconds(len(begun)) if begun else MOST_REST_SECONDS)
            for each in begun:
                self.answers[each].callback("")
        begun = self.under_way
        self.clock.advance(seconds(len(begun)))
        for each in begun:
            self.answers[each].callback("")
        return at_a_time


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    made.measures.answered(made.quickest_seconds)
    yield made
    made.calls.stop()
    assert not made.clock.getDelayedCalls()


def all_taken(server: Server) -> None:
    """As few as can be are under way at a time, and are: the first numbers. By itself such a call
    takes no time."""
    server.carry_out(20, lambda _: server.quickest_seconds)
    assert server.carry_out(300, lambda _: 2 * SLOW_SECONDS) == LEAST_CALLS
    server.clock.advance(MOST_REST_SECONDS)
    server.begun.clear()
    server.answers.clear()
    server.outcomes.clear()
    for number in range(LEAST_CALLS):
        server.ask(f"other {number}")
    assert server.begun == [0, 1]


def test_some_are_under_way_at_once_and_the_rest_waits(server: Server) -> None:
    for _ in range(CALLS_AT_A_TIME + 2):
        server.ask()
    assert server.begun == list(range(CALLS_AT_A_TIME))
    server.answers[3].callback("found")
    assert server.begun[CALLS_AT_A_TIME:] == [CALLS_AT_A_TIME]
    assert server.outcomes[3].result == "found"


def test_each_owner_is_next_in_turn(server: Server) -> None:
    all_taken(server)
    for owner in ("greedy", "greedy", "greedy", "anna", "bob"):
        server.ask(owner)  # 2, 3, 4, 5, 6
    for number in (0, 2, 5, 6, 3):
        server.clock.advance(2 * SLOW_SECONDS)  # slow: there are no more at a time
        server.answers[number].callback("")
        server.clock.advance(MOST_REST_SECONDS)
    assert server.begun == [0, 1, 2, 5, 6, 3, 4]


def test_of_what_takes_long_by_itself_few_are_under_way(server: Server) -> None:
    assert server.carry_out(300, lambda _: 2 * SLOW_SECONDS) == LEAST_CALLS


def test_there_are_as_many_as_do_not_wait_for_each_other(server: Server) -> None:
    each_seconds = SLOW_SECONDS / 8
    at_a_time = server.carry_out(500, lambda number: number * each_seconds)
    assert 4 <= at_a_time <= 10


def test_of_what_takes_it_a_while_more_are_under_way_the_farther_the_server_is(
    server: Server,
) -> None:
    """As many as keep it busy for a round trip."""
    assert server.carry_out(300, lambda _: server.quickest_seconds + SLOW_SECONDS) == LEAST_CALLS
    server.clock.advance(2 * REMEMBERED_SECONDS)
    server.measures.quickest_seconds = server.quickest_seconds = FAR_SECONDS
    for _ in range(3):  # that it was near is forgotten
        server.measures.answered(FAR_SECONDS)
        server.carry_out(1, lambda _: FAR_SECONDS + SLOW_SECONDS)
        server.clock.advance(REMEMBERED_SECONDS)
    at_a_time = server.carry_out(2000, lambda _: FAR_SECONDS + SLOW_SECONDS)
    assert 4 * LEAST_CALLS < at_a_time <= 1 + FAR_SECONDS / SLOW_SECONDS


def test_to_a_server_that_is_far_away_many_are_under_way(server: Server) -> None:
    server.measures.quickest_seconds = server.quickest_seconds = FAR_SECONDS
    assert server.carry_out(2000, lambda _: FAR_SECONDS) > MOST_CALLS / 2


def test_that_it_was_near_is_forgotten(server: Server) -> None:
    server.ask()
    server.answers[0].callback("")
    server.quickest_seconds = FAR_SECONDS
    for _ in range(3):
        server.measures.answered(FAR_SECONDS)
        server.clock.advance(REMEMBERED_SECONDS)
        server.ask()
        server.answers[-1].callback("")
    assert server.carry_out(2000, lambda _: FAR_SECONDS) > MOST_CALLS / 2


def test_after_a_long_one_the_next_waits_for_as_long_as_it_took(server: Server) -> None:
    all_taken(server)
    server.ask()
    took_seconds = MOST_REST_SECONDS * 0.9
    server.clock.advance(took_seconds)
    server.answers[0].callback("")
    assert server.outcomes[0].called, "who asked does not wait for the rest"
    server.clock.advance(took_seconds * 0.9)
    assert server.begun == [0, 1]
    server.clock.advance(took_seconds * 0.2)
    assert server.begun == [0, 1, 2]


def test_nobody_rests_who_is_alone(server: Server) -> None:
    all_taken(server)
    for number in range(1, 4):
        server.clock.advance(SLOW_SECONDS * 2)
        server.answers[number].callback("")
        server.ask()
        assert server.begun == list(range(number + 2))


def test_no_rest_is_long(server: Server) -> None:
    all_taken(server)
    server.ask()
    server.clock.advance(10.0)
    server.answers[0].callback("")
    server.clock.advance(MOST_REST_SECONDS)
    assert server.begun == [0, 1, 2]


def test_after_a_short_one_there_is_no_rest(server: Server) -> None:
    all_taken(server)
    server.ask()
    server.clock.advance(LEAST_REST_SECONDS / 2)
    server.answers[0].callback("")
    assert server.begun == [0, 1, 2]


def test_the_next_has_its_turn_after_one_that_failed(server: Server) -> None:
    all_taken(server)
    server.ask()
    server.clock.advance(5.0)
    server.answers[0].errback(ValueError("no connection"))
    server.outcomes[0].addErrback(lambda failure: failure.trap(ValueError))
    assert server.begun == [0, 1, 2]


def test_one_that_is_cancelled_while_it_waits_gets_no_turn(server: Server) -> None:
    all_taken(server)
    server.ask()
    server.ask()
    server.outcomes[2].cancel()
    server.outcomes[2].addErrback(lambda _cancelled: None)
    server.answers[0].callback("")
    assert server.begun == [0, 1, 3]


def test_one_that_is_cancelled_while_it_is_under_way_makes_room(server: Server) -> None:
    all_taken(server)
    server.ask()
    server.outcomes[0].cancel()
    server.outcomes[0].addErrback(lambda _cancelled: None)
    assert server.begun == [0, 1, 2]


def test_one_owner_may_let_so_many_wait_and_others_may_all_the_same(server: Server) -> None:
    """A request that waits does so when its client has gone, too."""
    all_taken(server)
    for _ in range(MOST_WAITING):
        server.ask("greedy")
    assert not server.outcomes[-1].called
    server.ask("greedy")
    refused: list[RequestError] = []
    server.outcomes[-1].addErrback(lambda failure: refused.append(failure.value))
    assert [error.code for error in refused] == ["unavailable"]
    server.ask("anna")
    server.answers[0].callback("")
    server.answers[1].callback("")
    assert len(server.answers) - 1 in server.begun
    for number in range(2, len(server.answers)):
        server.answers[number].callback("")


def test_nothing_waits_when_the_server_is_stopped(server: Server) -> None:
    all_taken(server)
    for _ in range(3):
        server.ask()
    server.clock.advance(2 * SLOW_SECONDS)
    server.answers[0].callback("")
    server.calls.stop()
    assert server.begun == [0, 1, 2, 3, 4]
    server.clock.advance(2 * SLOW_SECONDS)
    server.answers[1].callback("")


def test_thousands_that_end_at_once_are_not_deep(server: Server) -> None:
    server.ask()
    for _ in range(5000):
        server.ask()
        server.answers[-1].callback("")
    server.answers[0].callback("")
    assert len(server.begun) == 5001


class Model:
    """A server that is `round_trip_seconds` away and does one page after the other, each for
    `work_seconds`, and other calls between. Of so many clients each asks for one page after the
    other. `jitter_seconds`: how much later answers are, on the average."""

    def __init__(
        self, round_trip_seconds: float, work_seconds: float, jitter_seconds: float = 0.0
    ) -> None:
        self.clock = Clock()
        self.measures = RedisMeasures()
        self.calls = PatientCalls(self.clock, self.measures)
        self.under_way = self.done = 0
        self._round_trip_seconds = round_trip_seconds
        self._work_seconds = work_seconds
        self._jitter_seconds = jitter_seconds
        self._chance = random.Random(1)
        self._free_at = 0.0

    def _answer_after(self, work_seconds: float) -> float:
        now = self.clock.seconds()
        self._free_at = max(self._free_at, now) + work_seconds
        late = self._chance.expovariate(1 / self._jitter_seconds) if self._jitter_seconds else 0.0
        return self._free_at - now + self._round_trip_seconds + late

    async def _page(self) -> None:
        answered: Deferred[None] = Deferred()
        seconds = self._answer_after(self._work_seconds)
        self.clock.callLater(seconds, answered.callback, None)
        self.under_way += 1
        await answered
        self.under_way -= 1
        self.measures.answered(seconds)

    async def _client(self, owner: int, until: float) -> None:
        while self.clock.seconds() < until:
            await self.calls.run(owner, "page", self._page)
            self.done += 1

    def _ask_for_little(self, until: float) -> None:
        self.measures.answered(self._answer_after(0.0))
        if self.clock.seconds() < until:
            self.clock.callLater(0.01, self._ask_for_little, until)

    def carry_out(self, clients: int, seconds: float) -> tuple[float, int]:
        """Pages a second, and how many were under way at last."""
        self._ask_for_little(seconds)
        running = [Deferred.fromCoroutine(self._client(n, seconds)) for n in range(clients)]
        while self.clock.seconds() < seconds:
            self.clock.advance(0.0005)
        found = self.done / seconds, self.under_way
        while not all(each.called for each in running):
            self.clock.advance(0.01)
        self.calls.stop()
        return found


CLIENTS = 24


@pytest.mark.parametrize("jitter_seconds", [0.0, 0.003])
def test_a_far_server_whose_answers_vary_is_asked_by_all_at_once(jitter_seconds: float) -> None:
    far = Model(0.03, 0.0, jitter_seconds)
    a_second, under_way = far.carry_out(CLIENTS, 5.0)
    assert under_way > 0.9 * CLIENTS
    assert a_second > 0.9 * CLIENTS / (0.03 + jitter_seconds)


@pytest.mark.parametrize("jitter_seconds", [0.0, 0.003])
def test_a_far_server_has_work_though_each_page_takes_it_long(jitter_seconds: float) -> None:
    work_seconds = 0.006
    far = Model(0.03, work_seconds, jitter_seconds)
    a_second, under_way = far.carry_out(3 * CLIENTS, 5.0)
    assert a_second * work_seconds > 0.4  # while it rests others have it
    assert under_way <= 2 + (0.03 + SLOW_SECONDS) / work_seconds


@pytest.mark.parametrize("work_seconds", [0.005, 0.01, 0.02])
def test_a_near_server_that_each_page_takes_long_does_few_at_a_time(work_seconds: float) -> None:
    near = Model(0.0002, work_seconds)
    a_second, under_way = near.carry_out(20 * CLIENTS, 5.0)
    assert under_way <= LEAST_CALLS
    assert a_second * work_seconds > 0.5
