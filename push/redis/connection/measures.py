"""What is measured of one Redis server, for the metrics."""

from __future__ import annotations

from push.runtime.histogram import Histogram


class RedisMeasures:
    """Since the start of the process. `call_seconds`: from commands to their answers.
    `failed_calls`: those that were lost with their connection, or that the server could not serve.
    `restored`: how often all connections worked again, the first time included."""

    def __init__(self) -> None:
        self.call_seconds = Histogram()
        self.failed_calls = 0
        self.restored = 0
