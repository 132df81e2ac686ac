"""Whose request is served next: a turn of the reactor serves a few, and of a connection one.

So a client that sends hundreds of requests at once waits itself, and nobody else: between two turns
devices, Redis and the other connections are served.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from push.runtime.ports import Clock, DelayedCall

REQUESTS_A_TURN = 8
BODY_BYTES_OF_A_REQUEST = 128 * 1024  # a larger body counts as so many requests


class Turns:
    """Serves requests in the order in which they came. A connection has one at a time here."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waiting: deque[tuple[object, int, Callable[[], object]]] = deque()
        self._served: set[object] = set()  # connections, in this turn
        self._left = REQUESTS_A_TURN
        self._next: DelayedCall | None = None

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def serve(self, connection: object, body_bytes: int, serve: Callable[[], object]) -> None:
        """Call `serve`: now, or in the first turn that has room for it."""
        cost = 1 + body_bytes // BODY_BYTES_OF_A_REQUEST
        if self._waiting or connection in self._served or not self._has_room(cost):
            self._waiting.append((connection, cost, serve))
        else:
            self._serve(connection, cost, serve)
        if self._next is None:
            self._next = self._clock.callLater(0, self._turn)

    def _has_room(self, cost: int) -> bool:
        return cost <= self._left or not self._served  # one is always served, whatever it costs

    def _turn(self) -> None:
        self._served.clear()
        self._left = REQUESTS_A_TURN
        is_needed = bool(self._waiting)  # this turn serves, too
        self._next = self._clock.callLater(0, self._turn) if is_needed else None
        while self._waiting and self._has_room(self._waiting[0][1]):
            connection, cost, serve = self._waiting[0]
            if connection in self._served:
                break
            self._waiting.popleft()
            self._serve(connection, cost, serve)

    def _serve(self, connection: object, cost: int, serve: Callable[[], object]) -> None:
        self._served.add(connection)
        self._left -= cost
        serve()
