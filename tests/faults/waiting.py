"""Waiting for conditions; nothing here is a matter of speed, so the deadlines are generous."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

DEADLINE_SECONDS = 60.0
LOOK_SECONDS = 0.03


def wait_for(
    condition: Callable[[], Any],
    what: str | Callable[[], str],
    *,
    deadline_seconds: float = DEADLINE_SECONDS,
) -> Any:
    """The first true value of `condition`; fails with `what` was waited for."""
    deadline = time.monotonic() + deadline_seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            text = what() if callable(what) else what
            raise AssertionError(f"not within {deadline_seconds:g} s: {text}")
        time.sleep(LOOK_SECONDS)
    return value
