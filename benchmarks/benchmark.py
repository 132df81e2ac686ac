"""What a benchmark is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.bench import Bench
from benchmarks.results import FigureTable, Table


@dataclass(frozen=True)
class Benchmark:
    """`tables` are printed in their order; those without rounds are left out. `in_all`: it runs
    when no names are given."""

    name: str
    what: str
    run: Callable[[Bench], None]
    tables: Sequence[Table | FigureTable]
    in_all: bool = True
