"""Everybody connects: known devices, 64 at a time, and all at the same moment."""

from __future__ import annotations

import time

from benchmarks.bench import Bench, Pair
from benchmarks.benchmark import Benchmark
from benchmarks.load import Answer
from benchmarks.results import Table
from benchmarks.servers.yardsticks import JoinedLoop, SendLoop

CARRIERS = ("plain", "tls", "websocket")
INFLIGHT = 64
COLUMNS = (
    ("sessions/s", "per_second"),
    ("CPU ms a session", "cpu_ms_a_session"),
    ("p50 ms", "p50_ms"),
    ("p99 ms", "p99_ms"),
)


def run(bench: Bench) -> None:
    for carrier in CARRIERS:
        sessions = bench.pick(5000, 500, 10) if carrier == "plain" else bench.pick(2000, 200, 10)
        with bench.fleet(carrier) as pairs:
            pairs = {name: pair for name, pair in pairs.items() if name != JoinedLoop.name}
            bench.open_all(pairs, sessions)  # push-universe's devices register only here
            for number in range(bench.rounds(3)):
                bench.say(f"storms, {carrier}: round {number + 1}")
                for how, inflight in (("64 at a time", INFLIGHT), ("all at once", sessions)):
                    end_all(bench, pairs)
                    for name, pair in pairs.items():
                        answer = connect(pair, sessions, inflight)
                        bench.results.add(f"storm {carrier} {how}", name, answer)


def end_all(bench: Bench, pairs: dict[str, Pair]) -> None:
    for pair in pairs.values():
        pair.load.ask("drop")
    time.sleep(bench.pick(2.5, 1.0, 0.1))  # the servers notice, and have nothing left to do


def connect(pair: Pair, sessions: int, inflight: int) -> Answer:
    answer = pair.load.ask("open", n=sessions, inflight=inflight)
    if answer["opened"]:
        answer["cpu_ms_a_session"] = answer["server_cpu_s"] / answer["opened"] * 1000
    return answer


def _tables() -> list[Table]:
    texts = {"plain": "plain", "tls": "TLS", "websocket": "WebSocket"}
    return [
        Table(
            f"storm {carrier} {how}",
            f"Known devices connect, {texts[carrier]}, {how}",
            COLUMNS,
            SendLoop.name,
        )
        for carrier in CARRIERS
        for how in ("64 at a time", "all at once")
    ]


BENCHMARK = Benchmark(
    "storm",
    "sessions that connect: plain, TLS, WebSocket; 64 at a time and all at once",
    run,
    _tables(),
)
