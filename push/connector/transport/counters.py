"""What a connector counts: plain integers on the hot path; metrics and the registry read them."""

from __future__ import annotations

from collections import Counter

from push.wire.errors import RequestError


class ReasonCounts:
    """Counts since the start of the process, by reasons that are known beforehand.

    `refused`: by "CONNECT" or "SUB" and error code, or by "TLS" and why (see `refusal_of`).
    `limited`: how many of them a limit of the whole system refused, which has counted them too.
    `ended`: connections by the code of their end; of sessions whose connection was lost,
    `connection_lost`.
    """

    def __init__(self) -> None:
        self.refused: Counter[tuple[str, str]] = Counter()
        self.limited = 0
        self.ended: Counter[str] = Counter()

    def refuse(self, request: str, refusal: RequestError) -> None:
        self.refused[request, refusal.code] += 1
        if refusal.limit is not None:
            self.limited += 1

    @property
    def refused_here(self) -> int:
        """Those that nobody else has counted."""
        return self.refused.total() - self.limited


class Counters:
    """Counts since the start of the process."""

    def __init__(self) -> None:
        self.accepted = 0
        self.connected = 0
        self.registered = 0
        self.refused = 0
        self.redirected = 0
        self.acknowledged = 0
        self.redelivered = 0
        self.dropped_too_large = 0
        self.dropped_unacknowledged = 0
        self.bad_frames = 0
        self.bad_proxy_headers = 0
        self.taken_over = 0
        self.reasons = ReasonCounts()

    def totals(self) -> dict[str, int]:
        """All that are single numbers."""
        return {name: value for name, value in vars(self).items() if type(value) is int}
