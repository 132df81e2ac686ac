"""The metrics of a connector."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from push.connector.gateway import Gateway
from push.daemons.metrics.families import counters, gauges, histogram
from push.wire.api.connections import CARRIERS

_HELP = {
    "accepted": "connections accepted",
    "connected": "sessions opened",
    "registered": "devices registered over the device protocol",
    "refused": "CONNECT requests refused",
    "redirected": "CONNECT requests answered with other connectors",
    "acknowledged": "acknowledgements of messages, late ones too",
    "redelivered": "messages sent again for want of an acknowledgement",
    "dropped_too_large": "messages larger than a client accepts",
    "dropped_unacknowledged": "messages given up after the last delivery",
    "bad_frames": "connections ended because a peer broke the protocol",
    "bad_proxy_headers": "connections of a load balancer without a right PROXY header",
    "taken_over": "sessions ended by a newer connection of their device",
}


class ConnectorCollector(Collector):
    """What the parts of a gateway have counted."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def collect(self) -> Iterator[Metric]:
        yield from self._totals()
        yield from self._acknowledgements()
        yield from self._by_reason()
        yield from self._now()
        yield from self._limits()

    def _totals(self) -> Iterator[Metric]:
        gateway = self._gateway
        for name, value in gateway.counters.totals().items():
            yield CounterMetricFamily(f"push_connector_{name}", _HELP[name], value=value)
        yield CounterMetricFamily(
            "push_connector_written",
            "messages written to sessions",
            value=gateway.delivery_policy.written,
        )
        yield CounterMetricFamily(
            "push_connector_repairs",
            "gaps of live channels repaired",
            value=sum(server.hub.repairs for server in gateway.streams),
        )
        yield CounterMetricFamily(
            "push_connector_qos0_lost",
            "QoS 0 messages not written because a connection was full",
            value=gateway.fanout.lost_qos0,
        )

    def _acknowledgements(self) -> Iterator[Metric]:
        latency = self._gateway.session_events.ack_latency
        yield histogram(
            "push_connector_ack_duration_seconds",
            "from the publishing of a message to its acknowledgement by a device that was online",
            latency.histogram(),
        )

    def _by_reason(self) -> Iterator[Metric]:
        reasons = self._gateway.counters.reasons
        yield counters(
            "push_connector_deliveries",
            "messages written to sessions, by the kind of their stream",
            ["stream"],
            self._gateway.delivery_policy.written_by_kind,
        )
        yield counters(
            "push_connector_refusals",
            "requests and TLS handshakes refused before there was a session, by error code",
            ["request", "code"],
            reasons.refused,
        )
        yield counters(
            "push_connector_ends",
            "connections ended after a CONNECT or with an error, by code",
            ["code"],
            reasons.ended,
        )
        yield counters(
            "push_connector_requests",
            "requests of sessions (PUBLISH) that were answered, by error code, or ok",
            ["request", "code"],
            self._gateway.requests.answered,
        )

    def _now(self) -> Iterator[Metric]:
        gateway = self._gateway
        yield GaugeMetricFamily(
            "push_connector_connections", "connections now", value=len(gateway.connections)
        )
        yield gauges(
            "push_connector_carrier_connections",
            "connections now, by carrier",
            ["carrier"],
            self._by_carrier(),
        )
        yield GaugeMetricFamily(
            "push_connector_sessions", "sessions now", value=len(gateway.sessions)
        )
        yield GaugeMetricFamily(
            "push_connector_capacity",
            "sessions that there may be; 0 = as many as come",
            value=gateway.capacity,
        )
        yield GaugeMetricFamily(
            "push_connector_draining",
            "1 while its sessions are sent elsewhere",
            value=gateway.drain.draining,
        )
        yield GaugeMetricFamily(
            "push_connector_streams",
            "streams followed now",
            value=sum(len(server.hub.channels) for server in gateway.streams),
        )

    def _by_carrier(self) -> Counter[str]:
        carriers = Counter(dict.fromkeys(CARRIERS, 0))
        carriers.update(connection.carrier for connection in self._gateway.connections)
        return carriers

    def _limits(self) -> Iterator[Metric]:
        gateway = self._gateway
        limits = gateway.limits
        yield counters(
            "push_connector_ended_by_limit",
            "sessions ended by a limit",
            ["limit"],
            limits.counts.ended,
        )
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


class BacklogCollector(Collector):
    """What sessions were handed and have not acknowledged; `count()` None: not counted yet."""

    def __init__(self, count: Callable[[], int | None]) -> None:
        self._count = count

    def collect(self) -> Iterator[Metric]:
        count = self._count()
        family = GaugeMetricFamily(
            "push_connector_backlog",
            "messages that sessions were handed and have not acknowledged, every few seconds",
        )
        if count is not None:
            family.add_metric([], count)
        yield family
