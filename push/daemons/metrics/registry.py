"""All the metrics of a daemon."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from prometheus_client import GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import Metric
from prometheus_client.registry import Collector, CollectorRegistry

from push.connector.gateway import Gateway
from push.daemons.metrics.connector import ConnectorCollector
from push.daemons.metrics.families import counters
from push.daemons.metrics.system import CertificateCollector, MemoryCollector
from push.daemons.process.memory import MemoryWatch


class RefusalCollector(Collector):
    """What limits have refused or put off, by the name of the limit: of the daemon, and of its
    connector."""

    def __init__(self, *counts: Mapping[str, int]) -> None:
        self._counts = counts

    def collect(self) -> Iterable[Metric]:
        sums: Counter[str] = Counter()
        for counts in self._counts:
            sums.update(counts)
        yield counters(
            "push_limit_refusals",
            "what was refused, delayed or closed for a limit",
            ["limit"],
            sums,
        )


def make_registry(
    gateway: Gateway | None,
    certificate_ends: Callable[[], Mapping[str, float]] = dict,
    memory: MemoryWatch | None = None,
    refusals: Mapping[str, int] | None = None,
    others: Iterable[Collector] = (),
) -> CollectorRegistry:
    """`others`: what only some daemons have, or what only `push.daemons.compose` knows."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    of_connector = {} if gateway is None else gateway.limits.counts.acted
    registry.register(RefusalCollector({} if refusals is None else refusals, of_connector))
    if memory is not None:
        registry.register(MemoryCollector(memory))
    registry.register(CertificateCollector(certificate_ends))
    if gateway is not None:
        registry.register(ConnectorCollector(gateway))
    for collector in others:
        registry.register(collector)
    return registry
