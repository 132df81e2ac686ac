"""Which carriers of devices are what."""

from __future__ import annotations

ENCRYPTED = frozenset({"tls", "wss"})
WEB_SOCKETS = frozenset({"ws", "wss"})
