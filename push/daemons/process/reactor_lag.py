"""How late the reactor is: what it calls later than was asked for, everybody waits for."""

from __future__ import annotations

from push.runtime.histogram import Histogram
from push.runtime.ports import Clock, DelayedCall

INTERVAL_SECONDS = 0.25


class ReactorLag:
    """Asks for a call every quarter of a second. `seconds`: how late they came."""

    def __init__(self, clock: Clock) -> None:
        self.seconds = Histogram()
        self._clock = clock
        self._call: DelayedCall | None = None
        self._due = 0.0

    def start(self) -> None:
        self._due = self._clock.seconds() + INTERVAL_SECONDS
        self._call = self._clock.callLater(INTERVAL_SECONDS, self._called)

    def stop(self) -> None:
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _called(self) -> None:
        self.seconds.observe(max(self._clock.seconds() - self._due, 0.0))
        self.start()
