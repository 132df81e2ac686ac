"""Who waits for a turn: each owner gets one after the other, however many wait of one of them.

Other ways to wait: architecture, "Who waits for a turn".
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Hashable, Iterable
from contextlib import asynccontextmanager
from math import inf
from typing import Generic, TypeVar

from twisted.internet.defer import Deferred

from push.runtime.ports import Clock
from push.runtime.timers import Debounced

Turn = TypeVar("Turn")


class OwnerQueue(Generic[Turn]):
    """Turns that are waited for. Those of one owner are in the order in which they came."""

    def __init__(self) -> None:
        self.waiting: dict[Hashable, deque[Deferred[Turn]]] = {}  # by owner, who is next first

    def wait(self, owner: Hashable) -> Deferred[Turn]:
        """The caller that takes it by `pop` gives the turn by its callback."""
        turn: Deferred[Turn] = Deferred(lambda turn: self._leave(owner, turn))
        self.waiting.setdefault(owner, deque()).append(turn)
        return turn

    def waiting_of(self, owner: Hashable) -> int:
        """How many turns the owner waits for."""
        return len(self.waiting.get(owner, ()))

    def pop(self) -> tuple[Hashable, Deferred[Turn]]:
        """The next turn, and whose it is."""
        owner = next(iter(self.waiting))
        turns = self.waiting.pop(owner)
        turn = turns.popleft()
        if turns:
            self.waiting[owner] = turns  # behind the others
        return owner, turn

    def pop_all(self, owner: Hashable) -> Iterable[Deferred[Turn]]:
        """All turns for which the owner waits."""
        return self.waiting.pop(owner, ())

    def _leave(self, owner: Hashable, turn: Deferred[Turn]) -> None:
        self.waiting[owner].remove(turn)
        if not self.waiting[owner]:
            del self.waiting[owner]


class FairSemaphore:
    """At most so many of what runs inside `async with turns.turn(owner):` at a time. For what one
    can ask for much of, where others ask for it, too."""

    def __init__(self, at_a_time: int) -> None:
        self._free = at_a_time
        self._waiting: OwnerQueue[None] = OwnerQueue()
        self._giving = False

    @asynccontextmanager
    async def turn(self, owner: Hashable) -> AsyncIterator[None]:
        if self._free and not self._waiting.waiting:
            self._free -= 1
        else:
            await self._waiting.wait(owner)
        try:
            yield
        finally:
            self._free += 1
            self._give()

    def _give(self) -> None:
        if self._giving:
            return  # one that was given a turn has ended at once: the caller that gives sees it
        self._giving = True
        try:
            while self._free and self._waiting.waiting:
                self._free -= 1
                _, turn = self._waiting.pop()
                turn.callback(None)
        finally:
            self._giving = False


class PacedTurns:
    """So many turns a second, and `burst` at once when there was none for long. For what is of
    little use to anybody, and costs the process much."""

    def __init__(self, clock: Clock, per_second: float, burst: int) -> None:
        self._clock = clock
        self._seconds_each = 1 / per_second
        self._burst_seconds = (burst + 0.5) / per_second  # sums of seconds are not exact
        self._due = 0.0  # when all that were given would have been at that rate
        self._waiting: OwnerQueue[None] = OwnerQueue()
        self._later = Debounced(clock, self._seconds_each, self._give)

    def stop(self) -> None:
        """Nobody waits any more, now or later."""
        self._burst_seconds = inf
        self._later.cancel()
        self._give()

    async def turn(self, owner: Hashable) -> None:
        """Returns when it is the owner's, or was ended."""
        if self._waiting.waiting or not self._take():
            self._later.request()
            await self._waiting.wait(owner)

    def end_waiting(self, owner: Hashable) -> None:
        """The owner waits for no turn any more."""
        for turn in self._waiting.pop_all(owner):
            turn.callback(None)

    def _take(self) -> bool:
        now = self._clock.seconds()
        due = max(self._due, now) + self._seconds_each
        if due - now > self._burst_seconds:
            return False
        self._due = due
        return True

    def _give(self) -> None:
        while self._waiting.waiting and self._take():
            _, turn = self._waiting.pop()
            turn.callback(None)
        if self._waiting.waiting:
            self._later.request()
