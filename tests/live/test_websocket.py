"""Devices over WebSocket with the client of another project, and a cluster in processes."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin, Subprotocol

from benchmarks.running import Running, started_server
from tests.conftest import RedisServer
from tests.waiting import DEADLINE_SECONDS, wait_for

SUB_PROTOCOLS = [Subprotocol("push.v2")]


class Device:
    """What a few lines of a script make of the document."""

    def __init__(self, url: str, **options: Any) -> None:
        opening = connect(url, subprotocols=SUB_PROTOCOLS, **options)
        self.socket: ClientConnection = opening.__enter__()
        self._ids = 0
        self.pushes: list[dict[str, Any]] = []

    def send(self, signal: str, content: object = None, sub: str = "", id: int = 0) -> None:
        message: dict[str, Any] = {"signal": signal}
        message |= {"subSignal": sub} if sub else {}
        message |= {"messageId": id} if id else {}
        message |= {} if content is None else {"content": content}
        self.socket.send(json.dumps(message))

    def receive(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self.socket.recv(timeout=DEADLINE_SECONDS))
        return message

    def ask(self, signal: str, content: object = None, sub: str = "") -> dict[str, Any]:
        self._ids += 1
        self.send(signal, content, sub, self._ids)
        while True:
            message = self.receive()
            if message["signal"] != "PUSH":
                assert message["messageId"] == self._ids
                return message
            self.pushes.append(message)

    def push(self) -> dict[str, Any]:
        """The next message, acknowledged."""
        message = self.pushes.pop(0) if self.pushes else self.receive()
        assert message["signal"] == "PUSH", message
        if message["messageId"]:
            self.send("PUB_ACK", id=message["messageId"])
        return dict(message["content"])

    def end(self) -> tuple[dict[str, Any] | None, int]:
        """What DISCONNECT says, and the code of the Close frame."""
        said: list[dict[str, Any]] = []

        def read_all() -> None:
            while True:
                message = self.receive()
                if message["signal"] == "DISCONNECT":
                    said.append(message["content"])

        with pytest.raises(ConnectionClosed) as closed:
            read_all()
        assert closed.value.rcvd is not None, "closed without a Close frame"
        return said[0] if said else None, closed.value.rcvd.code


class Deployment:
    """Two connectors, the API and push-sub. The first connector takes `room` sessions."""

    def __init__(self, stack: ExitStack, url: str, data: Path, room: str) -> None:
        def start(tap: str, **more: str) -> Running:
            settings = {"redis_url": url, "connector_admin": "127.0.0.1:0", **more}
            return stack.enter_context(started_server(tap, data, **settings))

        listeners = {
            "connector_tcp": "",
            "connector_tls": "",
            "connector_ws": "127.0.0.1:0",
            "connector_wss": "127.0.0.1:0",
        }
        self.api = start("push-api")
        self.sub = start("push-sub")
        self.connectors = [
            start("push-connector", server_node="c1", connector_max_connections=room, **listeners),
            start("push-connector", server_node="c2", **listeners),
        ]

    @property
    def elsewhere(self) -> list[str]:
        """Where a WebSocket without TLS goes from the first connector."""
        other = self.connectors[1]
        return [other.ws_url, f"wss://127.0.0.1:{other.wss_address[1]}/ws"]

    def request(
        self, method: str, path: str, body: Any = None, *, of: Running | None = None
    ) -> Any:
        asked = of or self.api
        connection = HTTPConnection(*asked.http, timeout=DEADLINE_SECONDS)
        headers = {"Authorization": f"Bearer {asked.admin_key}"}
        headers |= {} if body is None else {"Content-Type": "application/json"}
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        assert answer.status < 300, (answer.status, text)
        return json.loads(text) if text else None

    def registered(self) -> dict[str, str]:
        """A new device, over a WebSocket of its own."""
        device = Device(self.connectors[1].ws_url)
        asked = {"platform": "web", "app": "a", "key": self.api.app_key}
        pair: dict[str, str] = device.ask("SUB", asked)["content"]
        device.send("DISCONNECT", {"code": "bye"})
        assert device.end() == (None, 1000)
        return pair

    def session(self, connector: int, pair: dict[str, str]) -> Device:
        device = Device(self.connectors[connector].ws_url)
        assert device.ask("CONNECT", pair)["subSignal"] == "ACCEPTED"
        return device

    def token_push(self, pair: dict[str, str], data: Any, **more: Any) -> str:
        to = {"token": pair["token"]}
        answer = self.request("POST", "/v1/push", {"to": to, "data": data, **more})
        return str(answer["id"])


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    redis = RedisServer()
    redis.start()
    with ExitStack() as stack:
        stack.callback(redis.remove)
        yield Deployment(stack, redis.url, tmp_path_factory.mktemp("data"), room="1")


def test_a_message_is_pushed_and_acknowledged(deployment: Deployment) -> None:
    pair = deployment.registered()
    id = deployment.token_push(pair, "waits")
    device = deployment.session(1, pair)
    assert device.push()["data"] == "waits"
    wait_for(lambda: deployment.request("GET", f"/v1/messages/{id}")["acknowledged"] == 1)
    deployment.token_push(pair, {"now": "ä"}, qos=0)
    assert device.push()["data"] == {"now": "ä"}
    assert device.ask("PUBLISH", {"topic": "news"}, sub="TS")["content"] == {"ok": True}
    assert device.ask("PING")["content"]["interval"] == 300
    [row] = deployment.request("GET", "/v1/connections?topic=news")["connections"]
    assert (row["token"], row["carrier"], row["node"]) == (pair["token"], "ws", "c2")
    device.socket.close()


def test_the_servers_for_websockets_are_their_urls(deployment: Deployment) -> None:
    for carrier in ("ws", "wss"):
        path = f"/v1/servers?carrier={carrier}"

        def urls(path: str = path) -> list[str]:
            return sorted(deployment.request("GET", path, of=deployment.sub)["servers"])

        addresses = [getattr(each, f"{carrier}_address") for each in deployment.connectors]
        expected = sorted(f"{carrier}://{host}:{port}/ws" for host, port in addresses)
        wait_for(lambda urls=urls, expected=expected: urls() == expected)


def test_over_tls_with_the_certificate_of_the_data_folder(deployment: Deployment) -> None:
    trusting = ssl.create_default_context(cafile=deployment.api.data_dir / "server.crt")
    port = deployment.connectors[1].wss_address[1]
    device = Device(f"wss://localhost:{port}/ws", ssl=trusting)
    pair = deployment.registered()
    assert device.ask("CONNECT", pair)["subSignal"] == "ACCEPTED"
    deployment.token_push(pair, 1)
    assert device.push()["data"] == 1
    device.send("DISCONNECT", {"code": "bye"})
    assert device.end() == (None, 1000)


def test_a_full_connector_sends_websockets_to_a_websocket(deployment: Deployment) -> None:
    first = deployment.session(0, deployment.registered())
    pair = deployment.registered()
    device = Device(deployment.connectors[0].ws_url)
    refused = device.ask("CONNECT", pair)
    assert refused["subSignal"] == "USE_ANOTHER_SERVER"
    assert device.end() == (None, 4106)
    servers = refused["content"]["servers"]
    assert servers == deployment.elsewhere
    there = Device(servers[0])
    assert there.ask("CONNECT", pair)["subSignal"] == "ACCEPTED"
    for each in (first, there):
        each.socket.close()
    wait_for(lambda: deployment.request("GET", "/v1/connections")["connections"] == [])


def test_a_newer_connection_takes_over_across_connectors(deployment: Deployment) -> None:
    pair = deployment.registered()
    older = deployment.session(0, pair)
    newer = deployment.session(1, pair)
    said, code = older.end()
    assert (said and said["code"], code) == ("taken_over", 4001)
    deployment.token_push(pair, "to the newer")
    assert newer.push()["data"] == "to the newer"
    newer.socket.close()


def test_an_operator_kicks_a_device(deployment: Deployment) -> None:
    pair = deployment.registered()
    device = deployment.session(1, pair)
    answer = deployment.request("POST", f"/v1/devices/{pair['token']}/kick", {})
    assert answer["kicked"] == 1
    said, code = device.end()
    assert (said and said["code"], code) == ("kicked", 4002)


def test_what_is_wrong_ends_with_its_reason(deployment: Deployment) -> None:
    wrong: list[tuple[str | bytes, str, int]] = [
        ("x" * 70_000, "frame_too_large", 4007),
        ("{", "bad_frame", 4006),
        (b"\xf8\x02", "bad_frame", 4006),
    ]
    for sent, name, expected in wrong:
        device = Device(deployment.connectors[1].ws_url)
        device.socket.send(sent)
        said, code = device.end()
        assert (said and said["code"], code) == (name, expected)


def test_pages_of_other_hosts_are_refused(deployment: Deployment) -> None:
    url = deployment.connectors[1].ws_url
    with pytest.raises(InvalidStatus) as refused:
        Device(url, origin=Origin("https://elsewhere.example"))
    assert refused.value.response.status_code == 403
    with pytest.raises(InvalidStatus) as refused:
        Device(url.replace("/ws", "/other"))
    assert refused.value.response.status_code == 404
    Device(url, origin=Origin("http://127.0.0.1:8080")).socket.close()


def test_a_drained_connector_sends_its_websockets_to_the_other(deployment: Deployment) -> None:
    """The last test: the first connector ends."""
    pair = deployment.registered()
    device = deployment.session(0, pair)
    deployment.request("POST", "/v1/nodes/c1/drain", {})
    said, code = device.end()
    assert said is not None
    assert (said["code"], code) == ("draining", 4003)
    assert said["servers"] == deployment.elsewhere
    again = Device(said["servers"][0])
    assert again.ask("CONNECT", pair)["subSignal"] == "ACCEPTED"
    deployment.token_push(pair, "moved")
    assert again.push()["data"] == "moved"
    assert deployment.connectors[0].process.wait(DEADLINE_SECONDS) == 0
    again.socket.close()
