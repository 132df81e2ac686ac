"""1,000 to 15,000 sessions in one process: what each costs must not grow with their number."""

from __future__ import annotations

import resource

from benchmarks.bench import Bench
from benchmarks.benchmark import Benchmark
from benchmarks.cases.broadcast import broadcast, with_cpu
from benchmarks.cases.storm import end_all
from benchmarks.results import OURS, Table
from benchmarks.servers.push import Push
from benchmarks.servers.yardsticks import SendLoop

SIZES = (1000, 5000, 10_000, 15_000)
SPARE_FILES = 500
QOS_0 = (
    ("µs a session", "us_a_session"),
    ("CPU s for a million", "cpu_s_a_million"),
    ("p99 ms", "p99_ms"),
)
QOS_1 = (*QOS_0, ("RSS MiB", "rss_mib"), ("sessions opened/s", "opened_per_s"))


def run(bench: Bench) -> None:
    _, limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    sizes = bench.pick(SIZES, (200, 600), (5, 10))
    with bench.loaded(Push, SendLoop) as pairs:
        for sessions in (size for size in sizes if size <= limit - SPARE_FILES):
            end_all(bench, pairs)
            opened = {
                name: pair.load.ask("open", n=sessions, inflight=256)["per_second"]
                for name, pair in pairs.items()
            }
            for number in range(bench.rounds(3)):
                bench.say(f"{sessions:,} sessions: round {number + 1}")
                for name, pair in pairs.items():
                    for qos in (0, 1) if name == OURS else (0,):
                        answer = with_cpu(broadcast(pair, qos, bench.pick(10, 4, 1), "single"))
                        answer["us_a_session"] = 1e6 / answer["per_second"]
                        answer["rss_mib"] = pair.server.rss_kib() / 1024
                        answer["opened_per_s"] = opened[name]
                        bench.results.add(case(sessions, qos), name, answer)


def case(sessions: int, qos: int) -> str:
    return f"scale {sessions} QoS {qos}"


BENCHMARK = Benchmark(
    "scale",
    "1,000, 5,000, 10,000 and 15,000 sessions in one process",
    run,
    [
        Table(
            case(sessions, qos),
            f"A push to {sessions:,} sessions of one process, QoS {qos}",
            QOS_1 if qos else QOS_0,
            SendLoop.name,
        )
        for qos in (0, 1)
        for sessions in (*SIZES, 600, 200, 10, 5)
    ],
)
