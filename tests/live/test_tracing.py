"""Spans of a real daemon, received by OTLP over HTTP; webhooks go on with the trace."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from benchmarks.running import Running, started_server
from push.sdk.nio import PushClient
from push.webhooks.signing import new_secret
from tests.ports import free_port
from tests.waiting import DEADLINE_SECONDS, wait_for

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLER = "00f067aa0ba902b7"


class ReceivedSpan(NamedTuple):
    name: str
    trace: str
    id: str
    parent: str
    attributes: dict[str, Any]
    service: str


class Collector:
    """What receives spans: `POST /v1/traces` with protobuf, as the OpenTelemetry collector does."""

    def __init__(self) -> None:
        self.spans: list[ReceivedSpan] = []
        self.webhooks: list[tuple[dict[str, Any], str | None]] = []  # events, and their traceparent
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.path == "/webhook":
                    collector.webhooks.append((json.loads(body), self.headers["traceparent"]))
                    self.send_response(204)
                    self.end_headers()
                    return
                assert self.path == "/v1/traces"
                collector.take(ExportTraceServiceRequest.FromString(body))
                answer = ExportTraceServiceResponse().SerializeToString()
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def take(self, request: ExportTraceServiceRequest) -> None:
        for of_resource in request.resource_spans:
            resource = {each.key: value_of(each.value) for each in of_resource.resource.attributes}
            for of_scope in of_resource.scope_spans:
                self.spans += [
                    ReceivedSpan(
                        span.name,
                        span.trace_id.hex(),
                        span.span_id.hex(),
                        span.parent_span_id.hex(),
                        {each.key: value_of(each.value) for each in span.attributes},
                        resource["service.name"],
                    )
                    for span in of_scope.spans
                ]

    def of_message(self, id: str) -> dict[str, ReceivedSpan]:
        """By their names, once all three are there."""
        publish = next((s for s in self.spans if s.attributes.get("push.message_id") == id), None)
        found = (
            {}
            if publish is None
            else {span.name: span for span in self.spans if span.trace == publish.trace}
        )
        return found if len(found) == 3 else {}

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def value_of(value: Any) -> Any:
    return getattr(value, value.WhichOneof("value"))


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    running = Collector()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def environment() -> Iterator[None]:
    """Spans leave soon, and not after five seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
        yield


@pytest.fixture(scope="module")
def daemon(collector: Collector, environment: None) -> Iterator[Running]:
    endpoint = f'name = "test", url = "{collector.url}/webhook", secret = "{new_secret()}"'
    with started_server(
        otel_endpoint=collector.url,
        otel_service="push-test",
        webhooks_endpoints=f'[{{{endpoint}, types = ["message.acknowledged"]}}]',
    ) as running:
        yield running


@pytest.fixture(scope="module")
def device(daemon: Running) -> Iterator[PushClient]:
    with device_of(daemon) as client:
        yield client


def device_of(running: Running) -> PushClient:
    host, port = running.tcp_address
    return PushClient(
        f"tcp://{host}:{port}", key=running.app_key, platform="p", app="a", acks="explicit"
    )


def post(running: Running, path: str, body: Any, **headers: str) -> tuple[int, Any]:
    connection = HTTPConnection(*running.http, timeout=DEADLINE_SECONDS)
    sent = {"Authorization": f"Bearer {running.admin_key}", "Content-Type": "application/json"}
    connection.request("POST", path, json.dumps(body), {**sent, **headers})
    answer = connection.getresponse()
    content = json.loads(answer.read())
    connection.close()
    return answer.status, content


def connected(client: PushClient) -> str:
    """The token of a device with a session."""
    token = client.register().token
    client.wait_connected(timeout=DEADLINE_SECONDS)
    return token


def test_a_push_is_three_spans_of_the_trace_that_it_came_with(
    daemon: Running, collector: Collector, device: PushClient
) -> None:
    body = {"to": {"token": connected(device)}, "data": 1}
    status, answer = post(daemon, "/v1/push", body, traceparent=f"00-{TRACE}-{CALLER}-01")
    assert status == 202
    message = device.receive(timeout=DEADLINE_SECONDS)
    assert "traceparent" not in message.raw

    spans = wait_for(lambda: collector.of_message(answer["id"]))

    accept, publish, deliver = (spans[f"push.{name}"] for name in ("accept", "publish", "deliver"))
    assert {span.trace for span in spans.values()} == {TRACE}
    assert (accept.parent, publish.parent, deliver.parent) == (CALLER, accept.id, publish.id)
    assert accept.attributes == {
        "http.request.method": "POST",
        "http.route": "/v1/push",
        "http.response.status_code": 202,
    }
    assert publish.attributes == {
        "push.to": "token",
        "push.message_id": answer["id"],
        "push.streams": 1,
        "push.online": 1,
    }
    assert deliver.attributes == {
        "push.message_id": answer["id"],
        "push.stream_kind": "dev",
        "push.sessions": 1,
    }
    assert accept.service == "push-test"


