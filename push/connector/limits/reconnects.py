"""Clients that connect again and again: those wait longer each time.

Counted by what a CONNECT names (a token, or a JWT) together with its address, before anything is
looked up. So a refusal costs nothing, and a stranger who knows a token keeps nobody else away.
"""

from __future__ import annotations

from push.connector.limits.counts import CONNECTS_PER_MINUTE, LimitCounts
from push.wire.addresses import counted_ip
from push.wire.bodies import ConnectRequest
from push.wire.errors import RequestError

WINDOW_SECONDS = 60.0
AFTER_SECONDS = (5, 300)  # the first time, and at most


class Attempts:
    """Of one client. `due`: when all of them would have been made at the rate."""

    __slots__ = ("due", "refused")

    def __init__(self) -> None:
        self.due = 0.0
        self.refused = 0


class Reconnects:
    """At most so many CONNECTs a minute of one client; `per_minute` 0 means no limit.

    Each refusal doubles the time for which the client is to stay away. Who has not tried for one to
    two windows after that is forgotten.
    """

    def __init__(self, per_minute: int, counts: LimitCounts) -> None:
        self._interval_seconds = WINDOW_SECONDS / per_minute if per_minute else 0.0
        self._per_minute = per_minute
        self._counts = counts
        self._young: dict[tuple[object, str], Attempts] = {}
        self._old: dict[tuple[object, str], Attempts] = {}
        self._turned_at = 0.0

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def take(self, asked: ConnectRequest, ip: str, now: float) -> None:
        """One more CONNECT, or `RequestError` `rate_limited`."""
        if not self._per_minute:
            return
        if now - self._turned_at >= WINDOW_SECONDS:
            idle = now - self._turned_at >= 2 * WINDOW_SECONDS
            self._old = {} if idle else self._young
            self._young = {}
            self._turned_at = now
        client = (asked.token or hash(asked.jwt), counted_ip(ip))
        attempts = self._young.get(client)
        if attempts is None:
            attempts = self._old.pop(client, None) or Attempts()
            self._young[client] = attempts
        attempts.due = max(attempts.due, now)
        if attempts.due == now:
            attempts.refused = 0
        if attempts.due - now > WINDOW_SECONDS - self._interval_seconds:
            self._counts.acted[CONNECTS_PER_MINUTE] += 1
            least, most = AFTER_SECONDS
            after_seconds = min(least << min(attempts.refused, 10), most)
            attempts.refused += 1
            raise RequestError(
                "rate_limited",
                f"more than {self._per_minute} connections of this client a minute",
                after_seconds=after_seconds,
            )
        attempts.due += self._interval_seconds

    def give_back(self, token: str, ip: str) -> None:
        """The server itself has ended a session of that token so that it comes again at once: this
        is no flapping."""
        client = (token, counted_ip(ip))
        attempts = self._young.get(client) or self._old.get(client)
        if attempts is not None:
            attempts.due -= self._interval_seconds
