"""All floods, by name."""

from __future__ import annotations

from benchmarks.hostile import (
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
    "connection_floods",
    "http_floods",
    "mixed_floods",
    "request_floods",
    "session_floods",
    "web_floods",
]
