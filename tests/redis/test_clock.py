"""The estimate of the server's clock: never back, never ahead (rule 1)."""

from __future__ import annotations

import random

from twisted.internet.task import Clock

from push.redis.clock import MICROSECONDS, ServerClock

START_US = 1_800_000_000 * MICROSECONDS


def test_nothing_is_known_before_the_server_was_heard() -> None:
    time = Clock()
    clock = ServerClock(time.seconds)
    time.advance(100)

    assert clock.now_us() == 0


def test_runs_on_by_our_own_time_and_a_little_slower() -> None:
    time = Clock()
    clock = ServerClock(time.seconds)
    clock.observe(START_US)

    time.advance(1000)

    assert START_US + 998 * MICROSECONDS < clock.now_us() < START_US + 1000 * MICROSECONDS
    assert clock.now_ms() == clock.now_us() // 1000


def test_what_the_server_said_earlier_moves_it_nowhere() -> None:
    time = Clock()
    clock = ServerClock(time.seconds)
    clock.observe(START_US)

    clock.observe(START_US - 1)
    clock.observe(0)

    assert clock.now_us() == START_US


def test_two_that_hand_each_other_their_estimate_never_drive_the_server_ahead_of_time() -> None:
    """Each gives its estimate as the floor and learns the answer, for a day, at random times."""
    time = Clock()
    chance = random.Random(1)
    clocks = [ServerClock(time.seconds), ServerClock(time.seconds)]
    stored = 0
    last = 0
    for _ in range(20_000):
        time.advance(chance.expovariate(1 / 4))
        real = START_US + int(time.seconds() * MICROSECONDS)
        clock = chance.choice(clocks)
        before = clock.now_us()
        assert before <= real
        stored = max(real, stored + 1, before)
        assert stored <= real + 1
        clock.observe(stored)
        assert clock.now_us() >= before
        assert stored > last
        last = stored
