"""What a connector counts: plain integers on the hot path; metrics and the registry read them."""

from __future__ import annotations


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
