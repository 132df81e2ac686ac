"""Metrics from plain numbers, by the conventions of Prometheus.

Names begin with `push_` and end in a base unit; `_total` is added to counters. A label has few
values that are known beforehand: never a user, a token or a topic.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)

from push.runtime.histogram import Histogram

# The value of the only label, or those of all.
Labels = TypeVar("Labels", bound="str | tuple[str, ...]")
Family = TypeVar("Family", CounterMetricFamily, GaugeMetricFamily)


def _values_of(labels: str | tuple[str, ...]) -> tuple[str, ...]:
    return (labels,) if isinstance(labels, str) else labels


def _with_values(family: Family, values: Mapping[Labels, float]) -> Family:
    for each, value in sorted(values.items()):
        family.add_metric(_values_of(each), value)
    return family


def counters(
    name: str, help: str, labels: Iterable[str], values: Mapping[Labels, float]
) -> CounterMetricFamily:
    return _with_values(CounterMetricFamily(name, help, labels=list(labels)), values)


def gauges(
    name: str, help: str, labels: Iterable[str], values: Mapping[Labels, float]
) -> GaugeMetricFamily:
    return _with_values(GaugeMetricFamily(name, help, labels=list(labels)), values)


def histograms(
    name: str, help: str, labels: Iterable[str], values: Mapping[Labels, Histogram]
) -> HistogramMetricFamily:
    family = HistogramMetricFamily(name, help, labels=list(labels))
    for each, histogram in sorted(values.items()):
        family.add_metric(_values_of(each), histogram.buckets(), histogram.sum)
    return family


def histogram(name: str, help: str, value: Histogram) -> HistogramMetricFamily:
    family = HistogramMetricFamily(name, help)
    family.add_metric([], value.buckets(), value.sum)
    return family
