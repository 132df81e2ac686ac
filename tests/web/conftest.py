"""The servers of these tests: `twistd push` with WebSocket, users' JWTs and short times."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from benchmarks.running import Running, started_server

SETTINGS = {
    "connector_ws": "127.0.0.1:0",
    # The pages of these tests come from servers of their own ports.
    "connector_origins": '["*"]',
    # So that nobody waits for half a minute.
    "connector_heartbeat_min": "1",
    "connector_redeliver_after": "2",
    "connector_max_backlog": "100",
}


class WebServer(NamedTuple):
    """A started server, and where devices connect by WebSocket."""

    running: Running
    ws_url: str
    jwt_secret: str

    def variables(self) -> dict[str, str]:
        """For the tests in JavaScript."""
        return {
            "PUSH_WS": self.ws_url,
            "PUSH_HTTP": self.running.http_url,
            "PUSH_ADMIN_KEY": self.running.admin_key,
            "PUSH_APP_KEY": self.running.app_key,
            "PUSH_JWT_SECRET": self.jwt_secret,
        }


def ws_url(running: Running) -> str:
    found = re.search(r"listening: ws \S*?:(\d+)", running.log.read_text())
    assert found, running.log.read_text()
    return f"ws://127.0.0.1:{found[1]}/ws"


@pytest.fixture(scope="module")
def web_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebServer]:
    """For a whole module."""
    secret = secrets.token_hex(32)
    key: Path = tmp_path_factory.mktemp("jwt") / "jwt.key"
    key.write_text(secret)
    with started_server(**SETTINGS, auth_jwt_key_file=str(key)) as running:
        yield WebServer(running, ws_url(running), secret)


@pytest.fixture
def two_servers(redis_url: str) -> Iterator[tuple[WebServer, WebServer]]:
    """Two nodes of one system, "one" and "two", on the Redis server that tests share."""
    with (
        started_server(**SETTINGS, redis_url=redis_url, server_node="one") as first,
        started_server(**SETTINGS, redis_url=redis_url, server_node="two") as second,
    ):
        yield WebServer(first, ws_url(first), ""), WebServer(second, ws_url(second), "")
