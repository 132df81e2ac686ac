"""When a client doubts its open connection, and when it gives it up. Pure; time is an argument.

Three doubts lead to a PING: `heartbeat` seconds of silence in either direction, a request that
got no answer while nothing else came either, and an application that says that its network changed.
What comes in time ends every doubt; otherwise the connection is dead.
"""

from __future__ import annotations

import math

DEFAULT_HEARTBEAT_SECONDS = 60  # when the server names none
MIN_GRACE_SECONDS = 10.0
MAX_GRACE_SECONDS = 60.0
# An answer takes milliseconds. When nothing at all came for so long after a request, a PING asks
# whether the connection is still there, and its answer may take as long again.
REQUEST_SILENCE_SECONDS = 10.0
# The application has a reason to doubt, and somebody looks at the screen: the answer must be quick.
CHECK_SECONDS = 3.0
# A request that is older than this raises no doubt any more: its sender has given it up.
REQUEST_MEMORY_SECONDS = 60.0


def heartbeat_grace_seconds(heartbeat_seconds: float) -> float:
    """How long the answer to a PING may take: a quarter of the interval, 10 to 60 s."""
    return min(max(heartbeat_seconds / 4, MIN_GRACE_SECONDS), MAX_GRACE_SECONDS)


class Liveness:
    """Seconds of one monotonic clock; `heartbeat_seconds` may change at any time."""

    __slots__ = (
        "_asked_at",
        "_dead_at",
        "_grace_seconds",
        "_received_at",
        "_sent_at",
        "_silent_since",
        "heartbeat_seconds",
    )

    def __init__(self) -> None:
        self.heartbeat_seconds = DEFAULT_HEARTBEAT_SECONDS
        self._sent_at = self._received_at = 0.0
        self._asked_at = -math.inf
        self._grace_seconds = 0.0
        self._dead_at: float | None = None  # unless something comes
        self._silent_since: float | None = None  # a request waits, and since then nothing came

    def sent(self, now: float) -> None:
        self._sent_at = now

    def asked(self, now: float) -> None:
        """A request was sent that has an answer."""
        self._asked_at = now
        if self._silent_since is None:
            self._silent_since = now

    def pinged(self, now: float) -> None:
        if self._dead_at is None:
            self._expect_within(heartbeat_grace_seconds(self.heartbeat_seconds), now)

    def checked(self, now: float) -> None:
        """The application doubts the connection; a PING is on its way."""
        if self._dead_at is None or now + CHECK_SECONDS < self._dead_at:
            self._expect_within(CHECK_SECONDS, now)

    def silent_seconds(self, now: float) -> float:
        """For how long nothing passed in both directions."""
        return now - max(self._sent_at, self._received_at)

    def is_heartbeat_due(self, now: float) -> bool:
        """Whether the silence alone is a reason for a PING."""
        return now >= self._heartbeat_at()

    def received(self, now: float) -> None:
        self._received_at = now
        self._dead_at = self._silent_since = None

    def still_waiting(self, now: float) -> None:
        """Something came, and it did not answer all requests."""
        if now < self._asked_at + REQUEST_MEMORY_SECONDS:
            self._silent_since = now

    def next_deadline(self) -> float:
        """When to call `doubt`."""
        if self._dead_at is not None:
            return self._dead_at
        if self._silent_since is None:
            return self._heartbeat_at()
        return min(self._heartbeat_at(), self._silent_since + REQUEST_SILENCE_SECONDS)

    def doubt(self, now: float, *, ping_unanswered: bool) -> str | None:
        """The deadline has passed: why the connection is dead, or None, to send a PING (if none is
        on its way)."""
        if self._dead_at is not None:
            return f"nothing came within {self._grace_seconds:g} s of a PING"
        if self._silent_since is not None and now >= self._silent_since + REQUEST_SILENCE_SECONDS:
            self._silent_since = None
            self._expect_within(REQUEST_SILENCE_SECONDS, now)
            return None
        return "a PING was not answered for a whole interval" if ping_unanswered else None

    def _heartbeat_at(self) -> float:
        return min(self._sent_at, self._received_at) + self.heartbeat_seconds

    def _expect_within(self, seconds: float, now: float) -> None:
        self._grace_seconds = seconds
        self._dead_at = now + seconds
