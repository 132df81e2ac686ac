"""Places for what is done at a time: the rest waits, however many there are of it."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from math import inf
from typing import Final

from twisted.internet.defer import Deferred

from push.runtime.ports import Clock
from push.runtime.timers import Debounced

# When nothing has ended for so long, what is still done holds up nobody any more: its server may be
# unreachable, and others are not.
HOLD_SECONDS = 0.1
NEARLY_SECONDS = 0.001  # sums of seconds are not exact
# An owner who has had no place for so long comes before those who had one.
RESTED_SECONDS = 0.05

LEAST_PLACES: Final = 4
MOST_PLACES: Final = 64
# So many times as long as the quickest is slow; as quick as the other is quick enough.
SLOW: Final = 3
QUICK_SECONDS: Final = 0.004
# For how long it is remembered how quick one was; twice as long at most.
REMEMBERED_SECONDS: Final = 10.0

_Waiting = dict[Hashable, deque[Deferred[object]]]  # by owner, who is next first


class _Number:
    """How many places there are: as many as do not make each other wait.

    One that takes much longer than the quickest did lately has waited for the others, at the server
    or in this process: while one of five is such, there are fewer. Those that do not, while all
    places are taken, make them more: where each takes long by itself, as the server is far away,
    many may be under way.
    """

    __slots__ = ("_before", "_begun", "_places", "_quickest")

    def __init__(self, places: int) -> None:
        self._places = float(places)
        self._quickest = self._before = inf  # since `_begun`, and in the time before that
        self._begun = -inf

    def __int__(self) -> int:
        return int(self._places)

    def took(self, seconds: float, now: float, *, all_taken: bool) -> None:
        """One that had a place has ended."""
        if now - self._begun > REMEMBERED_SECONDS:
            self._before, self._quickest, self._begun = self._quickest, inf, now
        self._quickest = min(self._quickest, seconds)
        quick_seconds = max(SLOW * min(self._quickest, self._before), QUICK_SECONDS)
        if seconds > quick_seconds:
            self._places = max(self._places - 4 / self._places, LEAST_PLACES)
        elif all_taken:
            self._places = min(self._places + 1 / self._places, MOST_PLACES)


class Places:
    """`at_a_time` of them at first (see `_Number`). Of those that wait, each owner gets one in
    turn, however many wait."""

    def __init__(self, clock: Clock, at_a_time: int) -> None:
        self._clock = clock
        self._at_a_time = _Number(at_a_time)
        self._begun: dict[object, float] = {}  # since when each place is taken, in order
        self._ended = -inf  # when one was given back last
        self._lately: dict[Hashable, float] = {}  # when owners got their last place, in order
        self._rested: _Waiting = {}
        self._others: _Waiting = {}
        self._giving = False
        self._look = Debounced(clock, HOLD_SECONDS, self._give_back_held)

    def stop(self) -> None:
        self._look.cancel()

    @asynccontextmanager
    async def place(self, owner: Hashable) -> AsyncIterator[None]:
        """Inside it `owner` has one."""
        if self._has_free and not self._is_waited_for:
            place = self._take(owner)
        else:
            place = await self._turn_of(owner)
        try:
            yield
        finally:
            begun = self._begun.get(place)
            if begun is not None:
                self._end(place, self._clock.seconds() - begun)

    @property
    def _has_free(self) -> bool:
        return len(self._begun) < int(self._at_a_time)

    @property
    def _is_waited_for(self) -> bool:
        return bool(self._rested or self._others)

    def _take(self, owner: Hashable) -> object:
        self._forget_rested()
        place, now = object(), self._clock.seconds()
        self._begun[place] = now
        self._lately.pop(owner, None)
        self._lately[owner] = now
        return place

    def _end(self, place: object, seconds: float) -> None:
        self._ended = self._clock.seconds()
        self._at_a_time.took(seconds, self._ended, all_taken=not self._has_free)
        del self._begun[place]
        self._give()

    def _forget_rested(self) -> None:
        rested_since = self._clock.seconds() - RESTED_SECONDS
        while self._lately:
            owner = next(iter(self._lately))
            if self._lately[owner] > rested_since:
                return
            del self._lately[owner]

    def _turn_of(self, owner: Hashable) -> Deferred[object]:
        self._forget_rested()
        queue = self._others if owner in self._lately else self._rested
        turn: Deferred[object] = Deferred(lambda turn: _leave(queue, owner, turn))
        queue.setdefault(owner, deque()).append(turn)
        self._look.request(self._until_held_seconds())
        return turn

    def _give(self) -> None:
        if self._giving:
            return  # one that was given a place has ended at once: the caller that gives sees it
        self._giving = True
        try:
            while self._is_waited_for and self._has_free:
                owner, turn = _next_of(self._rested or self._others)
                turn.callback(self._take(owner))
        finally:
            self._giving = False

    def _until_held_seconds(self) -> float:
        """For how long the oldest still holds its place, if nothing ends."""
        now = self._clock.seconds()
        oldest = next(iter(self._begun.values()), now)
        return max(max(oldest, self._ended) + HOLD_SECONDS - now, 0.0)

    def _give_back_held(self) -> None:
        if self._until_held_seconds() < NEARLY_SECONDS:
            self._free_held()
        if self._is_waited_for:
            self._look.request(self._until_held_seconds())

    def _free_held(self) -> None:
        now = self._clock.seconds()
        for place, since in list(self._begun.items()):
            if now - since < HOLD_SECONDS - NEARLY_SECONDS:
                break
            del self._begun[place]
        self._give()


def _next_of(queue: _Waiting) -> tuple[Hashable, Deferred[object]]:
    owner = next(iter(queue))
    turns = queue.pop(owner)
    turn = turns.popleft()
    if turns:
        queue[owner] = turns  # behind the others
    return owner, turn


def _leave(queue: _Waiting, owner: Hashable, turn: Deferred[object]) -> None:
    queue[owner].remove(turn)
    if not queue[owner]:
        del queue[owner]
