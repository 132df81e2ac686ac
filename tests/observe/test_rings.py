"""Rings of figures."""

from __future__ import annotations

from push.observe.rings import HistogramRing, Ring, added, sparse

START = 1_700_000_040  # a whole minute


def test_counts_are_summed_over_coarser_steps_and_gauges_are_not() -> None:
    counts, gauge = Ring(sums=True), Ring(sums=False)
    highest = Ring(sums=False, highest=True)
    for second in range(60):
        counts.put(START + second, second)
        gauge.put(START + second, second)
        highest.put(START + second, 60 - second)
    for ring, of_ten, of_sixty in ((counts, 45, 1770), (gauge, 9, 59), (highest, 60, 60)):
        first = START // 10
        assert ring.values(10, first, first)[0] == of_ten
        assert ring.values(60, START // 60, START // 60)[0] == of_sixty
    assert counts.values(1, START, START + 2) == [0, 1, 2]


def test_what_was_not_written_or_is_too_old_is_not_there() -> None:
    ring = Ring(sums=True)
    ring.put(START, 7)
    ring.put(START + 2, 8)
    assert ring.values(1, START - 1, START + 3) == [None, 7, None, 8, None]
    ring.put(START + 1000, 9)
    assert ring.values(1, START, START + 2)[0] in (None, 7)
    for second in range(302):
        ring.put(START + 1000 + second, 1)
    assert ring.values(1, START, START + 2) == [None, None, None]
    assert ring.values(1, START + 1300, START + 1301) == [1, 1]


def test_histograms_are_added_bucket_by_bucket() -> None:
    ring = HistogramRing()
    ring.put(START, sparse([1, 0, 5], [0, 0, 2]))
    ring.put(START + 1, sparse([1, 2, 5], [1, 0, 2]))
    assert ring.values(1, START, START + 2) == [(0, 1, 2, 3), (1, 2, 2, 3), ()]
    assert ring.values(10, START // 10, START // 10) == [(0, 1, 1, 2, 2, 6)]
    assert added([(0, 1, 2, 3), (), (2, 1)]) == (0, 1, 2, 4)
