"""Streams of server-sent events as their users have them: curl, http.client, one daemon and a
cluster."""

from __future__ import annotations

import json
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from pathlib import Path
from typing import Any

import pytest

from benchmarks.running import Running, started_server
from tests.connector.stream_client import EventReader
from tests.waiting import DEADLINE_SECONDS, wait_for

ALL_LISTENERS = {
    "connector_ws": "127.0.0.1:0",
    "connector_wss": "127.0.0.1:0",
}


def request(running: Running, method: str, path: str, body: Any = None, **headers: str) -> Any:
    connection = HTTPConnection(*running.http, timeout=DEADLINE_SECONDS)
    headers = {"Authorization": f"Bearer {running.admin_key}", **headers}
    headers |= {} if body is None else {"Content-Type": "application/json"}
    connection.request(method, path, None if body is None else json.dumps(body), headers)
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    assert answer.status < 300, (answer.status, text)
    return json.loads(text) if text else None


def registered(running: Running) -> dict[str, str]:
    """The credentials of a new device, as headers."""
    made = request(running, "POST", "/v1/devices", {"platform": "cli", "app": "a"})
    return {"Push-Token": made["token"], "Push-Secret": made["secret"]}


def push(running: Running, token: str, data: Any) -> str:
    answer = request(running, "POST", "/v1/push", {"to": {"token": token}, "data": data})
    return str(answer["id"])


class Stream:
    """A response that is read line by line."""

    def __init__(self, connection: HTTPConnection, response: HTTPResponse) -> None:
        self.connection = connection
        self.response = response
        self.reader = EventReader()

    def message(self) -> Any:
        """The next message; None at the end of the response."""
        had = len(self.reader.events)
        while len(self.reader.events) == had:
            line = self.response.readline()
            if not line:
                return None
            self.reader.feed(line.decode())
        return self.reader.events[-1].data

    def close(self) -> None:
        self.response.close()
        self.connection.close()


def opened(
    address: tuple[str, int], headers: dict[str, str], query: str = "", *, tls: bool = False
) -> Stream:
    connection: HTTPConnection
    if tls:
        context = ssl._create_unverified_context()
        connection = HTTPSConnection(*address, timeout=DEADLINE_SECONDS, context=context)
    else:
        connection = HTTPConnection(*address, timeout=DEADLINE_SECONDS)
    connection.request("GET", f"/v1/stream{query}", headers=headers)
    return Stream(connection, connection.getresponse())


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    """`twistd push` with all listeners."""
    with started_server("push", **ALL_LISTENERS) as running:
        yield running


@pytest.fixture(params=["http", "ws", "wss"])
def door(request: pytest.FixtureRequest, server: Running) -> tuple[tuple[str, int], bool]:
    """Each port on which `twistd push` serves streams, and whether with TLS."""
    address = {"http": server.http, "ws": server.ws_address, "wss": server.wss_address}
    return address[request.param], request.param == "wss"


def test_a_stream_on_every_port(server: Running, door: tuple[tuple[str, int], bool]) -> None:
    address, tls = door
    headers = registered(server)
    stream = opened(address, headers, "?ack=id", tls=tls)
    assert stream.response.status == 200
    ids = [push(server, headers["Push-Token"], number) for number in range(3)]
    messages = [stream.message() for _ in ids]
    assert [message["id"] for message in messages] == ids
    [row] = [
        row
        for row in request(server, "GET", "/v1/connections")["connections"]
        if row["token"] == headers["Push-Token"]
    ]
    assert row["carrier"] == ("sses" if tls else "sse")
    assert row["ip"] == "127.0.0.1"
    second = stream.reader.events[1].last_id
    stream.close()
    again = opened(address, {**headers, "Last-Event-ID": second}, "?ack=id", tls=tls)
    message = again.message()
    assert message["id"] == ids[2]
    assert request(server, "GET", f"/v1/messages/{ids[1]}")["acknowledged"] == 1
    assert request(server, "GET", f"/v1/messages/{ids[2]}")["acknowledged"] == 0
    assert request(server, "GET", f"/v1/messages/{ids[2]}")["written"] == 1
    again.close()


def test_refusals_on_every_port(server: Running, door: tuple[tuple[str, int], bool]) -> None:
    address, tls = door
    headers = registered(server)
    for more, query, status in (
        ({}, "", 401),
        ({"Push-Token": "x", "Push-Secret": "y"}, "", 404),
        ({**headers, "Push-Secret": "y" * 22}, "", 401),
        (headers, "?ack=maybe", 422),
    ):
        stream = opened(address, more, query, tls=tls)
        assert stream.response.status == status
        problem = json.loads(stream.response.read())
        assert problem["status"] == status
        assert stream.response.headers["Content-Type"] == "application/problem+json"
        stream.close()


