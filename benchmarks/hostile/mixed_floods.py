"""Several kinds of floods at once."""

from __future__ import annotations

from benchmarks.hostile.attacker import FLOODS, Attacker, flood

MIXED = (
    *("ping", "http-bytes", "publish", "connects", "ping-tls", "slow-http", "pipelining", "dials"),
    *("bad-requests", "subscribe", "http-dials", "streams", "acks", "large-requests", "cursors"),
    "tls-handshakes",
)


@flood("mixed", "each attacker another of sixteen floods")
def mixed(attacker: Attacker) -> None:
    FLOODS[MIXED[attacker.number % len(MIXED)]].run(attacker)
