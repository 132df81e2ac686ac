"""The histogram of the time from publishing to acknowledgement."""

from __future__ import annotations

import random

import pytest

from push.observe.ack_latency import BOUNDS_US, AckLatency, quantile_ms
from push.runtime.histogram import DURATION_BOUNDS


class At:
    """Servers whose time is `now`."""

    now = 1_000_000_000

    def now_us(self, number: int) -> int:
        return self.now


def measured(*took_us: int) -> AckLatency:
    times = At()
    latency = AckLatency(times)
    for each in took_us:
        latency.note(0, times.now - each)
    return latency


def test_the_bounds_of_the_metric_are_bounds_of_the_histogram() -> None:
    assert {round(each * 1_000_000) for each in DURATION_BOUNDS} <= set(BOUNDS_US)
    assert list(BOUNDS_US) == sorted(set(BOUNDS_US))


def test_each_bucket_of_the_metric_has_what_took_at_most_as_long() -> None:
    took = [random.Random(7).randint(0, 80_000_000) for _ in range(500)]
    took += [*BOUNDS_US, *(bound + 1 for bound in BOUNDS_US)]
    latency = measured(*took)
    for bound_seconds, count in latency.histogram().buckets():
        assert count == sum(each <= float(bound_seconds) * 1_000_000 for each in took)
    assert latency.histogram().sum == pytest.approx(sum(took) / 1_000_000)


def test_a_clock_that_is_behind_measures_nothing_below_zero() -> None:
    latency = measured(-5_000)
    assert latency.sum_us == 0
    assert latency.counts[0] == 1


def test_quantiles_are_as_exact_as_the_buckets() -> None:
    took = sorted(random.Random(8).randint(100, 1_000_000) for _ in range(2000))
    latency = measured(*took)
    for share in (0.5, 0.9, 0.99):
        real_ms = took[int(share * len(took)) - 1] / 1000
        assert quantile_ms(latency.counts, share) == pytest.approx(real_ms, rel=0.3)


def test_there_is_no_quantile_of_nothing_and_a_bound_for_what_took_too_long() -> None:
    assert quantile_ms(measured().counts, 0.5) is None
    assert quantile_ms(measured(10**9).counts, 0.5) == 60_000