@pytest.mark.parametrize("more", [{}, {"qos": 0}, {"ttl": 0}], ids=["stored", "qos 0", "ttl 0"])
def test_a_push_without_a_trace_begins_one(
    daemon: Running, collector: Collector, device: PushClient, more: dict[str, int]
) -> None:
    connected(device)
    _, answer = post(daemon, "/v1/push", {"to": {"all": True}, "data": 1, **more})
    spans = wait_for(lambda: collector.of_message(answer["id"]))
    assert spans["push.accept"].parent == ""
    assert spans["push.deliver"].attributes["push.stream_kind"] == "all"


@pytest.mark.parametrize(
    "wrong", ["", "x", f"00-{TRACE}-{CALLER}", f"00-{'0' * 32}-{CALLER}-01", "00-" + "z" * 200]
)
def test_a_wrong_traceparent_is_as_none(
    daemon: Running, collector: Collector, device: PushClient, wrong: str
) -> None:
    body = {"to": {"token": connected(device)}, "data": 1}
    status, answer = post(daemon, "/v1/push", body, traceparent=wrong)
    assert status == 202
    spans = wait_for(lambda: collector.of_message(answer["id"]))
    assert spans["push.accept"].parent == ""
    assert spans["push.accept"].trace != TRACE


def test_items_of_a_batch_are_in_the_trace_of_the_batch(
    daemon: Running, collector: Collector, device: PushClient
) -> None:
    trace = "1" * 32
    body = [{"to": {"token": connected(device)}, "data": n} for n in range(3)]
    parent = f"00-{trace}-{CALLER}-01"
    _, answer = post(daemon, "/v1/push/batch", body, traceparent=parent)
    ids = {result["id"] for result in answer["results"]}

    def of_trace(name: str) -> list[ReceivedSpan]:
        return [span for span in collector.spans if (span.name, span.trace) == (name, trace)]

    wait_for(lambda: len(of_trace("push.deliver")) == 3)
    (accept,) = of_trace("push.accept")
    assert {span.parent for span in of_trace("push.publish")} == {accept.id}
    assert {span.attributes["push.message_id"] for span in of_trace("push.deliver")} == ids


def test_what_the_caller_does_not_sample_is_not_sent(
    daemon: Running, collector: Collector, device: PushClient
) -> None:
    trace = "2" * 32
    body = {"to": {"token": connected(device)}, "data": 1}
    post(daemon, "/v1/push", body, traceparent=f"00-{trace}-{CALLER}-00")
    _, after = post(daemon, "/v1/push", body)
    wait_for(lambda: collector.of_message(after["id"]))
    assert [span for span in collector.spans if span.trace == trace] == []


def test_a_refused_push_ends_its_spans_with_an_error(
    daemon: Running, collector: Collector, device: PushClient
) -> None:
    trace = "3" * 32
    parent = f"00-{trace}-{CALLER}-01"
    body = {"to": {"group": "nobody"}, "data": 1}
    assert post(daemon, "/v1/push", body, traceparent=parent)[0] == 404
    wait_for(lambda: len([span for span in collector.spans if span.trace == trace]) == 2)
    (accept,) = [s for s in collector.spans if (s.trace, s.name) == (trace, "push.accept")]
    assert accept.attributes["http.response.status_code"] == 404


def test_a_webhook_about_a_message_has_the_trace_of_its_publishing(
    daemon: Running, collector: Collector
) -> None:
    with device_of(daemon) as client:
        body = {"to": {"token": connected(client)}, "data": 1}

        def acknowledge_one() -> bool:
            """Events are written down as soon as the first start has stored who wants them."""
            post(daemon, "/v1/push", body)
            client.receive(timeout=DEADLINE_SECONDS).ack()
            return bool(collector.webhooks)

        wait_for(acknowledge_one)
    event, trace = collector.webhooks[0]
    publish = wait_for(lambda: collector.of_message(event["data"]["message"]))["push.publish"]
    assert trace is not None
    assert trace.startswith(f"00-{publish.trace}-{publish.id}-")


def test_a_collector_that_is_unreachable_disturbs_nobody(environment: None, tmp_path: Path) -> None:
    """It is one line of the log, and the daemon ends in time."""
    endpoint = f"http://127.0.0.1:{free_port()}"
    with started_server(otel_endpoint=endpoint) as running, device_of(running) as client:
        body = {"to": {"token": connected(client)}, "data": 1}
        for _ in range(3):
            assert post(running, "/v1/push", body)[0] == 202
            client.receive(timeout=DEADLINE_SECONDS)
        wait_for(lambda: "spans could not be sent" in running.log.read_text())
        assert running.log.read_text().count("spans could not be sent") == 1


def modules_in(running: Running) -> str:
    """The libraries that its process has loaded."""
    return Path(f"/proc/{running.process.pid}/maps").read_text()


def test_without_the_setting_nothing_of_opentelemetry_is_loaded(
    daemon: Running, push_server: Running
) -> None:
    with device_of(push_server) as client:
        body = {"to": {"token": connected(client)}, "data": 1}
        post(push_server, "/v1/push", body, traceparent=f"00-{TRACE}-{CALLER}-01")
        client.receive(timeout=DEADLINE_SECONDS)
    assert "google/_upb" in modules_in(daemon)
    assert "google/_upb" not in modules_in(push_server)
