"""Durations, counted by how long they took."""

from __future__ import annotations

import math

from push.runtime.histogram import DURATION_BOUNDS, Histogram


def test_a_duration_belongs_to_the_first_bound_that_it_is_not_above() -> None:
    histogram = Histogram((0.1, 1.0))
    for seconds in (0.0, 0.1, 0.11, 1.0, 1.5):
        histogram.observe(seconds)
    assert histogram.counts == [2, 2, 1]
    assert math.isclose(histogram.sum, 2.71)


def test_buckets_have_all_that_are_below_their_bound() -> None:
    histogram = Histogram((0.1, 1.0))
    for seconds in (0.05, 0.5, 5.0):
        histogram.observe(seconds)
    assert histogram.buckets() == [("0.1", 1), ("1.0", 2), ("+Inf", 3)]


def test_bounds_go_from_a_millisecond_to_half_a_minute() -> None:
    assert tuple(sorted(set(DURATION_BOUNDS))) == DURATION_BOUNDS
    assert (DURATION_BOUNDS[0], DURATION_BOUNDS[-1]) == (0.001, 30.0)
