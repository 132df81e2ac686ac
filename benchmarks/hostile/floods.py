"""All floods, by name."""

from __future__ import annotations

from benchmarks.hostile import (
    api_floods,
    backlog_floods,
    carrier_floods,
    connection_floods,
    crowd_floods,
    http_floods,
    key_floods,
    mixed_floods,
    odd_http_floods,
    request_floods,
    segment_floods,
    session_floods,
    storm_floods,
    told_floods,
    web_floods,
)
from benchmarks.hostile.attacker import FLOODS, Attacker, Flood

__all__ = [
    "FLOODS",
    "Attacker",
    "Flood",
    "api_floods",
    "backlog_floods",
    "carrier_floods",
    "connection_floods",
    "crowd_floods",
    "http_floods",
    "key_floods",
    "mixed_floods",
    "odd_http_floods",
    "request_floods",
    "segment_floods",
    "session_floods",
    "storm_floods",
    "told_floods",
    "web_floods",
]
