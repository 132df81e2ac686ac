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


def printed(figures: Sequence[Figure]) -> str:
    """Every figure beside its budget."""
    known = {(budget.work, budget.what): budget for budget in BUDGETS}
    lines = [f"{'':66} {'now':>9} {'today':>9} {'at most':>9}"]
    for figure in figures:
        budget = known.get((figure.work, figure.what))
        bounds = f"{budget.today:9,.2f} {budget.most:9,.2f}" if budget else f"{'no budget':>19}"
        note = "  OVER" if budget and figure.value > budget.most else ""
        name = f"{figure.work}: {figure.what.replace('_', ' ')}"
        lines.append(f"{name:66} {figure.value:9,.2f} {bounds}{note}")
    return "\n".join(lines)


def as_source(figures: Sequence[Figure]) -> str:
    """Lines of `BUDGETS`, with a bound 8 % above today's value, or what else a round may have."""
    lines = []
    for figure in figures:
        most = figure.value + max(figure.value * MARGIN, figure.besides)
        today, most = _rounded(figure.value), _rounded(most)
        lines.append(f'    Budget("{figure.work}", "{figure.what}", {today}, {most}),')
    return "\n".join(lines)


def markdown() -> str:
    """What `docs/performance.md` shows: what was measured last."""
    table: dict[str, dict[str, float]] = {}
    for budget in BUDGETS:
        table.setdefault(budget.work, {})[budget.what] = budget.today
    memory = {work: row for work, row in table.items() if "bytes" in row}
    work = {work: row for work, row in table.items() if "calls" in row}
    return f"{_markdown('memory', memory)}\n\n{_markdown('work', work)}"


def _markdown(head: str, table: dict[str, dict[str, float]]) -> str:
    columns = list(next(iter(table.values()), {}))
    lines = [
        [head, *(column.replace("_", " ") for column in columns)],
        ["---"] * (len(columns) + 1),
    ]
    for name, row in table.items():
        lines.append([name, *(f"{row[column]:,g}" for column in columns)])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def write(figures: Sequence[Figure]) -> None:
    head = FILE.read_text().partition(START)[0]
    FILE.write_text(f"{head}{START}\n{as_source(figures)}\n)\n")


def _rounded(value: float) -> str:
    """Up, to three digits that count and at most three behind the point."""
    if value <= 0:
        return "0"
    digits = min(3, max(0, 2 - math.floor(math.log10(value))))
    if value >= 1000:
        return str(math.ceil(value / 10) * 10)
    return f"{math.ceil(value * 10**digits) / 10**digits:g}"
