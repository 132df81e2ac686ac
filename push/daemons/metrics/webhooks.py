"""What a daemon with the role `webhooks` delivers."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from push.webhooks.relay import WebhookRelay

RESULTS = ("done", "again", "lost", "superseded")


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
        counts = {**dict.fromkeys(RESULTS, 0), **self._relay.shared.counts}
        for result, count in sorted(counts.items()):
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
