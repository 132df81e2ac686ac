"""How much a run does of what is repeated, random or measured.

What every run does is enough to find what is always wrong, and most of what is seldom wrong over
some days of runs. `PUSH_TEST_LONG=1` is the long form: after a change of what such a test is about.
"""

from __future__ import annotations

import os
from typing import TypeVar

T = TypeVar("T")

LONG = os.environ.get("PUSH_TEST_LONG", "") not in ("", "0")


def amount(every_run: T, long_form: T) -> T:
    """How many rounds, or which cases, this run is to do."""
    return long_form if LONG else every_run
