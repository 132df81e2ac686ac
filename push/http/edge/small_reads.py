"""Connections whose bytes come a few at a time.

Each read costs the same, whether it brings a byte or a thousand. So a connection that has brought
little several times rests, and what it sends meanwhile comes in one read.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol

from push.runtime.ports import Clock
from push.runtime.timers import Debounced

REST_SECONDS = 0.1
# With many of them the rest is longer: so many are read in a turn of the reactor, and together they
# are 2,000 times a second at most.
READ_AT_ONCE = 20
PAUSE_SECONDS = 0.01


class RestingConnection(Protocol):
    def read_again(self) -> None: ...


class SmallReads:
    """Those that rest, in the order in which they began to."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._resting: deque[tuple[float, RestingConnection]] = deque()  # until when
        self._next = Debounced(clock, REST_SECONDS, self._end_some)

    def add(self, connection: RestingConnection) -> None:
        self._resting.append((self._clock.seconds() + REST_SECONDS, connection))
        self._next.request()

    def _end_some(self) -> None:
        now = self._clock.seconds()
        for _ in range(READ_AT_ONCE):
            if not self._resting or self._resting[0][0] > now:
                break
            self._resting.popleft()[1].read_again()
        if self._resting:
            self._next.request(max(self._resting[0][0] - now, PAUSE_SECONDS))
