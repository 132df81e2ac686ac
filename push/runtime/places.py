"""Places for what is done at a time: the rest waits, however many there are of it."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from twisted.internet.defer import Deferred

from push.runtime.ports import Clock
from push.runtime.timers import Debounced

# After that what is still done holds up nobody any more: its server may be unreachable,
# and others are not.
HOLD_SECONDS = 0.1


class Places:
    """`at_a_time` of them; those that wait get one in order."""

    def __init__(self, clock: Clock, at_a_time: int) -> None:
        self._clock = clock
        self._at_a_time = at_a_time
        self._begun: dict[object, float] = {}  # since when each place is taken, in order
        self._waiting: deque[Deferred[object]] = deque()
        self._giving = False
        self._look = Debounced(clock, HOLD_SECONDS, self._give_back_held)

    def stop(self) -> None:
        self._look.cancel()

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Inside it one is taken."""
        if self._has_free and not self._waiting:
            place = self._take()
        else:
            turn: Deferred[object] = Deferred(self._waiting.remove)
            self._waiting.append(turn)
            self._look.request(self._until_held_seconds())
            place = await turn
        try:
            yield
        finally:
            if self._begun.pop(place, None) is not None:
                self._give()

    @property
    def _has_free(self) -> bool:
        return len(self._begun) < self._at_a_time

    def _take(self) -> object:
        place = object()
        self._begun[place] = self._clock.seconds()
        return place

    def _give(self) -> None:
        if self._giving:
            return  # one that was given a place has ended at once: the caller that gives sees it
        self._giving = True
        try:
            while self._waiting and self._has_free:
                self._waiting.popleft().callback(self._take())
        finally:
            self._giving = False

    def _until_held_seconds(self) -> float:
        """For how long the oldest still holds its place."""
        oldest = next(iter(self._begun.values()), self._clock.seconds())
        return max(oldest + HOLD_SECONDS - self._clock.seconds(), 0.0)

    def _give_back_held(self) -> None:
        now = self._clock.seconds()
        for place, since in list(self._begun.items()):
            if now - since < HOLD_SECONDS:
                break
            del self._begun[place]
        self._give()
        if self._waiting:
            self._look.request(self._until_held_seconds())