def test_after_other_requests_of_the_same_connection(server: Running) -> None:
    headers = registered(server)
    connection = HTTPConnection(*server.http, timeout=DEADLINE_SECONDS)
    for _ in range(2):
        connection.request("GET", "/healthz")
        assert connection.getresponse().read()
    connection.request("GET", "/v1/stream", headers=headers)
    stream = Stream(connection, connection.getresponse())
    id = push(server, headers["Push-Token"], "hello")
    assert stream.message()["id"] == id
    stream.close()


def test_curl_is_a_subscriber(server: Running) -> None:
    headers = registered(server)
    options = [part for name, value in headers.items() for part in ("-H", f"{name}: {value}")]
    with subprocess.Popen(
        ["curl", "-sSN", *options, f"{server.http_url}/v1/stream"], stdout=subprocess.PIPE
    ) as curl:
        assert curl.stdout is not None
        assert curl.stdout.readline().startswith(b": session ")
        push(server, headers["Push-Token"], {"text": "hello"})
        lines = iter(curl.stdout.readline, b"")
        assert next(line for line in lines if line.startswith(b"id: "))
        assert next(lines) == b"event: message\n"
        body = json.loads(next(lines).removeprefix(b"data: "))
        assert body["data"] == {"text": "hello"}
        request(server, "POST", f"/v1/devices/{headers['Push-Token']}/kick")
        rest = curl.stdout.read()
        assert b"event: disconnect\n" in rest
        assert curl.wait(DEADLINE_SECONDS) == 0


def test_a_trusted_proxy_names_the_client() -> None:
    with started_server("push", http_trusted_proxies='["127.0.0.1"]') as running:
        headers = registered(running)
        stream = opened(running.http, {**headers, "X-Forwarded-For": "192.0.2.7"})
        assert stream.response.status == 200
        [row] = request(running, "GET", "/v1/connections")["connections"]
        assert row["ip"] == "192.0.2.7"
        stream.close()


def test_the_http_port_with_tls(server: Running) -> None:
    pair = {"http_certificate": "server.crt", "http_private_key": "server.key"}
    files = {name: str(server.data_dir / file) for name, file in pair.items()}
    with started_server("push", **files) as running:
        address = running.http
        context = ssl._create_unverified_context()
        connection = HTTPSConnection(*address, timeout=DEADLINE_SECONDS, context=context)

        def post(path: str, body: Any) -> Any:
            headers = {
                "Authorization": f"Bearer {running.admin_key}",
                "Content-Type": "application/json",
            }
            connection.request("POST", path, json.dumps(body), headers)
            return json.loads(connection.getresponse().read())

        made = post("/v1/devices", {"platform": "cli", "app": "a"})
        headers = {"Push-Token": made["token"], "Push-Secret": made["secret"]}
        stream = opened(address, headers, tls=True)
        id = post("/v1/push", {"to": {"token": made["token"]}, "data": 1})["id"]
        assert stream.message()["id"] == id
        stream.close()
        connection.close()


def test_a_cluster_redirects_and_drains(redis_url: str, tmp_path: Path) -> None:
    """curl follows a redirect to another connector; a drain names it."""
    with ExitStack() as stack:

        def start(tap: str, **more: str) -> Running:
            settings = {"redis_url": redis_url, "connector_admin": "127.0.0.1:0", **more}
            return stack.enter_context(started_server(tap, tmp_path / "data", **settings))

        listeners = {"connector_tcp": "", "connector_tls": "", **ALL_LISTENERS}
        api, sub = start("push-api"), start("push-sub")
        first = start(
            "push-connector", server_node="c1", connector_max_connections="1", **listeners
        )
        second = start("push-connector", server_node="c2", **listeners)
        wait_for(
            lambda: len(request(sub, "GET", "/v1/servers?carrier=ws")["servers"]) == 2,
            "both connectors are known",
        )
        holder = registered(sub)
        elsewhere = opened(api.http, holder)
        assert elsewhere.response.status == 404, "the API has no sessions"
        elsewhere.close()
        held = opened(first.ws_address, holder)
        assert held.response.status == 200
        guest = registered(sub)
        url = f"http://{first.ws_address[0]}:{first.ws_address[1]}/v1/stream"
        there = f"http://{second.ws_address[0]}:{second.ws_address[1]}/v1/stream"
        options = [part for name, value in guest.items() for part in ("-H", f"{name}: {value}")]
        answer = opened(first.ws_address, guest)
        assert answer.response.status == 307
        assert answer.response.headers["Location"] == there
        answer.close()
        with subprocess.Popen(["curl", "-sSNL", *options, url], stdout=subprocess.PIPE) as curl:
            assert curl.stdout is not None
            assert curl.stdout.readline().startswith(b": session ")
            push(api, guest["Push-Token"], 1)
            lines = iter(curl.stdout.readline, b"")
            assert next(line for line in lines if line == b"event: message\n")
            curl.terminate()
        request(api, "POST", "/v1/nodes/c1/drain", {"rate": 100})
        goodbye = held.message()
        assert goodbye["code"] == "draining"
        assert goodbye["servers"][0] == there
        assert held.message() is None
        held.close()
