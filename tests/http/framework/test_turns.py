"""A turn of the reactor serves a few requests, and of a connection one."""

from __future__ import annotations

import pytest
from twisted.internet.task import Clock

from push.http.framework.turns import BODY_BYTES_OF_A_REQUEST, REQUESTS_A_TURN, Turns


class Serving:
    """Requests that are asked for, and the names of those that were served in each turn."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.turns = Turns(self.clock)
        self.served: list[str] = []

    def ask(self, connection: str, name: str, body_bytes: int = 0) -> None:
        self.turns.serve(connection, body_bytes, lambda: self.served.append(name))

    def in_turns(self) -> list[list[str]]:
        """What is served now, and in each turn from here on."""
        found, self.served = [self.served], []
        while calls := self.clock.getDelayedCalls():
            (turn,) = calls
            work = turn.func
            turn.cancel()
            work()  # the clock itself would go on to the next turn at once
            found.append(self.served)
            self.served = []
        return [each for each in found if each]


@pytest.fixture
def serving() -> Serving:
    return Serving()


def test_of_a_connection_one_request_is_served_in_a_turn(serving: Serving) -> None:
    for number in range(3):
        serving.ask("a", f"a{number}")
    serving.ask("b", "b0")

    assert serving.in_turns() == [["a0"], ["a1"], ["a2", "b0"]]


def test_a_connection_that_asks_again_waits_behind_the_others(serving: Serving) -> None:
    """As pipelined requests do: the next comes when the one before was answered."""

    def ask_again(number: int) -> None:
        serving.served.append(f"a{number}")
        if number < 3:
            serving.turns.serve("a", 0, lambda: ask_again(number + 1))

    serving.turns.serve("a", 0, lambda: ask_again(0))
    serving.ask("b", "b")
    serving.ask("c", "c")

    assert serving.in_turns() == [["a0"], ["a1", "b", "c"], ["a2"], ["a3"]]


def test_a_turn_serves_so_many_connections(serving: Serving) -> None:
    names = [f"c{number}" for number in range(3 * REQUESTS_A_TURN)]
    for name in names:
        serving.ask(name, name)

    turns = serving.in_turns()

    assert [len(turn) for turn in turns] == [REQUESTS_A_TURN] * 3
    assert [name for turn in turns for name in turn] == names
    assert serving.turns.waiting == 0


def test_a_large_body_counts_as_many_requests_and_the_largest_has_a_turn_of_its_own(
    serving: Serving,
) -> None:
    half = BODY_BYTES_OF_A_REQUEST * (REQUESTS_A_TURN // 2)
    serving.ask("a", "small")
    serving.ask("b", "half", half)
    serving.ask("c", "half again", half)
    serving.ask("d", "huge", 100 * half)
    serving.ask("e", "small again")

    assert serving.in_turns() == [
        ["small", "half"],
        ["half again"],
        ["huge"],
        ["small again"],
    ]
