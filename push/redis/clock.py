"""What this process knows of a Redis server's clock (architecture, rule 1).

The clock is the highest offset or time that the server gave, in microseconds since 1970. Between
two answers it runs on by this process's monotonic time, a thousandth slower than real, so that two
processes that hand each other's estimate to the server cannot drive its clock ahead of time.
"""

from __future__ import annotations

from collections.abc import Callable

MICROSECONDS = 1_000_000


class ServerClock:
    """An estimate of the server's clock that never goes back and is never ahead."""

    def __init__(self, monotonic_seconds: Callable[[], float]) -> None:
        self._monotonic = monotonic_seconds
        self._seen_us = 0
        self._seen_at = monotonic_seconds()

    def observe(self, clock_us: int) -> int:
        """Take note of a time or offset that the server gave. Returns `now_us()`."""
        now_us = self.now_us()
        if clock_us <= now_us:
            return now_us
        self._seen_us = clock_us
        self._seen_at = self._monotonic()
        return clock_us

    def now_us(self) -> int:
        """The floor for the server's next offset; 0 before the server's first answer."""
        if not self._seen_us:
            return 0
        elapsed = self._monotonic() - self._seen_at
        return self._seen_us + int(elapsed * 0.999 * MICROSECONDS)

    def now_ms(self) -> int:
        """The same in milliseconds."""
        return self.now_us() // 1000
