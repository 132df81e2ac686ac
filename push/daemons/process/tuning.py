"""What a daemon changes in its process before it starts."""

from __future__ import annotations

import gc
import select
import time
from collections.abc import Callable
from typing import Any

from twisted.logger import Logger

log = Logger()

# Of new objects; of collections of those, until older ones are looked at; and so on.
GARBAGE_THRESHOLDS = (10_000, 50, 50)


def tune(reactor: Any) -> None:  # Any: methods of it are replaced
    """All of it."""
    use_monotonic_clock(reactor)
    read_without_log_context()
    collect_garbage_less_often(reactor)


def use_monotonic_clock(reactor: Any) -> None:  # Any: as above
    """Let the reactor's timers run by a clock that nobody sets.

    Twisted's default is the time of the day: set back by an hour, no heartbeat or deadline
    would be due for an hour.
    """
    reactor.seconds = time.monotonic


def read_without_log_context() -> None:
    """Let Twisted's reactor call readers and writers without a context for its old log.

    The context says who is called, which none of our log lines tells. To make it took 10 of 290
    calls of functions for a push by HTTP.
    """
    if hasattr(select, "epoll"):
        from twisted.internet import epollreactor

        # The reactor uses one function of the module that this replaces.
        epollreactor.log = _WithoutContext  # type: ignore[assignment,attr-defined]


class _WithoutContext:
    """In place of `twisted.python.log`."""

    @staticmethod
    def callWithLogger(_reader: object, call: Callable[..., object], *arguments: object) -> None:
        try:
            call(*arguments)
        except Exception:
            log.failure("The reactor could not call {call}", call=call, event="reactor.call_failed")


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
