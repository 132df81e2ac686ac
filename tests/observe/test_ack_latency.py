"""The histogram of the time from publishing to acknowledgement."""

from __future__ import annotations

import random

import pytest

from push.observe.ack_latency import BOUNDS_US, AckLatency, quantile_ms
from push.runtime.histogram import DURATION_BOUNDS


class At:
    """Servers whose clocks are ahead of ours."""

    now_us = 1_000_000_000

    def seconds(self) -> float:
        return self.now_us / 1_000_000

    def ahead_us(self, number: int) -> int:
        return 10**15 * (number + 1)


def measured(*took_us: int) -> AckLatency:
    times = At()
    latency = AckLatency(times)
    for each in took_us:
        latency.note(0, times.now_us + times.ahead_us(0) - each)
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


def test_a_message_of_many_devices_is_measured_for_each() -> None:
    """By far the most fall into the bucket of the one before."""
    times, chance = At(), random.Random(9)
    latency = AckLatency(times)
    published_us = [times.now_us + times.ahead_us(number) for number in (0, 1)]
    took: list[int] = []
    for _ in range(3_000):
        number = chance.randrange(2) if chance.random() < 0.05 else 0
        latency.note(number, published_us[number])
        took.append(times.now_us - At.now_us)
        times.now_us += chance.choice([0, 1, 7, 90, 20_000])
    for bound_seconds, count in latency.histogram().buckets():
        assert count == sum(each <= float(bound_seconds) * 1_000_000 + 0.5 for each in took)
    assert sum(latency.counts) == len(took)
    assert latency.sum_us == pytest.approx(sum(took), rel=1e-6)


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
