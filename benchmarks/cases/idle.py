"""Sessions that do nothing: memory, and CPU for heartbeats alone; memory again after traffic.

Memory is the growth of the processes that hold the sessions, after a first hundred came and went.
"""

from __future__ import annotations

import time

from benchmarks.bench import Bench, Pair
from benchmarks.benchmark import Benchmark
from benchmarks.cases.broadcast import ACKNOWLEDGING, broadcast
from benchmarks.machine import cpu_seconds
from benchmarks.results import Table

CARRIERS = ("plain", "tls", "websocket")
COLUMNS = (
    ("KiB a session", "kib_a_session"),
    ("after QoS 0", "kib_after_qos0"),
    ("after QoS 1", "kib_after_qos1"),
    ("CPU s a minute for 1,000 sessions", "cpu_s_a_minute"),
    ("CPU s a minute with none", "cpu_s_a_minute_empty"),
)
WARM_SESSIONS = 100


def run(bench: Bench) -> None:
    seconds = bench.pick(15.0, 3.0, 0.2)
    messages = bench.pick(20, 8, 2)
    for carrier in CARRIERS:
        sessions = bench.pick(5000, 500, 10) if carrier == "plain" else bench.pick(2000, 200, 10)
        for number in range(bench.rounds(1)):
            bench.say(f"idle sessions, {carrier}: round {number + 1}")
            with bench.fleet(carrier, yardsticks=False) as pairs:
                _round(bench, pairs, carrier, sessions, seconds, messages)


def _round(
    bench: Bench,
    pairs: dict[str, Pair],
    carrier: str,
    sessions: int,
    seconds: float,
    messages: int,
) -> None:
    for pair in pairs.values():
        pair.load.ask("open", n=min(WARM_SESSIONS, sessions), inflight=50)
        pair.load.ask("drop")
    time.sleep(bench.pick(2.0, 1.0, 0.1))
    empty = cpu_a_minute(pairs, seconds)
    before = {name: pair.server.rss_kib() for name, pair in pairs.items()}
    bench.open_all(pairs, sessions)
    time.sleep(bench.pick(2.0, 1.0, 0.1))
    idle = cpu_a_minute(pairs, seconds)
    grown = growth(pairs, before, sessions)
    for pair in pairs.values():
        broadcast(pair, 0, messages, "single")
    after_qos0 = growth(pairs, before, sessions)
    for name, pair in pairs.items():
        if name in ACKNOWLEDGING:
            broadcast(pair, 1, messages, "single")
    for pair in pairs.values():
        pair.load.send("idle", seconds=bench.pick(5.0, 2.0, 0.1))
    for pair in pairs.values():
        pair.load.answer()
    after_qos1 = growth(pairs, before, sessions)
    for name in pairs:
        figures = {
            "kib_a_session": grown[name],
            "kib_after_qos0": after_qos0[name],
            "kib_after_qos1": after_qos1[name] if name in ACKNOWLEDGING else None,
            "cpu_s_a_minute": (idle[name] - empty[name]) / sessions * 1000,
            "cpu_s_a_minute_empty": empty[name],
        }
        bench.results.add(f"idle {carrier}", name, figures)


def growth(pairs: dict[str, Pair], before: dict[str, float], sessions: int) -> dict[str, float]:
    """KiB a session since `before`."""
    return {name: (pair.server.rss_kib() - before[name]) / sessions for name, pair in pairs.items()}


def cpu_a_minute(pairs: dict[str, Pair], seconds: float) -> dict[str, float]:
    """CPU seconds a minute of each server, all of them idle at the same time."""

    def used() -> dict[str, float]:
        return {name: sum(map(cpu_seconds, pair.server.pids)) for name, pair in pairs.items()}

    before, began = used(), time.monotonic()
    for pair in pairs.values():
        pair.load.send("idle", seconds=seconds)
    for pair in pairs.values():
        pair.load.answer()
    minutes = (time.monotonic() - began) / 60
    return {name: (after - before[name]) / minutes for name, after in used().items()}


BENCHMARK = Benchmark(
    "idle",
    "memory and CPU of idle sessions: plain, TLS, WebSocket; memory after traffic",
    run,
    [
        Table(f"idle {carrier}", f"Idle sessions, {text}", COLUMNS)
        for carrier, text in zip(CARRIERS, ("plain", "TLS", "WebSocket"), strict=True)
    ],
)
