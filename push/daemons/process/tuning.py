"""What a daemon changes in its process before it starts."""

from __future__ import annotations

import gc
import time
from typing import Any


def use_monotonic_clock(reactor: Any) -> None:  # Any: a method of it is replaced
    """Let the reactor's timers run by a clock that nobody sets.

    Twisted's default is the time of the day: set back by an hour, no heartbeat or deadline
    would be due for an hour.
    """
    reactor.seconds = time.monotonic


def collect_garbage_less_often() -> None:
    """A fan-out makes many short-lived objects and no cycles.

    With the interpreter's default of 700 objects, a tenth of its time went into looking through all
    sessions for garbage that is not there.
    """
    gc.set_threshold(50_000, 50, 50)
