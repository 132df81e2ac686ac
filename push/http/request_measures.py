"""How many requests were answered, and how long that took: the metrics of HTTP."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from push.runtime.histogram import Histogram


class RequestMeasures(Collector):
    """Of one port, by the name of the route; "none" for what has no route."""

    def __init__(self) -> None:
        self._answers: Counter[tuple[str, int]] = Counter()
        self._durations: defaultdict[str, Histogram] = defaultdict(Histogram)

    def note(self, route: str, status: int, seconds: float | None) -> None:
        self._answers[route, status] += 1
        if seconds is not None:
            self._durations[route].observe(seconds)

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
