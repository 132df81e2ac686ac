"""Token buckets by a fake time: what is let through, and what is remembered."""

from __future__ import annotations

from push.connector.limits.counts import BYTES_PER_SECOND, FRAMES_PER_SECOND
from push.connector.limits.session_rates import Rates, SessionRates

RATES = Rates(frames_per_second=200, bytes_per_second=1 << 20)


def test_a_burst_is_let_through_and_then_the_rate() -> None:
    rates = SessionRates(RATES)
    assert rates.take("a", 1000, 10_000, now=100.0) is None
    assert rates.take("a", 1, 10, now=100.0) == FRAMES_PER_SECOND
    assert rates.limit_over("a", 100.01) is None  # one frame later
    for second in range(1, 60):
        assert rates.take("a", 199, 1990, now=100.0 + second) is None
    assert rates.take("b", 1000, 10_000, now=159.0) is None  # nobody else notices


def test_bytes_have_a_rate_of_their_own() -> None:
    rates = SessionRates(RATES)
    assert rates.take("a", 1, 8 << 20, now=5.0) is None
    assert rates.take("a", 1, 1 << 20, now=5.0) == BYTES_PER_SECOND
    assert rates.limit_over("a", 5.9) == BYTES_PER_SECOND
    assert rates.limit_over("a", 6.01) is None


def test_0_is_no_limit() -> None:
    rates = SessionRates(Rates(0, 0))
    assert rates.take("a", 1_000_000, 1 << 40, now=1.0) is None


def test_over_the_rate_is_counted_until_it_was_calm() -> None:
    rates = SessionRates(RATES)
    rates.take("a", 2000, 0, now=10.0)
    assert rates.over_seconds("a", 13.0) == 3.0
    rates.take("a", 400, 0, now=14.0)  # goes on, just at its rate
    rates.take("a", 1000, 0, now=16.0)
    assert rates.over_seconds("a", 19.0) == 9.0
    rates.take("a", 1, 0, now=40.0)
    assert rates.over_seconds("a", 40.0) == 0.0


def test_only_who_has_sent_something_lately_is_remembered() -> None:
    rates = SessionRates(RATES)
    for n in range(1000):
        rates.take(n, 1, 10, now=0.0)
    assert len(rates) == 1000
    rates.take("a", 1, 10, now=9.0)
    assert len(rates) == 1001  # a bucket may still be less than full
    rates.take("a", 1, 10, now=18.0)
    assert len(rates) == 1
    rates.forget("a")
    assert len(rates) == 0


def test_a_bucket_lives_through_the_change_of_generations() -> None:
    rates = SessionRates(RATES)
    for tenth in range(200):
        limit = rates.take("a", 50, 0, now=tenth / 10)
    assert limit == FRAMES_PER_SECOND
    assert rates.over_seconds("a", 20.0) > 10.0
