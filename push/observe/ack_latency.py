"""The time from the publishing of a message to its acknowledgement, as a histogram.

The offset of a stored message is when it was published, by the clock of its Redis server; so the
time is known without anything that is kept for it. Counted are messages that were published while
the device's session was open: what had waited for an offline device says nothing of the system.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Protocol

from push.redis.clock import MICROSECONDS
from push.runtime.histogram import Histogram

_10 = (1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000)
_STEPS = (1.0, 1.25, 1.6, 2.0, 2.5, 3.2, 4.0, 5.0, 6.4, 8.0)
# Upper bounds in microseconds, ten in each power of ten, from 0.1 ms to 60 s: fine enough for
# quantiles. The last bucket counts everything above the highest bound.
BOUNDS_US: tuple[int, ...] = (
    *(round(step * _10[power]) for power in range(2, 7) for step in _STEPS),
    *(round(step * _10[7]) for step in (1.0, 1.25, 1.6, 2.0, 2.5, 3.0, 4.0, 6.0)),
)


class Times(Protocol):
    """The clocks of the Redis servers, as far as they are ahead of a monotonic one."""

    @property
    def seconds(self) -> Callable[[], float]:
        """The monotonic clock."""

    def ahead_us(self, number: int) -> int:
        """How far the clock of server `number` is ahead of that, in microseconds."""


class AckLatency:
    """What one connector has measured since its start.

    A message is acknowledged by many devices at about the same time. Until the time since its
    publishing has left the bucket of the first of them, the others are only counted.
    """

    __slots__ = (
        "_ahead_us",
        "_alike",
        "_alike_ahead_us",
        "_alike_seconds",
        "_counts",
        "_offset",
        "_place",
        "_seconds",
        "_sum_us",
        "_until",
    )

    def __init__(self, times: Times) -> None:
        self._seconds = times.seconds
        self._ahead_us = times.ahead_us
        self._counts = [0] * (len(BOUNDS_US) + 1)
        self._sum_us = 0
        # Of the last message; what of it is not in the sums yet, with the sum of the times when.
        self._offset = self._place = self._alike = self._alike_ahead_us = 0
        self._until = self._alike_seconds = 0.0

    def note(self, shard: int, offset: int) -> None:
        """The message at `offset` on server number `shard` was acknowledged now."""
        now = self._seconds()
        if offset == self._offset and now < self._until:
            self._alike += 1
            self._alike_seconds += now
            return
        self._settle()
        self._alike, self._alike_seconds = 1, now
        ahead_us = self._ahead_us(shard)
        now_us = round(now * MICROSECONDS) + ahead_us
        self._offset = offset
        self._place = place = bisect_left(BOUNDS_US, now_us - offset)
        last_us = offset + BOUNDS_US[place] if place < len(BOUNDS_US) else now_us
        # A clock that is behind measures nothing below zero.
        self._alike_ahead_us = max(ahead_us, ahead_us + offset - now_us)
        self._until = (last_us - self._alike_ahead_us) / MICROSECONDS

    def _settle(self) -> None:
        count, self._alike = self._alike, 0
        seconds, self._alike_seconds = self._alike_seconds, 0.0
        self._counts[self._place] += count
        self._sum_us += round(seconds * MICROSECONDS) + count * (
            self._alike_ahead_us - self._offset
        )

    @property
    def counts(self) -> list[int]:
        """By bucket, not cumulative."""
        self._settle()
        return self._counts

    @property
    def sum_us(self) -> int:
        self._settle()
        return self._sum_us

    def histogram(self) -> Histogram:
        """For a metric: its bounds are some of these."""
        found = Histogram()
        counts, place = self.counts, 0
        for number, bound in enumerate(found.bounds):
            end = bisect_left(BOUNDS_US, round(bound * 1_000_000)) + 1
            found.counts[number] = sum(counts[place:end])
            place = end
        found.counts[-1] = sum(counts[place:])
        found.sum = self.sum_us / 1_000_000
        return found


def quantile_ms(counts: Sequence[int], share: float) -> float | None:
    """The quantile in milliseconds, e.g. 0.99; None when nothing was counted.

    Times are assumed to be spread evenly within a bucket; above the highest, that is it.
    """
    total = sum(counts)
    if not total:
        return None
    rank = share * total
    passed = 0
    for place, count in enumerate(counts):
        if count and passed + count >= rank:
            if place == len(BOUNDS_US):
                break
            low_us = BOUNDS_US[place - 1] if place else 0
            return round((low_us + (BOUNDS_US[place] - low_us) * (rank - passed) / count) / 1000, 3)
        passed += count
    return BOUNDS_US[-1] / 1000
