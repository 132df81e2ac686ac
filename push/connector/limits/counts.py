"""How often each limit acted: for metrics, and at most one line of the log a minute."""

from __future__ import annotations

from collections import Counter

from twisted.logger import Logger

log = Logger()

FRAMES_PER_SECOND = "frames_per_second"
BYTES_PER_SECOND = "bytes_per_second"
WAITING_REQUESTS = "waiting_requests"
UNREAD_ANSWERS = "unread_answers"
MAX_CONNECTIONS = "max_connections"
CONNECTIONS_PER_IP = "connections_per_ip"
CONNECTIONS_PER_USER = "connections_per_user"
ACCEPTS_PER_SECOND = "accepts_per_second"
CONNECTS_PER_MINUTE = "connects_per_minute"
MEMORY = "memory"

ALL_LIMITS = (
    FRAMES_PER_SECOND,
    BYTES_PER_SECOND,
    WAITING_REQUESTS,
    UNREAD_ANSWERS,
    MAX_CONNECTIONS,
    CONNECTIONS_PER_IP,
    CONNECTIONS_PER_USER,
    ACCEPTS_PER_SECOND,
    CONNECTS_PER_MINUTE,
    MEMORY,
)


class LimitCounts:
    """Counts since the start of the process, by the limit's name.

    `acted`: something was delayed (reading, accepting) or refused. `ended`: a session was ended.
    """

    def __init__(self) -> None:
        self.acted = Counter(dict.fromkeys(ALL_LIMITS, 0))
        self.ended = Counter(dict.fromkeys((FRAMES_PER_SECOND, BYTES_PER_SECOND), 0))
        self._told: Counter[str] = Counter()

    def tell(self) -> None:
        """Log what limits did since the last call, if they did anything."""
        since = self.acted - self._told
        self._told = self.acted.copy()
        if since:
            done = ", ".join(f"{name} {count}" for name, count in sorted(since.items()))
            log.info(
                "limits that acted in the last minute: {done}", done=done, event="limits.acted"
            )
