"""Writes the dashboard for Grafana, to standard output; it is kept in `push-universe.json` beside.

Plain Python: a dashboard is a dict of a few kinds of panels, and the libraries that make one bring
thousands of classes to write the same JSON. The schema is that of Grafana 10 (schemaVersion 39).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

WIDTH, HEIGHT = 24, 8  # of the grid of Grafana, and of a panel in it
HERE = '{job=~"$job", instance=~"$instance"}'
SOURCE = {"type": "prometheus", "uid": "${datasource}"}


class Query(NamedTuple):
    """PromQL; HERE is written as `@`. `legend`: as Grafana has it, with `{{label}}`."""

    expression: str
    legend: str = ""


class Panel(NamedTuple):
    title: str
    description: str
    queries: Sequence[Query]
    unit: str = "short"
    width: int = 8
    kind: str = "timeseries"
    stacked: bool = False
    # From which value on it is orange, and red; for single numbers.
    orange: float | None = None
    red: float | None = None


class Row(NamedTuple):
    title: str
    panels: Sequence[Panel]


def rate(metric: str, *by: str) -> str:
    total = f"rate({metric}@[$__rate_interval])"
    return f"sum by ({', '.join(by)}) ({total})" if by else f"sum({total})"


def quantile(share: float, histogram: str, *by: str) -> str:
    labels = ", ".join(("le", *by))
    rates = f"sum by ({labels}) (rate({histogram}_bucket@[$__rate_interval]))"
    return f"histogram_quantile({share}, {rates})"


def quantiles(histogram: str) -> list[Query]:
    return [
        Query(quantile(share, histogram), f"p{round(share * 100)}") for share in (0.5, 0.95, 0.99)
    ]


ROWS = [
    Row(
        "Now",
        [
            Panel(
                "Ready",
                "Daemons that are ready, of all that answer.",
                [Query("sum(push_ready@)", "ready"), Query("count(push_ready@)", "all")],
                kind="stat",
                width=4,
            ),
            Panel(
                "Sessions",
                "Devices that are connected.",
                [Query("sum(push_connector_sessions@)")],
                kind="stat",
                width=4,
            ),
            Panel(
                "Pushes a second",
                "Pushes that were accepted.",
                [Query(rate("push_pushes_total"))],
                kind="stat",
                width=4,
            ),
            Panel(
                "Deliveries a second",
                "Messages written to sessions.",
                [Query(rate("push_connector_written_total"))],
                kind="stat",
                width=4,
            ),
            Panel(
                "Redis servers that do not work",
                "As the daemons see them, each counted once.",
                [Query("count(min by (server) (push_redis_up@) == 0) or vector(0)")],
                kind="stat",
                width=4,
                red=1,
            ),
            Panel(
                "Days of the next certificate",
                "Until the first certificate of a listener ends.",
                [Query("min(push_certificate_expiry_timestamp_seconds@ - time()) / 86400")],
                kind="stat",
                width=4,
            ),
        ],
    ),
    Row(
        "Devices",
        [
            Panel(
                "Connections by carrier",
                "",
                [Query("sum by (carrier) (push_connector_carrier_connections@)", "{{carrier}}")],
                stacked=True,
            ),
            Panel(
                "Sessions by connector",
                "",
                [Query("push_connector_sessions@", "{{instance}}")],
                stacked=True,
            ),
            Panel(
                "Sessions opened and ended",
                "Ends by code; a wave of one code is a cause: draining, heartbeat_timeout, …",
                [
                    Query(rate("push_connector_connected_total"), "opened"),
                    Query(rate("push_connector_ends_total", "code"), "{{code}}"),
                ],
                unit="ops",
            ),
            Panel(
                "Refusals",
                "CONNECT and SUB requests that were refused, by code.",
                [
                    Query(
                        rate("push_connector_refusals_total", "request", "code"),
                        "{{request}} {{code}}",
                    ),
                    Query(rate("push_connector_redirected_total"), "redirected"),
                ],
                unit="ops",
            ),
            Panel(
                "Limits that acted",
                "What was delayed or refused for a limit, by its name.",
                [
                    Query(rate("push_limit_refusals_total", "limit") + " > 0", "{{limit}}"),
                ],
                unit="ops",
            ),
            Panel(
                "Requests of devices",
                "PUBLISH requests that were answered, by their kind.",
                [Query(rate("push_connector_requests_total", "request"), "{{request}}")],
                unit="ops",
            ),
        ],
    ),
    Row(
        "Messages",
        [
            Panel(
                "Pushes by target",
                "",
                [Query(rate("push_pushes_total", "to"), "{{to}}")],
                unit="ops",
                stacked=True,
            ),
            Panel(
                "Deliveries by stream",
                "Messages written to sessions.",
                [Query(rate("push_connector_deliveries_total", "stream"), "{{stream}}")],
                unit="ops",
                stacked=True,
            ),
            Panel(
                "Acknowledgements and redeliveries",
                "",
                [
                    Query(rate("push_connector_acknowledged_total"), "acknowledged"),
                    Query(rate("push_connector_redelivered_total"), "sent again"),
                ],
                unit="ops",
            ),
            Panel(
                "Publish to acknowledge",
                "Of messages to devices that were online.",
                quantiles("push_connector_ack_duration_seconds"),
                unit="s",
            ),
            Panel(
                "Unacknowledged",
                "Messages that sessions were handed and have not acknowledged.",
                [Query("push_connector_backlog@", "{{instance}}")],
                stacked=True,
            ),
            Panel(
                "Losses and repairs",
                "Messages that a session will not get, and gaps that were repaired from the log.",
                [
                    Query(rate("push_connector_dropped_too_large_total"), "too large"),
                    Query(rate("push_connector_dropped_unacknowledged_total"), "unacknowledged"),
                    Query(rate("push_connector_qos0_lost_total"), "QoS 0 on a full connection"),
                    Query(rate("push_connector_repairs_total"), "gaps repaired"),
                ],
                unit="ops",
            ),
            Panel(
                "Messages of chats",
                "",
                [Query(rate("push_chat_messages_total", "to", "by"), "to {{to}} by {{by}}")],
                unit="ops",
            ),
        ],
    ),
    Row(
        "Webhooks",
        [
            Panel(
                "Events by result",
                "done, again (it is tried once more), lost, superseded (a later state is sent).",
                [Query(rate("push_webhook_events_total", "result"), "{{result}}")],
                unit="ops",
                width=12,
            ),
            Panel(
                "Events that wait",
                "By the id of their endpoint.",
                [Query("sum by (endpoint) (push_webhook_events_waiting@)", "{{endpoint}}")],
                width=12,
            ),
            Panel(
                "Events lost",
                "Given up after the last attempt, too old, or too many: in all, by the id of their "
                "endpoint. All daemons that deliver read the same.",
                [Query("max by (endpoint) (push_webhook_lost_total@)", "{{endpoint}}")],
                width=12,
            ),
            Panel(
                "Events that no daemon has taken",
                "They were decided, and are in no outbox yet. If this grows, no daemon delivers.",
                [Query("max(push_webhook_inbox_events@)", "in the inbox")],
                width=12,
                orange=1_000,
                red=10_000,
            ),
        ],
    ),
    Row(
        "HTTP",
        [
            Panel(
                "Requests by status",
                "",
                [Query(rate("push_http_requests_total", "status"), "{{status}}")],
                unit="ops",
                stacked=True,
            ),
            Panel(
                "Requests by route",
                "",
                [Query(rate("push_http_requests_total", "route"), "{{route}}")],
                unit="ops",
            ),
            Panel(
                "Time to the answer, p99 by route",
                "From the last byte of a request to its answer.",
                [Query(quantile(0.99, "push_http_request_duration_seconds", "route"), "{{route}}")],
                unit="s",
            ),
        ],
    ),
    Row(
        "Redis and the registry",
        [
            Panel(
                "Redis by server",
                "1: all connections of all daemons to it work.",
                [Query("min by (server) (push_redis_up@)", "{{server}}")],
            ),
            Panel(
                "Latency of Redis, p99",
                "From a command to its answer.",
                [Query(quantile(0.99, "push_redis_call_duration_seconds", "server"), "{{server}}")],
                unit="s",
            ),
            Panel(
                "Calls of Redis",
                "",
                [
                    Query(rate("push_redis_call_duration_seconds_count", "server"), "{{server}}"),
                    Query(rate("push_redis_failed_calls_total", "server"), "{{server}} failed"),
                ],
                unit="ops",
            ),
            Panel(
                "Registry",
                "ZooKeeper, or Redis: 1 while it can be used.",
                [Query("min by (kind) (push_registry_up@)", "{{kind}}")],
            ),
            Panel(
                "Daemons in the registry",
                "",
                [Query("max by (service) (push_registry_instances@)", "{{service}}")],
            ),
        ],
    ),
    Row(
        "Processes",
        [
            Panel(
                "Lag of the reactor",
                "Everybody waits that long.",
                quantiles("push_reactor_lag_seconds"),
                unit="s",
            ),
            Panel(
                "Processor",
                "1 is a whole core, which is all that a process can use.",
                [Query(rate("process_cpu_seconds_total", "instance"), "{{instance}}")],
            ),
            Panel(
                "Memory",
                "",
                [
                    Query("push_memory_bytes@", "{{instance}}"),
                    Query("push_memory_limit_bytes@", "{{instance}} limit"),
                ],
                unit="bytes",
            ),
            Panel(
                "Open files",
                "",
                [Query("process_open_fds@", "{{instance}}")],
            ),
            Panel(
                "Bytes that wait to be worked off",
                "Received from devices; connections that wait for their turn.",
                [
                    Query("push_connector_waiting_bytes@", "{{instance}} bytes"),
                    Query("push_connector_paused@", "{{instance}} connections"),
                ],
            ),
            Panel(
                "Versions",
                "",
                [Query("count by (version, python) (push_build_info@)", "{{version}} {{python}}")],
            ),
        ],
    ),
]


def dashboard() -> dict[str, Any]:
    return {
        "title": "push-universe",
        "uid": "push-universe",
        "description": "Devices, messages, HTTP, Redis and processes of push-universe.",
        "tags": ["push"],
        "schemaVersion": 39,
        "editable": True,
        "graphTooltip": 1,  # one crosshair for all
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {"list": list(_variables())},
        "panels": list(_panels()),
    }


def _variables() -> Iterator[dict[str, Any]]:
    yield {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"}
    for name, query in (
        ("job", "label_values(push_build_info, job)"),
        ("instance", 'label_values(push_build_info{job=~"$job"}, instance)'),
    ):
        yield {
            "name": name,
            "label": name,
            "type": "query",
            "datasource": SOURCE,
            "query": {"query": query, "refId": name},
            "refresh": 2,  # whenever the time changes
            "includeAll": True,
            "multi": True,
            "current": {"text": "All", "value": "$__all"},
        }


def _panels() -> Iterator[dict[str, Any]]:
    number = y = 0
    for row in ROWS:
        number += 1
        yield {
            "id": number,
            "type": "row",
            "title": row.title,
            "collapsed": False,
            "gridPos": {"x": 0, "y": y, "w": WIDTH, "h": 1},
            "panels": [],
        }
        y += 1
        x = 0
        height = HEIGHT
        for panel in row.panels:
            number += 1
            height = HEIGHT // 2 if panel.kind == "stat" else HEIGHT
            if x + panel.width > WIDTH:
                x, y = 0, y + height
            place = {"x": x, "y": y, "w": panel.width, "h": height}
            yield {"id": number, "gridPos": place, **_panel(panel)}
            x += panel.width
        y += height


def _panel(panel: Panel) -> dict[str, Any]:
    custom = {"fillOpacity": 10, "showPoints": "never"}
    if panel.stacked:
        custom = {**custom, "fillOpacity": 30, "stacking": {"mode": "normal"}}
    is_graph = panel.kind == "timeseries"
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": SOURCE,
        "targets": [
            {
                "refId": chr(ord("A") + place),
                "datasource": SOURCE,
                "expr": query.expression.replace("@", HERE),
                "legendFormat": query.legend or "__auto",
            }
            for place, query in enumerate(panel.queries)
        ],
        "fieldConfig": {
            "defaults": {
                "unit": panel.unit,
                "min": 0,
                "thresholds": {"mode": "absolute", "steps": list(_steps(panel))},
                **({"custom": custom} if is_graph else {}),
            },
            "overrides": [],
        },
        "options": {
            "legend": {"displayMode": "list", "placement": "bottom"},
            "tooltip": {"mode": "multi", "sort": "desc"},
        }
        if is_graph
        else {"reduceOptions": {"calcs": ["lastNotNull"]}, "graphMode": "area"},
    }


def _steps(panel: Panel) -> Iterator[dict[str, Any]]:
    yield {"color": "green", "value": None}
    for color, value in (("orange", panel.orange), ("red", panel.red)):
        if value is not None:
            yield {"color": color, "value": value}


if __name__ == "__main__":
    print(json.dumps(dashboard(), indent=2, ensure_ascii=False))
