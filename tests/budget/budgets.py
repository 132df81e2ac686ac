"""The table of budgets: `python -m tests.budget --write` measures and writes its lines again."""

from __future__ import annotations

from typing import NamedTuple


class Budget(NamedTuple):
    """`today`: as it was measured last; `most`: what the test accepts."""

    work: str
    what: str
    today: float
    most: float


BUDGETS: tuple[Budget, ...] = ()
