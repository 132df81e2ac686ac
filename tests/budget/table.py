"""The table as it is printed, and as it is written into `budgets.py`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from tests.budget.budgets import BUDGETS
from tests.budget.measuring import Figure

FILE = Path(__file__).with_name("budgets.py")
START = "BUDGETS: tuple[Budget, ...] = ("
MARGIN = 0.08
LEAST_MARGIN = 0.02  # of what is next to nothing


def printed(figures: Sequence[Figure]) -> str:
    """Every figure beside its budget."""
    known = {(budget.work, budget.what): budget for budget in BUDGETS}
    lines = [f"{'':60} {'now':>9} {'today':>9} {'at most':>9}"]
    for figure in figures:
        budget = known.get((figure.work, figure.what))
        bounds = f"{budget.today:9,.2f} {budget.most:9,.2f}" if budget else f"{'no budget':>19}"
        note = "  OVER" if budget and figure.value > budget.most else ""
        name = f"{figure.work}: {figure.what.replace('_', ' ')}"
        lines.append(f"{name:60} {figure.value:9,.2f} {bounds}{note}")
    return "\n".join(lines)


def as_source(figures: Sequence[Figure]) -> str:
    """Lines of `BUDGETS`, with a bound 8 % above today's value."""
    lines = []
    for figure in figures:
        most = figure.value + max(figure.value * MARGIN, LEAST_MARGIN)
        today, most = _rounded(figure.value), _rounded(most)
        lines.append(f'    Budget("{figure.work}", "{figure.what}", {today}, {most}),')
    return "\n".join(lines)


def write(figures: Sequence[Figure]) -> None:
    head = FILE.read_text().partition(START)[0]
    FILE.write_text(f"{head}{START}\n{as_source(figures)}\n)\n")


def _rounded(value: float) -> str:
    """Up, to three digits that count and at most two behind the point."""
    if value <= 0:
        return "0"
    digits = min(2, max(0, 2 - math.floor(math.log10(value))))
    if value >= 1000:
        return str(math.ceil(value / 10) * 10)
    return f"{math.ceil(value * 10**digits) / 10**digits:g}"
