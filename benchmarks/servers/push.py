"""push-universe as it is run: everything in one process, or several processes on one Redis."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import quote

from benchmarks.machine import children
from benchmarks.running import Running, started_server
from benchmarks.servers.base import OURS, Certificate, Server, free_port
from tests.faults.processes import Redis

STORED_SECONDS = 60
# What `twistd push` writes into its data folder when it has no certificate.
CERTIFICATE = Certificate(Path("server.crt"), Path("server.key"))


class Push(Server):
    """`twistd push` with its embedded Redis, which writes every answered message to the disk."""

    name = OURS
    heartbeat_seconds = 300
    settle_seconds = 1.3  # cursors and the ledger are written within a second
    protocol = "push"

    def __init__(self, carrier: str = "plain", **settings: str) -> None:
        super().__init__(carrier)
        chosen = {"connector_ws": "127.0.0.1:0", **settings}
        running = self._stack.enter_context(started_server("push", **chosen))
        self._use(running)
        self.pids = [running.process.pid, *children(running.process.pid)]

    def _use(self, running: Running) -> None:
        self.running = running
        self.http_port = running.http[1]
        addresses = {
            "plain": running.tcp_address,
            "tls": running.tls_address,
            "websocket": running.ws_address,
        }
        self.port = addresses[self.carrier][1]

    @property
    def certificate(self) -> Certificate:
        return Certificate(*(self.running.data_dir / name for name in CERTIFICATE))

    @property
    def redis_socket(self) -> str:
        return str(self.running.data_dir / "redis" / "redis.sock")

    def words(self) -> dict[str, object]:
        words = super().words()
        if self.carrier == "websocket":
            words["protocol"] = "push-websocket"
        keys = {"key": self.running.admin_key, "app_key": self.running.app_key}
        return {**words, **keys}

    def request(self, method: str, path: str, body: object = None) -> Any:
        connection = HTTPConnection(*self.running.http, timeout=STORED_SECONDS)
        headers = {
            "Authorization": f"Bearer {self.running.admin_key}",
            "Content-Type": "application/json",
        }
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        content = json.loads(answer.read())
        connection.close()
        if answer.status not in (200, 202):
            raise SystemExit(f"{method} {path}: {answer.status} {content}")
        return content

    def push_to_all(self) -> str:
        """A message to everyone that is acknowledged; its id."""
        body = {"to": {"all": True}, "data": "~T" + "0" * 19, "qos": 1}
        return str(self.request("POST", "/v1/push", body)["id"])

    def wait_until_acknowledged(self, message: str, sessions: int) -> dict[str, int]:
        """What the ledger has of a message, at the latest when it must have all."""
        deadline = time.monotonic() + STORED_SECONDS
        while True:
            ledger: dict[str, int] = self.request("GET", f"/v1/messages/{quote(message)}")
            if ledger["acknowledged"] >= sessions or time.monotonic() > deadline:
                return ledger
            time.sleep(0.02)


class PushInstances(Push):
    """`connectors` processes that share one port (`reuse_port`), an API, and a Redis server."""

    def __init__(self, connectors: int) -> None:
        Server.__init__(self)
        redis = self._stack.enter_context(_redis())
        folder = self._folder()
        common = {"redis_url": redis.url, "data_folder": folder / "data"}
        api = self._stack.enter_context(started_server("push-api", server_node="api", **common))
        port = free_port()
        shared = {"connector_tcp": f"127.0.0.1:{port}", "server_reuse_port": "true"}
        gates = [
            self._stack.enter_context(
                started_server(
                    "push-connector",
                    server_node=f"gate-{number}",
                    connector_admin="127.0.0.1:0",
                    connector_tls="",
                    auth_open_registration="true",
                    **shared,
                    **common,
                )
            )
            for number in range(connectors)
        ]
        self._use(api)
        self.port = port
        self._gates = [gate.process.pid for gate in gates]
        self.pids = [*self._gates, api.process.pid, redis.pid]

    @property
    def session_pids(self) -> list[int]:
        return self._gates


@contextmanager
def _redis() -> Iterator[Redis]:
    redis = Redis()
    redis.start()
    try:
        yield redis
    finally:
        redis.remove()
