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
# A call that takes so much longer than the quickest of all calls to the server is slow: it takes
# long by itself, or has waited for others, at the server or in this process.
SLOW_SECONDS: Final = 0.004
# For how long it is remembered how quick one was; twice as long at most.
REMEMBERED_SECONDS: Final = 10.0
# What took so much longer than the quickest is followed by a rest of that time, if others wait.
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


class PatientCalls:
    """Of those that wait, each owner is next in turn, however many wait of one.

    While one of five is slow, there are fewer at a time, two at least. While none is, and all are
    used, there are more: to a server that is far away many may be under way. No call is waited for
    that the server does not answer: it fails with the connection, and the next ones at once.
    """

    def __init__(self, clock: Clock, measures: RedisMeasures) -> None:
        self._clock = clock
        self._measures = measures
        self._quickest_before = inf
        self._forget_at = -inf
        self._at_a_time = float(CALLS_AT_A_TIME)
        self._under_way = 0
        self._waiting: OwnerQueue[None] = OwnerQueue()
        self._giving = False
        self._is_stopped = False
        self._rest = Debounced(clock, 0, self._give)

    @property
    def at_a_time(self) -> int:
        return int(self._at_a_time)

    @property
    def _has_room(self) -> bool:
        return self._is_stopped or self._under_way < self.at_a_time

    def stop(self) -> None:
        """Nothing waits any more: what is asked of a server that is stopped fails by itself."""
        self._is_stopped = True
        self._rest.cancel()
        self._give()

    async def run(self, owner: Hashable, call: Callable[[], Awaitable[Answer]]) -> Answer:
        """What `call` returns, once it is its turn. Raises `RequestError` `unavailable` where too
        many of the owner wait."""
        if self._waiting.waiting or not self._has_room:
            check_waiting(self._waiting.waiting_of(owner))
            await self._waiting.wait(owner)  # it is counted where the turn is given
        else:
            self._under_way += 1
        begun = self._clock.seconds()
        longer_seconds = 0.0
        try:
            answer = await call()
            longer_seconds = self._took(self._clock.seconds() - begun)
            return answer
        finally:
            self._under_way -= 1
            if self._waiting.waiting:
                self._give_after(longer_seconds)

    def _took(self, seconds: float) -> float:
        """How much longer than the quickest call; it decides how many are done at a time."""
        longer_seconds = max(seconds - self._quickest_seconds(), 0.0)
        if longer_seconds > SLOW_SECONDS:
            self._at_a_time = max(self._at_a_time - 4 / self._at_a_time, LEAST_CALLS)
        elif self._under_way >= self.at_a_time:
            self._at_a_time = min(self._at_a_time + 1 / self._at_a_time, MOST_CALLS)
        return longer_seconds

    def _quickest_seconds(self) -> float:
        now, measures = self._clock.seconds(), self._measures
        if now >= self._forget_at:
            self._quickest_before = measures.quickest_seconds
            self._forget_at, measures.quickest_seconds = now + REMEMBERED_SECONDS, inf
        return min(measures.quickest_seconds, self._quickest_before)

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
