"""All floods, by name."""

from __future__ import annotations

from benchmarks.hostile import (
    backlog_floods,
    carrier_floods,
    connection_floods,
    http_floods,
    mixed_floods,
    request_floods,
    session_floods,
    web_floods,
)
from benchmarks.hostile.attacker import FLOODS, Attacker, Flood

__all__ = [
    "FLOODS",
    "Attacker",
    "Flood",
    "backlog_floods",
    "carrier_floods",
    "connection_floods",
    "http_floods",
    "mixed_floods",
    "request_floods",
    "session_floods",
    "web_floods",
]
