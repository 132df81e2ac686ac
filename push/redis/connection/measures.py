"""What is measured of one Redis server, for the metrics."""

from __future__ import annotations

from math import inf

from push.runtime.histogram import Histogram


class RedisMeasures:
    """Since the start of the process. `call_seconds`: from commands to their answers.
    `failed_calls`: those that were lost with their connection, or that the server could not serve.
    `restored`: how often all connections worked again, the first time included.
    `quickest_seconds`: of a call since `PatientCalls` has set it back."""

    def __init__(self) -> None:
        self.call_seconds = Histogram()
        self.failed_calls = 0
        self.restored = 0
        self.quickest_seconds = inf

    def answered(self, seconds: float) -> None:
        self.call_seconds.observe(seconds)
        if seconds < self.quickest_seconds:
            self.quickest_seconds = seconds
