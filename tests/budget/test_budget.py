"""No piece of work costs more than its budget: memory, calls, system calls, commands of Redis.

These are counts of a daemon whose clock stands still (`counted_daemon.py`), so that a busy machine
changes nothing. `python -m tests.budget` prints them; a change that makes one of them smaller is
kept by the line of `budgets.py` that it changes.
"""

from __future__ import annotations

import pytest

from tests.budget.budgets import BUDGETS
from tests.budget.measuring import Figure, measured
from tests.budget.table import as_source, printed

MOST_LOOKS = 3


def test_no_work_costs_more_than_its_budget(capsys: pytest.CaptureFixture[str]) -> None:
    """What is over is looked at again, with another daemon: when something comes in two pieces, or
    a timer is due, a round counts that too. What costs more costs more each time."""
    most = {(budget.work, budget.what): budget.most for budget in BUDGETS}
    least: dict[tuple[str, str], Figure] = {}
    for _ in range(MOST_LOOKS):
        for figure in measured():
            key = figure.work, figure.what
            least[key] = min(figure, least.get(key, figure), key=lambda each: each.value)
        with capsys.disabled():
            print(f"\n{printed(list(least.values()))}")
        assert set(least) == set(most)
        over = [figure for key, figure in least.items() if figure.value > most[key]]
        if not over:
            break
    assert not over


def test_bounds_are_close_to_what_was_measured() -> None:
    """One far above would let what was gained be lost again."""
    assert all(budget.today <= budget.most for budget in BUDGETS)
    loose = [each for each in BUDGETS if each.most > 1.11 * each.today + 1]
    assert not loose


def test_lines_of_the_table_have_bounds_a_little_above() -> None:
    figures = [
        Figure("work", "bytes", 1234.5),
        Figure("work", "calls", 100.0, 2.0),
        Figure("work", "redis_commands", 0.0, 0.03),
    ]
    assert as_source(figures).splitlines() == [
        '    Budget("work", "bytes", 1240, 1340),',
        '    Budget("work", "calls", 100, 108),',
        '    Budget("work", "redis_commands", 0, 0.03),',
    ]
