"""Figures of the last minutes and hours in rings of numbers: a fixed size, nothing to clean up.

A slot is a number of steps since 1970: 29,000,000 for the minute that began then. What was not
written, or is too old, is not there.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from math import isnan, nan

from push.wire.api.operate.series import SLOTS_OF_STEP

STEPS = tuple(SLOTS_OF_STEP)
# Of the rings: one more than is told, because the present slot is written and not told.
_SPARE = 2

Counts = tuple[int, ...]  # pairs of a bucket and how many are in it


class _Slots:
    """Which slot each place of a ring has now."""

    def __init__(self, step: int) -> None:
        self.step = step
        self.size = SLOTS_OF_STEP[step] + _SPARE
        self.slots = array("q", [-1]) * self.size

    def place_of(self, slot: int) -> int | None:
        """Where `slot` is, if it is there."""
        place = slot % self.size
        return place if self.slots[place] == slot else None

    def claim(self, slot: int) -> tuple[int, bool]:
        """The place for `slot`; and whether it is new there."""
        place = slot % self.size
        is_new = self.slots[place] != slot
        self.slots[place] = slot
        return place, is_new


class Ring:
    """One figure at all steps. `sums`: its values are added up, else the last one is kept; or with
    `highest` the highest."""

    def __init__(self, *, sums: bool, highest: bool = False) -> None:
        self._sums = sums
        self._highest = highest
        self._rings = [(_Slots(step), array("d", [nan]) * (n + _SPARE)) for step, n in _sizes()]

    def put(self, second: int, value: float) -> None:
        for slots, values in self._rings:
            place, is_new = slots.claim(second // slots.step)
            if is_new or isnan(values[place]):
                values[place] = value
            elif self._sums:
                values[place] += value
            else:
                values[place] = max(values[place], value) if self._highest else value

    def values(self, step: int, first: int, last: int) -> list[float | None]:
        slots, values = next(ring for ring in self._rings if ring[0].step == step)
        found: list[float | None] = []
        for slot in range(first, last + 1):
            place = slots.place_of(slot)
            found.append(None if place is None or isnan(values[place]) else values[place])
        return found


class HistogramRing:
    """A histogram at all steps: only the buckets that are not empty are kept."""

    def __init__(self) -> None:
        self._rings: list[tuple[_Slots, list[Counts]]] = [
            (_Slots(step), [()] * (n + _SPARE)) for step, n in _sizes()
        ]

    def put(self, second: int, counts: Counts) -> None:
        for slots, values in self._rings:
            place, is_new = slots.claim(second // slots.step)
            values[place] = counts if is_new else added((values[place], counts))

    def values(self, step: int, first: int, last: int) -> list[Counts]:
        slots, values = next(ring for ring in self._rings if ring[0].step == step)
        places = (slots.place_of(slot) for slot in range(first, last + 1))
        return [() if place is None else values[place] for place in places]


def _sizes() -> Iterable[tuple[int, int]]:
    return SLOTS_OF_STEP.items()


def sparse(counts: Sequence[int], before: Sequence[int]) -> Counts:
    """What was counted since `before`."""
    found: list[int] = []
    for bucket, (now, then) in enumerate(zip(counts, before, strict=True)):
        if now != then:
            found += (bucket, now - then)
    return tuple(found)


def added(parts: Iterable[Sequence[int]]) -> Counts:
    """Several as one."""
    sums: dict[int, int] = {}
    for part in parts:
        for bucket, count in zip(part[::2], part[1::2], strict=True):
            sums[bucket] = sums.get(bucket, 0) + count
    return tuple(number for pair in sorted(sums.items()) for number in pair)
