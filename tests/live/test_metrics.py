"""The metrics of a daemon that does something, beside what is written of them: docs/metrics.md,
etc/prometheus and etc/grafana."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.running import Running, started_server
from push.sdk.errors import BadCredentials
from push.sdk.nio import PushClient
from tests.docs.test_facts import table
from tests.docs.test_watching import expressions_of_dashboard, promtool, rules
from tests.waiting import DEADLINE_SECONDS, wait_for

ROOT = Path(__file__).parents[2]
KINDS = {"h": "histogram", "c": "counter", "g": "gauge"}
# Of metrics without a value until there is an endpoint of webhooks.
LABELS_OF_UNSEEN = {
    "push_webhook_events_total": {"result"},
    "push_webhook_events_waiting": {"endpoint"},
    "push_webhook_lost_total": {"endpoint"},
}
# Given by Prometheus to all that it scrapes, and to histograms.
FOREIGN_LABELS = {"instance", "job", "le"}


class Scrape(NamedTuple):
    """What one answer of /metrics had. `kinds`, `labels`: by name, as a query has it."""

    text: str
    kinds: dict[str, str]
    labels: dict[str, set[str]]
    values: dict[tuple[str, tuple[tuple[str, str], ...]], float]

    def value(self, name: str, **labels: str) -> float:
        return self.values[name, tuple(sorted(labels.items()))]


def scrape(running: Running) -> Scrape:
    _, content = ask(running, "GET", "/metrics")
    text = content.decode()
    kinds, labels, values = {}, defaultdict(set), {}
    for family in text_string_to_metric_families(text):
        name = family.name + ("_total" if family.type == "counter" else "")
        kinds[name] = family.type
        for sample in family.samples:
            labels[name] |= set(sample.labels)
            labels[sample.name] |= set(sample.labels)
            values[sample.name, tuple(sorted(sample.labels.items()))] = sample.value
    return Scrape(text, kinds, dict(labels), values)


def ask(running: Running, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
    connection = HTTPConnection(*running.http, timeout=DEADLINE_SECONDS)
    headers = {"Authorization": f"Bearer {running.admin_key}", "Content-Type": "application/json"}
    connection.request(method, path, None if body is None else json.dumps(body), headers)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, content


@pytest.fixture(scope="module")
def daemon() -> Iterator[Running]:
    """One registration a minute from one address."""
    with started_server(limits_registrations_per_minute="1") as running:
        yield running


@pytest.fixture(scope="module")
def before(daemon: Running) -> Scrape:
    return scrape(daemon)


@pytest.fixture(scope="module")
def busy(daemon: Running, before: Scrape) -> Iterator[Scrape]:
    """After one of everything: a push that is acknowledged, a chat, refusals on both interfaces."""
    host, port = daemon.tcp_address
    url = f"tcp://{host}:{port}"
    client = PushClient(url, key=daemon.app_key, platform="p", app="a", acks="explicit")
    with client:
        token = client.register().token
        # The time to an acknowledgement is measured of what is pushed to a session that is open.
        client.wait_connected(timeout=DEADLINE_SECONDS)
        assert ask(daemon, "POST", "/v1/devices", {"platform": "p", "app": "a"})[0] == 429
        assert ask(daemon, "PUT", f"/v1/users/anna/devices/{token}")[0] == 204
        assert ask(daemon, "POST", "/v1/push", {"to": {"token": token}, "data": 1})[0] == 202
        assert ask(daemon, "POST", "/v1/push", {"to": {"token": token}})[0] == 422
        client.receive(timeout=DEADLINE_SECONDS).ack()
        client.publish("TS", {"topic": "news"})
        body = {"from": "ben", "data": 1}
        assert ask(daemon, "POST", "/v1/users/anna/messages", body)[0] == 201
        wrong = PushClient(url, token=token, secret="0" * 32)
        with wrong, pytest.raises(BadCredentials):
            wrong.wait_connected(timeout=DEADLINE_SECONDS)
        wait_for(lambda: scrape(daemon).value("push_connector_acknowledged_total") >= 1)
        wait_for(lambda: scrape(daemon).value("push_reactor_lag_seconds_count") >= 1)
        yield scrape(daemon)


# --- The metrics ---------------------------------------------------------------------------------


def test_promtool_has_nothing_against_them(busy: Scrape) -> None:
    done = promtool("check", "metrics", input=busy.text)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_document_has_all_of_them_and_no_others(busy: Scrape) -> None:
    told = {}
    for names, kind, labels, _ in table("docs/metrics.md", "## All metrics"):
        for name in re.findall(r"`(\w+)`", names):
            told[name] = KINDS[kind], set(re.findall(r"`(\w+)`", labels))
    found = {
        name: (kind, busy.labels.get(name, set()) | busy.labels.get(f"{name}_bucket", set()))
        for name, kind in busy.kinds.items()
    }
    found = {name: (kind, labels - FOREIGN_LABELS) for name, (kind, labels) in found.items()}
    # Of these there is none in this test, so that labels are not seen.
    unseen = set(LABELS_OF_UNSEEN)
    assert {name: found[name] for name in found.keys() - unseen} == {
        name: told[name] for name in told.keys() - unseen
    }
    assert unseen <= told.keys() & found.keys()


def test_what_happens_is_counted(before: Scrape, busy: Scrape) -> None:
    def grown(name: str, **labels: str) -> float:
        at = (name, tuple(sorted(labels.items())))
        return busy.values.get(at, 0) - before.values.get(at, 0)

    assert grown("push_pushes_total", to="token") == 1
    assert grown("push_connector_deliveries_total", stream="dev") == 1
    assert grown("push_connector_deliveries_total", stream="user") == 1
    assert grown("push_connector_written_total") == 2
    assert grown("push_connector_ack_duration_seconds_count") == 1
    assert grown("push_chat_messages_total", to="user", by="backend") == 1
    assert grown("push_connector_carrier_connections", carrier="tcp") == 1
    assert grown("push_connector_requests_total", request="TS", code="ok") == 1
    refused = {"request": "CONNECT", "code": "unauthenticated"}
    assert grown("push_connector_refusals_total", **refused) == 1
    assert grown("push_connector_ends_total", code="BAD_CREDENTIALS") == 1
    assert grown("push_limit_refusals_total", limit="registrations_per_minute") == 1
    assert grown("push_http_requests_total", route="push", status="202") == 1
    assert grown("push_http_requests_total", route="push", status="422") == 1
    assert grown("push_http_request_duration_seconds_count", route="push") == 2


def test_a_daemon_that_works_says_so(busy: Scrape) -> None:
    (server,) = {dict(labels)["server"] for name, labels in busy.values if name == "push_redis_up"}
    assert busy.value("push_ready") == 1
    assert busy.value("push_redis_up", server=server) == 1
    assert busy.value("push_redis_call_duration_seconds_count", server=server) > 0
    assert busy.value("push_registry_up", kind="redis") == 1
    assert busy.value("push_registry_instances", service="push-connector") == 1
    assert busy.value("push_reactor_lag_seconds_count") > 0


def test_no_label_names_a_user_a_token_or_a_topic(busy: Scrape) -> None:
    values = {value for _, labels in busy.values for _, value in labels}
    assert values.isdisjoint({"anna", "ben", "news", "dev:anna"})
    assert [value for value in values if re.fullmatch(r"[0-9A-Z]{14}", value)] == []


# --- What is made of them ------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["the alerts", "the dashboard"])
def test_every_metric_and_label_of_a_query_exists(where: str, busy: Scrape) -> None:
    found = [rule["expr"] for rule in rules()]
    unknown = set()
    if where == "the dashboard":
        found = expressions_of_dashboard()
    for expression in (re.sub(r'"[^"]*"', '""', each) for each in found):
        names = set(re.findall(r"\b(?:push|process|python)_\w+\b", expression)) - FOREIGN_LABELS
        assert names or re.search(r"\bup\b", expression), expression
        known = FOREIGN_LABELS.union(*(busy.labels.get(name, ()) for name in names))
        known = known.union(*(LABELS_OF_UNSEEN.get(name, ()) for name in names))
        used = re.findall(r"[{,]\s*(\w+)\s*[=!]", expression)
        for group in re.findall(r"\bby \(([^)]*)\)", expression):
            used += re.findall(r"\w+", group)
        unknown |= {name for name in names if name not in busy.kinds and name not in busy.labels}
        unknown |= set(used) - known
    assert unknown == set()
