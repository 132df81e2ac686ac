"""The parts of a process that observe, joined."""

from __future__ import annotations

from push.observe.ack_latency import AckLatency
from push.observe.server_times import ServerTimes
from push.observe.session_events import SessionEvents
from push.redis.shards import Shards
from push.runtime.ports import Clock


class Observer:
    """What one process observes; it works by itself between `start` and `stop`."""

    def __init__(self, reactor: Clock, shards: Shards) -> None:
        self.times = ServerTimes(reactor, shards)
        self.session_events = SessionEvents(AckLatency(self.times))

    def start(self) -> None:
        self.times.start()

    def stop(self) -> None:
        self.times.stop()
