"""What became of attempts to send events, and what waits."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from push.daemons.metrics.families import counters, gauges
from push.webhooks.relay import WebhookRelay


class WebhookCollector(Collector):
    """Of one process: its own attempts, and what waits where it delivers."""

    def __init__(self, relay: WebhookRelay) -> None:
        self._relay = relay

    def collect(self) -> Iterator[Metric]:
        yield counters(
            "push_webhook_attempts",
            "attempts to send an event, by how they ended: done, again (there is another), lost "
            "(it is given up) or superseded (a later state is sent)",
            ["result"],
            self._relay.shared.counts,
        )
        yield gauges(
            "push_webhook_waiting",
            "events that wait for an endpoint for which this process delivers",
            ["endpoint"],
            self._relay.waiting(),
        )
