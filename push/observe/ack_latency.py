"""The time from the publishing of a message to its acknowledgement, as a histogram.

The offset of a stored message is when it was published, by the clock of its Redis server; so the
time is known without anything that is kept for it. Counted are messages that were published while
the device's session was open: what had waited for an offline device says nothing of the system.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Protocol

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
    """The clocks of the Redis servers."""

    def now_us(self, number: int) -> int: ...


class AckLatency:
    """What one connector has measured since its start. `counts`: by bucket, not cumulative."""

    __slots__ = ("_now_us", "counts", "sum_us")

    def __init__(self, times: Times) -> None:
        self._now_us = times.now_us
        self.counts = [0] * (len(BOUNDS_US) + 1)
        self.sum_us = 0

    def note(self, shard: int, offset: int) -> None:
        """The message at `offset` on server number `shard` was acknowledged now."""
        took_us = self._now_us(shard) - offset
        if took_us < 0:
            took_us = 0
        self.counts[bisect_left(BOUNDS_US, took_us)] += 1
        self.sum_us += took_us

    def histogram(self) -> Histogram:
        """For a metric: its bounds are some of these."""
        found = Histogram()
        place = 0
        for number, bound in enumerate(found.bounds):
            end = bisect_left(BOUNDS_US, round(bound * 1_000_000)) + 1
            found.counts[number] = sum(self.counts[place:end])
            place = end
        found.counts[-1] = sum(self.counts[place:])
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
