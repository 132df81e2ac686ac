"""A share of each turn of the reactor, for work of which there may be any amount.

What many wait for may come for all of them at one moment. Done at once, all else would wait for it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from push.runtime.ports import Clock
from push.runtime.timers import Debounced

log = Logger()


class TurnShare:
    """Steps of work: so many in a turn at most, and none begins `seconds` after the first; one at
    least. What has waited longest is next."""

    def __init__(self, clock: Clock, steps: int, seconds: float) -> None:
        self._clock = clock
        self._steps = self._left = steps
        self._seconds = seconds
        self._end = 0.0  # of the time
        self._waiting: deque[Callable[[], object]] = deque()
        self._turn = Debounced(clock, 0, self._begin_turn)

    def __len__(self) -> int:
        return len(self._waiting)

    def stop(self) -> None:
        self._turn.cancel()

    def do(self, work: Callable[[], object]) -> None:
        """Do a step: now, if nothing waits and something is left of the turn."""
        if self._waiting or not self._take_step():
            self._waiting.append(work)
        else:
            work()

    def later(self, work: Callable[[], object]) -> None:
        """Do a step in one of the next turns, even if something is left of this one."""
        self._waiting.append(work)
        self._turn.request()

    async def step(self) -> None:
        """Returns when the caller may do a step."""
        if self._waiting or not self._take_step():
            turn: Deferred[None] = Deferred()
            self._waiting.append(partial(turn.callback, None))
            await turn

    def _take_step(self) -> bool:
        if self._left == self._steps:  # the first
            self._end = self._clock.seconds() + self._seconds
            self._turn.request()
        elif not self._left or self._clock.seconds() >= self._end:
            return False
        self._left -= 1
        return True

    def _begin_turn(self) -> None:
        self._left = self._steps
        while self._waiting and self._take_step():
            work = self._waiting.popleft()
            try:
                work()
            except Exception:
                log.failure("A step of work failed", event="runtime.step_failed")
