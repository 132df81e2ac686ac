"""The servers of these tests: `twistd push` with WebSocket, users' JWTs and short times."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.running import started_server
from tests.web.servers import SETTINGS, WebServer, ws_url


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
