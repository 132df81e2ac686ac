"""Durations, counted by how long they took: what a metric shows as a histogram."""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate

# 1-2.5-5 from 1 ms to 30 s: https://prometheus.io/docs/practices/histograms
DURATION_BOUNDS = (
    *(0.001, 0.0025, 0.005),
    *(0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0),
    *(10.0, 30.0),
)


class Histogram:
    """`counts[n]`: how many seconds were at most `bounds[n]`, and more than the bound before; the
    last one has no bound."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...] = DURATION_BOUNDS) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.sum += seconds

    def buckets(self) -> list[tuple[str, int]]:
        """As Prometheus has them: each upper bound with the number of all that are not above it."""
        numbers = accumulate(self.counts)
        return list(zip((*map(str, self.bounds), "+Inf"), numbers, strict=True))
