"""One connector, and two that share a port; with an API and a Redis server of their own."""

from __future__ import annotations

from contextlib import ExitStack

from benchmarks.bench import Bench
from benchmarks.benchmark import Benchmark
from benchmarks.cases.broadcast import COLUMNS, broadcast, with_cpu
from benchmarks.results import Table
from benchmarks.servers.push import PushInstances

ONE, TWO = "one connector", "two connectors"
KINDS = (("single", 0), ("burst", 0), ("single", 1))
TEXTS = {"single": "one at a time", "burst": "many together"}


def run(bench: Bench) -> None:
    sessions, count = bench.pick(5000, 500, 10), bench.pick(10, 4, 2)
    with ExitStack() as stack:
        pairs = {}
        for name, connectors in ((ONE, 1), (TWO, 2)):
            server = stack.enter_context(PushInstances(connectors))
            pairs[name] = pair = bench.pair(server)
            stack.callback(pair.load.close)
        bench.open_all(pairs, sessions, inflight=256)
        for number in range(bench.rounds(3)):
            bench.say(f"one and two connectors: round {number + 1}")
            for kind, qos in KINDS:
                for name, pair in pairs.items():
                    answer = with_cpu(broadcast(pair, qos, count, kind))
                    bench.results.add(f"instances {kind} QoS {qos}", name, answer)


BENCHMARK = Benchmark(
    "instances",
    "one connector and two on one port, on one Redis server",
    run,
    [
        Table(
            f"instances {kind} QoS {qos}",
            f"Separate processes, QoS {qos}, {TEXTS[kind]}",
            COLUMNS,
            ONE,
        )
        for kind, qos in KINDS
    ],
)
