"""Connections whose bytes come a few at a time.

Each read costs the same, whether it brings a byte or a thousand. So a connection that has brought
little several times rests, and what it sends meanwhile comes in one read.
"""

from __future__ import annotations

from typing import Protocol

from push.runtime.ports import Clock
from push.runtime.timers import Debounced

REST_SECONDS = 0.1
# With many of them the rest is longer: together they are read 2,000 times a second at most.
REST_SECONDS_EACH = 0.0005


class RestingConnection(Protocol):
    def read_again(self) -> None: ...


class SmallReads:
    """Those that rest, all until the same moment."""

    def __init__(self, clock: Clock) -> None:
        self._resting: list[RestingConnection] = []
        self._rest_seconds = REST_SECONDS
        self._rest = Debounced(clock, REST_SECONDS, self._end)

    def add(self, connection: RestingConnection) -> None:
        self._resting.append(connection)
        self._rest.request(self._rest_seconds)

    def _end(self) -> None:
        resting, self._resting = self._resting, []
        self._rest_seconds = max(REST_SECONDS, len(resting) * REST_SECONDS_EACH)
        for connection in resting:
            connection.read_again()
