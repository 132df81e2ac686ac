"""A time-out is when it was last set to, however often, and earlier or later than before."""

from __future__ import annotations

from twisted.internet.task import Clock

from push.http.edge.cheap_timeout import CheapTimeout


class Timed(CheapTimeout):
    def __init__(self, clock: Clock) -> None:
        self.callLater = clock.callLater
        self.ended_at: list[float] = []
        self._clock = clock

    def timeoutConnection(self) -> None:
        self.ended_at.append(self._clock.seconds())


def test_the_last_setting_holds_and_says_the_one_before() -> None:
    clock = Clock()
    timed = Timed(clock)
    assert timed.setTimeout(60) is None
    assert timed.setTimeout(10) == 60
    assert timed.setTimeout(30) == 10
    assert timed.setTimeout(20.5) == 30
    clock.pump([1] * 25)
    assert timed.ended_at == [21]
    assert not clock.getDelayedCalls()


def test_none_ends_it() -> None:
    clock = Clock()
    timed = Timed(clock)
    timed.setTimeout(60)
    timed.setTimeout(10)
    assert timed.setTimeout(None) == 10
    assert timed.setTimeout(None) is None
    clock.advance(100)
    assert timed.ended_at == []


def test_an_earlier_time_is_not_looked_for_among_all_that_wait() -> None:
    """The call itself stays where it is: that of the reactor would be searched for in a list."""
    clock = Clock()
    timed = Timed(clock)
    timed.setTimeout(60)
    (first,) = clock.getDelayedCalls()
    timed.setTimeout(10)
    assert first.cancelled
    (second,) = clock.getDelayedCalls()
    timed.setTimeout(30)
    assert clock.getDelayedCalls() == [second]
