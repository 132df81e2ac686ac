"""How many requests were answered, and how long that took: the metrics of HTTP, and its log."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry
from twisted.logger import Logger

from push.runtime.histogram import Histogram
from push.runtime.log_detail import detail

log = Logger()


class RequestMeasures(Collector):
    """Of one port, by the name of the route; "none" for what has no route."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._answers: Counter[tuple[str, int]] = Counter()
        self._durations: defaultdict[str, Histogram] = defaultdict(Histogram)
        registry.register(self)

    def note(self, route: str, status: int, seconds: float | None, ip: str, key: str) -> None:
        self._answers[route, status] += 1
        if seconds is not None:
            self._durations[route].observe(seconds)
        if detail.debug:
            log.debug(
                "{ip} {route}: {status} in {ms} ms",
                ip=ip,
                route=route,
                status=status,
                ms=round((seconds or 0.0) * 1000, 1),
                key=key or None,
                event="http.answered",
            )

    def collect(self) -> Iterator[Metric]:
        answers = CounterMetricFamily(
            "push_http_requests", "HTTP requests answered", labels=["route", "status"]
        )
        for (route, status), count in sorted(self._answers.items()):
            answers.add_metric([route, str(status)], count)
        yield answers
        durations = HistogramMetricFamily(
            "push_http_request_duration_seconds",
            "from the last byte of a request to its answer",
            labels=["route"],
        )
        for route, histogram in sorted(self._durations.items()):
            durations.add_metric([route], histogram.buckets(), histogram.sum)
        yield durations
