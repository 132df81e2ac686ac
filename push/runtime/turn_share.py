"""A share of each turn of the reactor, for work of which there may be any amount.

What many wait for may come for all of them at one moment. Done at once, all else would wait for it.
Several shares have one time together: however many kinds of work there are, a turn takes about
`TURN_SECONDS`.

Other ways to wait: architecture, "Who waits for a turn".
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from push.runtime.ports import Clock
from push.runtime.timers import Debounced

log = Logger()

# As long as a turn is to take with all that is done in it.
TURN_SECONDS: Final = 0.005
# Of that, for the work that shares it: as much as what else is done leaves, between these.
MOST_SECONDS: Final = 0.004
LEAST_SECONDS: Final = 0.001

Work = Callable[[], object]


class TurnTime:
    """The time of a turn for work that may wait. `most_seconds` of it, where nothing else is done.

    A turn that took longer than `TURN_SECONDS` leaves less of the next, a shorter one more.
    """

    def __init__(self, clock: Clock, most_seconds: float = MOST_SECONDS) -> None:
        self._clock = clock
        self._seconds = self._most_seconds = most_seconds
        self._number = 0
        self._begun: float | None = None  # this turn, as far as anybody has asked
        self._end = 0.0
        self._wanted: dict[Work, None] = {}
        self._was_first: dict[Work, int] = {}  # of those of the turn before: when each was
        self._next = Debounced(clock, 0, self._begin_next)

    def stop(self) -> None:
        """Nothing more is called."""
        self._wanted.clear()
        self._next.cancel()

    def begin(self) -> None:
        """The time of this turn passes from now on, if it does not already."""
        if self._begun is not None:
            return
        self._number += 1
        self._begun = now = self._clock.seconds()
        self._end = now + self._seconds
        self._next.request()

    @property
    def turn(self) -> int:
        """A number of its own for each turn."""
        self.begin()
        return self._number

    @property
    def is_over(self) -> bool:
        """Whether nothing more is to be begun in this turn."""
        self.begin()
        return self._clock.seconds() >= self._end

    def next_turn(self, work: Work) -> None:
        """Call `work` in the next turn, once, however often it was asked for."""
        self._wanted[work] = None
        self._next.request()

    def _begin_next(self) -> None:
        if self._begun is not None:
            self._adapt(self._clock.seconds() - self._begun)
            self._begun = None
        wanted, self._wanted = list(self._wanted), {}
        if wanted:
            self.begin()
            # What comes first has most of the time: that which was first longest ago.
            was_first = {work: self._was_first.get(work, 0) for work in wanted}
            wanted.sort(key=was_first.__getitem__)
            was_first[wanted[0]] = self._number
            self._was_first = was_first
            for work in wanted:
                _do(work)

    def _adapt(self, took_seconds: float) -> None:
        """A turn took so long, with all that was done in it."""
        # Half of the difference: one turn may be long because the process was not running.
        seconds = self._seconds + max((TURN_SECONDS - took_seconds) / 2, -self._seconds / 2)
        least_seconds = min(LEAST_SECONDS, self._most_seconds)
        self._seconds = min(max(seconds, least_seconds), self._most_seconds)


class TurnShare:
    """Steps of work: so many in a turn at most, and none begins when its time is over; one at
    least. What has waited longest is next."""

    def __init__(self, time: TurnTime, steps: int) -> None:
        self._time = time
        self._steps = self._left = steps
        self._turn = 0  # of which `_left` is left
        self._waiting: deque[Work] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def do(self, work: Work) -> None:
        """Do a step: now, if nothing waits and something is left of the turn."""
        if self._waiting or not self._take_step():
            self.later(work)
        else:
            work()

    def later(self, work: Work) -> None:
        """Do a step in one of the next turns, even if something is left of this one."""
        self._waiting.append(work)
        self._time.next_turn(self._work_off)

    async def step(self) -> None:
        """Returns when the caller may do a step."""
        if self._waiting or not self._take_step():
            turn: Deferred[None] = Deferred()
            self.later(partial(turn.callback, None))
            await turn

    def _take_step(self) -> bool:
        turn = self._time.turn
        if turn != self._turn:  # the first
            self._turn, self._left = turn, self._steps
        elif not self._left or self._time.is_over:
            return False
        self._left -= 1
        return True

    def _work_off(self) -> None:
        while self._waiting and self._take_step():
            _do(self._waiting.popleft())
        if self._waiting:
            self._time.next_turn(self._work_off)


def _do(work: Work) -> None:
    try:
        work()
    except Exception:
        log.failure("A step of work failed", event="runtime.step_failed")
