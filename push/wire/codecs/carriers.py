"""Which carriers of devices are what."""

from __future__ import annotations

ENCRYPTED = frozenset({"tls", "wss", "sses"})
WEB_SOCKETS = frozenset({"ws", "wss"})
EVENT_STREAMS = frozenset({"sse", "sses"})  # responses to `GET /v1/stream`
