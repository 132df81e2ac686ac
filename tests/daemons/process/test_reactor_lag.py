"""How late the reactor calls."""

from __future__ import annotations

from twisted.internet.task import Clock

from push.daemons.process.reactor_lag import INTERVAL_SECONDS, ReactorLag


def test_a_reactor_in_time_has_no_lag() -> None:
    clock = Clock()
    lag = ReactorLag(clock)
    lag.start()
    for _ in range(4):
        clock.advance(INTERVAL_SECONDS)
    lag.stop()
    assert (sum(lag.seconds.counts), lag.seconds.sum) == (4, 0.0)
    assert clock.getDelayedCalls() == []


def test_a_busy_reactor_is_late_by_how_long_it_was_busy() -> None:
    clock = Clock()
    lag = ReactorLag(clock)
    lag.start()
    clock.advance(INTERVAL_SECONDS + 0.75)
    lag.stop()
    assert (sum(lag.seconds.counts), lag.seconds.sum) == (1, 0.75)
