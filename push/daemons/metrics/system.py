"""The metrics of a daemon itself, and of the servers that it needs."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Mapping, Sequence, Set

from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

import twisted
from push import __version__
from push.cluster.registry.interface import Registry
from push.daemons.metrics.families import counters, gauges, histogram, histograms
from push.daemons.process.memory import MemoryWatch
from push.daemons.process.reactor_lag import ReactorLag
from push.redis.shards import Shards


class BuildCollector(Collector):
    """What runs: a gauge that is always 1."""

    def __init__(self, node: str, roles: Set[str]) -> None:
        self._labels = {
            "version": __version__,
            "python": platform.python_version(),
            "twisted": twisted.__version__,
            "node": node,
            "roles": ",".join(sorted(roles)),
        }

    def collect(self) -> Iterator[Metric]:
        yield InfoMetricFamily("push_build", "what runs here, as labels", self._labels)


class ReadyCollector(Collector):
    """What `/readyz` says. `problems()`: why the daemon cannot work now; `notes()`: what is less
    safe than it could be."""

    def __init__(
        self, problems: Callable[[], Sequence[str]], notes: Callable[[], Sequence[str]]
    ) -> None:
        self._problems = problems
        self._notes = notes

    def collect(self) -> Iterator[Metric]:
        is_ready = not self._problems()
        yield GaugeMetricFamily("push_ready", "1 while /readyz answers 200", value=is_ready)
        yield GaugeMetricFamily(
            "push_ready_notes",
            "what /readyz notes although the daemon works",
            value=len(self._notes()),
        )


class ReactorCollector(Collector):
    def __init__(self, lag: ReactorLag) -> None:
        self._lag = lag

    def collect(self) -> Iterator[Metric]:
        yield histogram(
            "push_reactor_lag_seconds",
            "how late the reactor called what was due, every quarter of a second",
            self._lag.seconds,
        )


class MemoryCollector(Collector):
    """What `[limits] memory` compares."""

    def __init__(self, memory: MemoryWatch) -> None:
        self._memory = memory

    def collect(self) -> Iterator[Metric]:
        memory = self._memory
        yield GaugeMetricFamily(
            "push_memory_bytes", "resident memory, once a second", value=memory.used_bytes
        )
        yield GaugeMetricFamily(
            "push_memory_limit_bytes", "over which nothing new is begun", value=memory.limit_bytes
        )


class CertificateCollector(Collector):
    """When certificates end: `ends()`, by what shows them, in seconds since 1970 UTC."""

    def __init__(self, ends: Callable[[], Mapping[str, float]]) -> None:
        self._ends = ends

    def collect(self) -> Iterator[Metric]:
        yield gauges(
            "push_certificate_expiry_timestamp_seconds",
            "when the certificate of a listener ends, in seconds since 1970 UTC",
            ["listener"],
            self._ends(),
        )


class RedisCollector(Collector):
    """Each Redis server by its address, which never has a password in it."""

    def __init__(self, shards: Shards) -> None:
        self._shards = shards

    def collect(self) -> Iterator[Metric]:
        servers = {str(server.address): server for server in self._shards}
        yield gauges(
            "push_redis_up",
            "1 while all connections to the server work",
            ["server"],
            {name: server.problem is None for name, server in servers.items()},
        )
        yield histograms(
            "push_redis_call_duration_seconds",
            "from a command to its answer",
            ["server"],
            {name: server.measures.call_seconds for name, server in servers.items()},
        )
        yield counters(
            "push_redis_failed_calls",
            "calls that were lost with their connection, or that the server could not serve",
            ["server"],
            {name: server.measures.failed_calls for name, server in servers.items()},
        )
        yield counters(
            "push_redis_restored",
            "how often all connections to the server worked again, the first time included",
            ["server"],
            {name: server.measures.restored for name, server in servers.items()},
        )


class RegistryCollector(Collector):
    """What the daemons find each other by. `kind`: "zookeeper", or "redis" without ZooKeeper."""

    def __init__(self, registry: Registry, kind: str) -> None:
        self._registry = registry
        self._kind = kind

    def collect(self) -> Iterator[Metric]:
        registry, kind = self._registry, self._kind
        yield gauges(
            "push_registry_up",
            "1 while the registry can be read and written",
            ["kind"],
            {kind: registry.problem is None},
        )
        yield gauges(
            "push_registry_joined",
            "1 once this daemon was in the registry when that was last read",
            ["kind"],
            {kind: registry.joined},
        )
        yield gauges(
            "push_registry_instances",
            "daemons in the registry, as this one knows it",
            ["service"],
            {service: len(instances) for service, instances in registry.view().items()},
        )
