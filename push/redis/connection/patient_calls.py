"""Calls of one Redis server that can wait: what reads much for one answer, as a page of a list.

Redis does one thing after the other. What many ask for at a time would be done before
everything else, and its answers would come to this process all at once. So as many are under way as
do not make others wait, however many wait here.

Other ways to wait: architecture, "Who waits for a turn".
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from math import inf
from typing import Final, TypeVar

from push.redis.connection.measures import RedisMeasures
from push.runtime.owner_queue import OwnerQueue
from push.runtime.ports import Clock
from push.runtime.timers import Debounced
from push.wire.errors import RequestError

CALLS_AT_A_TIME: Final = 16  # at first
LEAST_CALLS: Final = 2
MOST_CALLS: Final = 64
# A call that takes so much longer than the quickest of all calls to the server, and more than so
# many times as long as the quickest of its kind, is slow: it has waited for others, at the server
# or in this process, or has found more. How late answers from far away are varies by itself.
SLOW_SECONDS: Final = 0.004
SLOW: Final = 2
# For how long it is remembered how quick one was; twice as long at most.
REMEMBERED_SECONDS: Final = 10.0
# What kept the server busy for so long is followed by a rest of that time, if others wait.
LEAST_REST_SECONDS: Final = 0.002
# More than the work of one call: on a busy machine answers are late for other reasons.
MOST_REST_SECONDS: Final = 0.01

# Of one owner: a request that waits does so when the client that sent it has gone, too.
MOST_WAITING: Final = 1024

Answer = TypeVar("Answer")


def check_waiting(number: int) -> None:
    """One more of an owner is to wait, beside so many. Raises `RequestError`."""
    if number >= MOST_WAITING:
        raise RequestError(
            "unavailable", "too many of your requests wait for their turn", after_seconds=1
        )


class _QuickestCalls:
    """How long the quickest took lately, of all calls to a server and of each kind of these."""

    def __init__(self, clock: Clock, measures: RedisMeasures) -> None:
        self._clock = clock
        self._measures = measures
        self._before = inf
        self._of_kinds: dict[Hashable, float] = {}
        self._of_kinds_before: dict[Hashable, float] = {}
        self._forget_at = -inf

    def took(self, kind: Hashable, seconds: float) -> None:
        self._of_kinds[kind] = min(self._of_kinds.get(kind, inf), seconds)

    def of_all(self) -> float:
        """About a round trip to the server."""
        now, measures = self._clock.seconds(), self._measures
        if now >= self._forget_at:
            self._before, self._of_kinds_before = measures.quickest_seconds, self._of_kinds
            measures.quickest_seconds, self._of_kinds = inf, {}
            self._forget_at = now + REMEMBERED_SECONDS
        return min(measures.quickest_seconds, self._before)

    def of_kind(self, kind: Hashable) -> float:
        return min(self._of_kinds.get(kind, inf), self._of_kinds_before.get(kind, inf))

    def own_seconds(self, kind: Hashable) -> float:
        """For how long one keeps the server busy; 0: nobody knows."""
        of_all, of_kind = self.of_all(), self.of_kind(kind)
        return max(of_kind - of_all, 0.0) if of_kind < inf else 0.0


class PatientCalls:
    """Of those that wait, each owner is next in turn, however many wait of one.

    While one of five is slow, there are fewer at a time, two at least. While none is, and all are
    used, there are more: to a server that is far away many may be under way. But no more than keep
    it busy for a round trip, and `SLOW_SECONDS`: more of them would only wait there. No call is
    waited for that the server does not answer: it fails with the connection, and the next ones at
    once.
    """

    def __init__(self, clock: Clock, measures: RedisMeasures) -> None:
        self._clock = clock
        self._quickest = _QuickestCalls(clock, measures)
        self._at_a_time = float(CALLS_AT_A_TIME)
        self._under_way = 0
        self._busy_seconds = 0.0  # for how long these keep the server busy
        self._waiting: OwnerQueue[None] = OwnerQueue()
        self._giving = False
        self._is_stopped = False
        self._rest = Debounced(clock, 0, self._give)

    @property
    def at_a_time(self) -> int:
        return int(self._at_a_time)

    @property
    def _has_room(self) -> bool:
        if self._is_stopped or self._under_way < LEAST_CALLS:
            return True
        if self._under_way >= self.at_a_time:
            return False
        with_one_more_seconds = self._busy_seconds * (1 + 1 / self._under_way)
        return with_one_more_seconds <= self._quickest.of_all() + SLOW_SECONDS

    def stop(self) -> None:
        """Nothing waits any more: what is asked of a server that is stopped fails by itself."""
        self._is_stopped = True
        self._rest.cancel()
        self._give()

    async def run(
        self, owner: Hashable, kind: Hashable, call: Callable[[], Awaitable[Answer]]
    ) -> Answer:
        """What `call` returns, once it is its turn. It is compared with others of its kind. Raises
        `RequestError` `unavailable` where too many of the owner wait."""
        if self._waiting.waiting or not self._has_room:
            check_waiting(self._waiting.waiting_of(owner))
            await self._waiting.wait(owner)  # it is counted where the turn is given
        else:
            self._under_way += 1
        begun = self._clock.seconds()
        own_seconds = self._quickest.own_seconds(kind)
        self._busy_seconds += own_seconds
        rest_seconds = 0.0
        try:
            answer = await call()
            rest_seconds = self._took(kind, self._clock.seconds() - begun)
            return answer
        finally:
            self._under_way -= 1
            # Sums of seconds are not exact.
            self._busy_seconds = self._busy_seconds - own_seconds if self._under_way else 0.0
            if self._waiting.waiting:
                self._give_after(rest_seconds)

    def _took(self, kind: Hashable, seconds: float) -> float:
        """For how long it kept the server busy; it decides how many are done at a time."""
        quickest = self._quickest
        quickest.took(kind, seconds)
        of_all = quickest.of_all()
        if seconds > max(of_all + SLOW_SECONDS, SLOW * quickest.of_kind(kind)):
            self._at_a_time = max(self._at_a_time - 4 / self._at_a_time, LEAST_CALLS)
        elif self._under_way >= self.at_a_time:
            self._at_a_time = min(self._at_a_time + 1 / self._at_a_time, MOST_CALLS)
        if seconds > 2 * of_all:
            return seconds - of_all
        return quickest.own_seconds(kind)  # the rest may be the way

    def _give_after(self, seconds: float) -> None:
        if seconds >= LEAST_REST_SECONDS and not self._is_stopped:
            self._rest.request(min(seconds, MOST_REST_SECONDS))
        elif not self._rest.is_waiting:
            self._give()

    def _give(self) -> None:
        if self._giving:
            return  # one that was given a turn has ended at once: the caller that gives sees it
        self._giving = True
        try:
            while self._waiting.waiting and self._has_room and not self._rest.is_waiting:
                self._under_way += 1
                _, turn = self._waiting.pop()
                turn.callback(None)
        finally:
            self._giving = False
