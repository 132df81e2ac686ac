"""The metrics of what a process observes."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from push.daemons.metrics.families import counters
from push.observe.observer import Observer


class ObserverCollector(Collector):
    """What is missing from what can be looked up."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer

    def collect(self) -> Iterator[Metric]:
        observer = self._observer
        yield counters(
            "push_observed_lost",
            "entries for timelines, recent messages and the audit trail that are lost",
            ["of"],
            {
                "timelines": observer.timelines.given_up,
                "messages": observer.recent.given_up,
                "audit": observer.audit.given_up,
            },
        )
