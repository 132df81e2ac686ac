"""Servers for the tests of the JavaScript client, and what those are told of them."""

from __future__ import annotations

import re
from typing import NamedTuple

from benchmarks.running import Running

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
