"""What the log says of one server, whose several connections come and go together."""

from __future__ import annotations

import pytest
from twisted.internet.task import Clock

from push.redis.connection.availability import FIRST_WORD_SECONDS, Availability

NAME = "redis://a:1/0"


class World:
    """A server with two connections, as its log shows it."""

    def __init__(self, log_lines: list[str]) -> None:
        self.clock = Clock()
        self.has_master = True
        self.server = Availability(self.clock, NAME, lambda: not self.has_master)
        self._log_lines = log_lines
        self.server.start()

    def said(self) -> list[str]:
        """New lines, without the server's name."""
        lines = [line.removeprefix(f"Redis at {NAME}") for line in self._log_lines]
        self._log_lines.clear()
        return [line.strip(" :") for line in lines]

    def down(self, purpose: str, reason: str, *, unfit: bool = False) -> None:
        self.server.down(
            purpose, "cannot be used" if unfit else "is unreachable", reason, unfit=unfit
        )


@pytest.fixture
def world(log_lines: list[str]) -> World:
    return World(log_lines)


AWAY = "is unreachable: {}. Trying again until it is reachable."


def test_the_first_state_is_said(world: World) -> None:
    world.server.up("commands")
    assert world.said() == []
    world.server.up("subscriptions")
    world.server.all_up()
    assert world.said() == ["connected"]
    world.clock.advance(FIRST_WORD_SECONDS)
    assert world.said() == []


def test_both_connections_that_fail_are_one_line(world: World) -> None:
    for _ in range(3):
        world.down("commands", "refused")
        world.down("subscriptions", "refused")
    assert world.said() == [AWAY.format("refused")]
    world.server.up("commands")
    world.server.up("subscriptions")
    world.server.all_up()
    assert world.said() == ["reconnected"]


def test_an_address_that_answers_nothing_gets_a_word_long_before_the_time_out(
    world: World,
) -> None:
    world.clock.advance(FIRST_WORD_SECONDS)
    assert world.said() == [AWAY.format("no answer yet")]
    world.down("commands", "timed out")
    world.down("subscriptions", "timed out")
    assert world.said() == []
    world.server.up("commands")
    world.server.all_up()
    assert world.said() == ["reconnected"]


def test_what_the_sentinels_say_is_not_said_again(world: World) -> None:
    world.has_master = False
    world.clock.advance(FIRST_WORD_SECONDS)
    assert world.said() == []


def test_a_connection_that_is_down_for_a_reason_of_its_own_is_told(world: World) -> None:
    world.down("commands", "refused")
    world.down("subscriptions", "refused")
    world.said()
    world.server.up("commands")
    world.down("subscriptions", "no right to subscribe")
    world.down("subscriptions", "no right to subscribe")
    assert world.said() == [AWAY.format("no right to subscribe")]


def test_what_is_found_unfit_is_told_although_it_was_unreachable(world: World) -> None:
    world.down("commands", "refused")
    world.said()
    world.down("commands", "it evicts", unfit=True)
    assert len(world.said()) == 1
    world.down("commands", "it evicts", unfit=True)
    assert world.said() == []


def test_after_a_stop_nothing_is_said(world: World) -> None:
    world.server.stop()
    assert world.clock.getDelayedCalls() == []
