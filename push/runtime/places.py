"""Places for what is done at a time: the rest waits, however many there are of it.

Other ways to wait: architecture, "Who waits for a turn".
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import asynccontextmanager
from math import inf
from typing import Final

from twisted.internet.defer import Deferred

from push.runtime.owner_queue import OwnerQueue
from push.runtime.ports import Clock
from push.runtime.timers import Debounced, sleep

# When nothing has ended for so long, and it may hang, what is still done holds up nobody any more:
# its server may be unreachable, and others are not.
HOLD_SECONDS = 0.1
# What is still done after this long holds up nobody in any case, and counts as slow.
MOST_HOLD_SECONDS = 1.0
MOST_REST_SECONDS = 0.1
NEARLY_SECONDS = 0.001  # sums of seconds are not exact
# An owner who has had no place for so long comes before those who had one.
RESTED_SECONDS = 0.05
OTHERS_TURN: Final = 4  # but each such place is for one of the others, however many come
FORGET_SECONDS: Final = 1.0  # how often those are forgotten who rested

# For so long places are given in a turn of the reactor: what is refused at once ends at once, and
# the next gets its place, and thousands may wait.
GIVE_SECONDS: Final = 0.002

LEAST_PLACES: Final = 4
MOST_PLACES: Final = 64
# So many times as long as the quickest is slow; as quick as the other is quick enough.
SLOW: Final = 3
QUICK_SECONDS: Final = 0.004
# For how long it is remembered how quick one was; twice as long at most.
REMEMBERED_SECONDS: Final = 10.0


class TakenPlace:
    """Of one that is being done. `kind`: what was done, once it was done whole: it is compared with
    others of its kind. What was refused says nothing of how long its kind takes.

    `asks_others`: it waits for other processes, too, or until there is a connection again, and may
    do so for seconds: it holds up others for no longer than what hangs, and the time that it takes
    then says nothing of the server.

    `rests`: so many times as long as it took nobody else gets the place, and its owner waits. For
    what takes the process, or the server, long: others have them in that time."""

    __slots__ = ("asks_others", "begun", "done", "kind", "rests")

    def __init__(self, begun: float) -> None:
        self.begun = begun
        self.done: float | None = None  # when it was, and the rest began
        self.kind: Hashable = None
        self.asks_others = False
        self.rests = 0.0


class _Number:
    """How many places there are (`whole`): as many as do not make each other wait.

    One that takes much longer than the quickest of its kind did lately has waited for the others,
    at the server or in this process: while one of five is such, there are fewer. Those that do not,
    while all places are taken, make them more: where each takes long by itself, as the server is
    far away, many may be under way.
    """

    __slots__ = ("_before", "_begun", "_places", "_quickest", "whole")

    def __init__(self, places: int) -> None:
        self.whole = places
        self._places = float(places)
        # Of each kind, since `_begun`, and in the time before that.
        self._quickest: dict[Hashable, float] = {}
        self._before: dict[Hashable, float] = {}
        self._begun = -inf

    def took(self, kind: Hashable, seconds: float, now: float, *, all_taken: bool) -> None:
        """One that had a place was done."""
        if now - self._begun > REMEMBERED_SECONDS:
            self._before, self._quickest, self._begun = self._quickest, {}, now
        self._quickest[kind] = quickest = min(self._quickest.get(kind, inf), seconds)
        quick_seconds = max(SLOW * min(quickest, self._before.get(kind, inf)), QUICK_SECONDS)
        if seconds > quick_seconds:
            self.one_is_slow()
        elif all_taken:
            self._places = min(self._places + 1 / self._places, MOST_PLACES)
            self.whole = int(self._places)

    def one_is_slow(self) -> None:
        self._places = max(self._places - 4 / self._places, min(self._places, LEAST_PLACES))
        self.whole = int(self._places)


class Places:
    """`at_a_time` of them at first (see `_Number`). Of those that wait, each owner gets one in
    turn, however many wait: first those who rested (`RESTED_SECONDS`), but not every time.

    `hold_seconds`, `most_hold_seconds`: see `HOLD_SECONDS` and `MOST_HOLD_SECONDS`.
    `may_hang(seconds)`: whether a server may have answered nothing for so long. Where each only
    takes long, more of them at a time would take longer still."""

    def __init__(
        self,
        clock: Clock,
        at_a_time: int,
        *,
        hold_seconds: float = HOLD_SECONDS,
        most_hold_seconds: float = MOST_HOLD_SECONDS,
    ) -> None:
        self.may_hang: Callable[[float], bool] = lambda seconds: True
        self._clock = clock
        self._hold_seconds = hold_seconds
        self._most_hold_seconds = most_hold_seconds
        self._at_a_time = _Number(at_a_time)
        self._taken: dict[TakenPlace, None] = {}  # in the order in which they were
        self._ended = -inf  # when one was given back last
        self._lately: dict[Hashable, float] = {}  # when owners got their last place
        self._forget_at = -inf
        self._rested: OwnerQueue[TakenPlace] = OwnerQueue()
        self._others: OwnerQueue[TakenPlace] = OwnerQueue()
        self._passed_over = 0  # so many times the others were, one after the other
        self._giving = False
        self._next_turn = Debounced(clock, 0, self._give)
        self._look = Debounced(clock, HOLD_SECONDS, self._give_back_held)

    def stop(self) -> None:
        self._look.cancel()
        self._next_turn.cancel()

    @asynccontextmanager
    async def place(self, owner: Hashable) -> AsyncIterator[TakenPlace]:
        """Inside it `owner` has one."""
        place = self.take(owner) or await self.wait(owner)
        try:
            yield place
            if place.rests:
                place.done = self._clock.seconds()
                rest_seconds = min((place.done - place.begun) * place.rests, MOST_REST_SECONDS)
                if rest_seconds > 0:
                    await sleep(self._clock, rest_seconds)
        finally:
            self.end(place)

    def take(self, owner: Hashable) -> TakenPlace | None:
        """One at once, if one is free: to be ended. None: see `wait`."""
        # For each request: as few calls as can be.
        if self._rested.waiting or self._others.waiting:
            return None
        if len(self._taken) >= self._at_a_time.whole:
            return None
        now = self._lately[owner] = self._clock.seconds()
        if now > self._forget_at:
            self._forget_rested(now)
        place = TakenPlace(now)
        self._taken[place] = None
        return place

    @property
    def _has_free(self) -> bool:
        return len(self._taken) < self._at_a_time.whole

    @property
    def is_waited_for(self) -> bool:
        return bool(self._rested.waiting or self._others.waiting)

    def end(self, place: TakenPlace) -> None:
        """What had it is done."""
        if place not in self._taken:
            return  # it was held for long, and given back
        self._ended = now = self._clock.seconds()
        if place.kind is not None:
            all_taken = not self._has_free
            took_seconds = (now if place.done is None else place.done) - place.begun
            if not place.asks_others or took_seconds < self._hold_seconds:
                self._at_a_time.took(place.kind, took_seconds, now, all_taken=all_taken)
        del self._taken[place]
        if self._rested.waiting or self._others.waiting:
            self._give()

    def _forget_rested(self, now: float) -> None:
        self._forget_at = now + FORGET_SECONDS
        since = now - RESTED_SECONDS
        self._lately = {owner: at for owner, at in self._lately.items() if at > since}

    def waiting_of(self, owner: Hashable) -> int:
        """How many of the owner wait."""
        return self._rested.waiting_of(owner) + self._others.waiting_of(owner)

    def wait(self, owner: Hashable) -> Deferred[TakenPlace]:
        """Fires when there is one for the owner."""
        rested_since = self._clock.seconds() - RESTED_SECONDS
        is_rested = self._lately.get(owner, -inf) <= rested_since
        turn = (self._rested if is_rested else self._others).wait(owner)
        self._look.request(self._until_held_seconds())
        return turn

    def _give(self) -> None:
        # One that was given a place has ended at once: the caller that gives sees it. Or this turn
        # has had its time.
        if self._giving or self._next_turn.is_waiting:
            return
        self._giving = True
        begun = self._clock.seconds()
        try:
            while self.is_waited_for and self._has_free:
                now = self._clock.seconds()
                if now - begun > GIVE_SECONDS:
                    self._next_turn.request()
                    break
                owner, turn = self._next_queue().pop()
                self._lately[owner] = now
                if now > self._forget_at:
                    self._forget_rested(now)
                place = TakenPlace(now)
                self._taken[place] = None
                turn.callback(place)
        finally:
            self._giving = False

    def _next_queue(self) -> OwnerQueue[TakenPlace]:
        if self._rested.waiting and self._others.waiting:
            self._passed_over += 1
            if self._passed_over < OTHERS_TURN:
                return self._rested
        elif self._rested.waiting:
            return self._rested
        self._passed_over = 0
        return self._others

    def _until_held_seconds(self) -> float:
        """For how long the oldest still holds its place, if nothing ends."""
        now = self._clock.seconds()
        oldest = next((place.begun for place in self._taken), now)
        until = min(max(oldest, self._ended) + self._hold_seconds, oldest + self._most_hold_seconds)
        return max(until - now, 0.0)

    def _give_back_held(self) -> None:
        self._free_held()
        if self.is_waited_for:
            until_seconds = self._until_held_seconds()
            if until_seconds < NEARLY_SECONDS:
                until_seconds = self._hold_seconds  # they do not hang now, and may then
            self._look.request(until_seconds)

    def _free_held(self) -> None:
        now = self._clock.seconds()
        hang = now - self._ended > self._hold_seconds - NEARLY_SECONDS and self.may_hang(
            self._hold_seconds - NEARLY_SECONDS
        )
        for place in list(self._taken):
            says_nothing = hang or (place.asks_others and place.done is None)
            held_seconds = self._hold_seconds if says_nothing else self._most_hold_seconds
            if now - place.begun < held_seconds - NEARLY_SECONDS:
                continue
            del self._taken[place]
            if not says_nothing:
                self._at_a_time.one_is_slow()
        self._give()
