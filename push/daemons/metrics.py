"""What the daemons count, for Prometheus. Read when asked for; nothing is kept twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry

from push.connector.gateway import Gateway
from push.daemons.process.memory import MemoryWatch
from push.webhooks.relay import WebhookRelay

_HELP = {
    "accepted": "connections accepted",
    "connected": "sessions opened",
    "registered": "devices registered over the device protocol",
    "refused": "CONNECT requests refused",
    "redirected": "CONNECT requests answered with other connectors",
    "acknowledged": "acknowledgements that moved a cursor",
    "redelivered": "messages sent again for want of an acknowledgement",
    "dropped_too_large": "messages larger than a client accepts",
    "dropped_unacknowledged": "messages given up after the last delivery",
    "bad_frames": "connections ended because a peer broke the protocol",
    "bad_proxy_headers": "connections of a load balancer without a right PROXY header",
    "taken_over": "sessions ended by a newer connection of their device",
}


class ConnectorCollector(Collector):
    """The metrics of a connector."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def collect(self) -> Iterator[Metric]:
        gateway = self._gateway
        for name, value in vars(gateway.counters).items():
            yield CounterMetricFamily(f"push_connector_{name}", _HELP[name], value=value)
        yield CounterMetricFamily(
            "push_connector_written",
            "messages written to sessions",
            value=gateway.delivery_policy.written,
        )
        yield CounterMetricFamily(
            "push_connector_repairs",
            "gaps of live channels repaired",
            value=sum(source.hub.repairs for source in gateway.sources),
        )
        yield CounterMetricFamily(
            "push_connector_qos0_lost",
            "QoS 0 messages not written because a connection was full",
            value=gateway.fanout.lost_qos0,
        )
        yield GaugeMetricFamily(
            "push_connector_connections", "connections now", value=len(gateway.connections)
        )
        yield GaugeMetricFamily(
            "push_connector_sessions", "sessions now", value=len(gateway.sessions)
        )
        yield GaugeMetricFamily(
            "push_connector_streams",
            "streams followed now",
            value=sum(len(source.hub.channels) for source in gateway.sources),
        )

        limits = gateway.limits
        limited = CounterMetricFamily(
            "push_connector_limited", "what limits delayed or refused", labels=["limit"]
        )
        ended = CounterMetricFamily(
            "push_connector_ended_by_limit", "sessions ended by a limit", labels=["limit"]
        )
        yield from (_by_name(limited, limits.counts.acted), _by_name(ended, limits.counts.ended))
        yield GaugeMetricFamily(
            "push_connector_paused",
            "connections that wait to be read, for their turn or because of a limit",
            value=limits.reads.paused_count,
        )
        yield GaugeMetricFamily(
            "push_connector_waiting_bytes",
            "bytes that were received and wait to be worked off",
            value=limits.reads.waiting_bytes + gateway.requests.waiting_bytes,
        )


def _by_name(family: CounterMetricFamily, counts: Mapping[str, int]) -> CounterMetricFamily:
    for name, count in counts.items():
        family.add_metric([name], count)
    return family


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
        family = GaugeMetricFamily(
            "push_certificate_expiry_timestamp_seconds",
            "when the certificate of a listener ends, in seconds since 1970 UTC",
            labels=["listener"],
        )
        for name, seconds in self._ends().items():
            family.add_metric([name], seconds)
        yield family


class RefusalCollector(Collector):
    """What limits have refused, by the name of the limit."""

    def __init__(self, refusals: Mapping[str, int]) -> None:
        self._refusals = refusals

    def collect(self) -> Iterator[Metric]:
        family = CounterMetricFamily(
            "push_limit_refusals", "what was refused for a limit", labels=["limit"]
        )
        for name, count in sorted(self._refusals.items()):
            family.add_metric([name], count)
        yield family


class WebhookCollector(Collector):
    """Attempts of this process to send events, and what waits where it delivers."""

    def __init__(self, relay: WebhookRelay) -> None:
        self._relay = relay

    def collect(self) -> Iterator[Metric]:
        attempts = CounterMetricFamily(
            "push_webhook_events",
            "attempts to send an event, by how they ended: done, again (it is tried once more), "
            "lost (it is given up) or superseded (a later state is sent)",
            labels=["result"],
        )
        for result, count in sorted(self._relay.shared.counts.items()):
            attempts.add_metric([result], count)
        yield attempts
        waiting = GaugeMetricFamily(
            "push_webhook_events_waiting",
            "events that wait for an endpoint for which this process delivers",
            labels=["endpoint"],
        )
        for endpoint, count in sorted(self._relay.waiting().items()):
            waiting.add_metric([endpoint], count)
        yield waiting


def make_registry(
    gateway: Gateway | None,
    certificate_ends: Callable[[], Mapping[str, float]] = dict,
    memory: MemoryWatch | None = None,
    refusals: Mapping[str, int] | None = None,
    webhooks: WebhookRelay | None = None,
) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(RefusalCollector({} if refusals is None else refusals))
    if memory is not None:
        registry.register(MemoryCollector(memory))
    registry.register(CertificateCollector(certificate_ends))
    if webhooks is not None:
        registry.register(WebhookCollector(webhooks))
    if gateway is not None:
        registry.register(ConnectorCollector(gateway))
    return registry
