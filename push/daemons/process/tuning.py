"""What a daemon changes in its process before it starts."""

from __future__ import annotations

import gc
import time
from typing import Any

# Of new objects; of collections of those, until older ones are looked at; and so on.
GARBAGE_THRESHOLDS = (10_000, 50, 50)


def use_monotonic_clock(reactor: Any) -> None:  # Any: a method of it is replaced
    """Let the reactor's timers run by a clock that nobody sets.

    Twisted's default is the time of the day: set back by an hour, no heartbeat or deadline
    would be due for an hour.
    """
    reactor.seconds = time.monotonic


def collect_garbage_less_often(reactor: Any) -> None:  # Any: as above
    """A fan-out makes many short-lived objects and no cycles.

    With the interpreter's default of 700 objects, a tenth of its time went into looking through all
    sessions for garbage that is not there. With 50,000 a flood of requests, each with a few cycles
    that are not ours, stopped the process for 50 ms at once. What the start has made stays: it is
    not looked at again.
    """
    gc.set_threshold(*GARBAGE_THRESHOLDS)
    reactor.callWhenRunning(_keep)


def _keep() -> None:
    gc.collect()
    gc.freeze()
