"""How long a push takes under a load that does not wait for answers.

Times run from the moment when a push was due until the device has it: a server that stops is
charged for every push that was due meanwhile.
"""

from __future__ import annotations

from benchmarks.bench import Bench
from benchmarks.benchmark import Benchmark
from benchmarks.cases.http import push
from benchmarks.results import OURS, Table
from benchmarks.servers.push import Push

RATES_PER_SECOND = (200, 500, 1000, 1500)
COLUMNS = (
    ("p99 ms", "p99_ms"),
    ("p50 ms", "p50_ms"),
    ("worst ms", "max_ms"),
    ("requests/s", "requests_per_s"),
    ("CPU s for a million messages", "cpu_s_a_million"),
)


def run(bench: Bench) -> None:
    devices = bench.pick(1000, 100, 5)
    seconds = bench.pick(4.0, 1.0, 0.3)
    rates = bench.pick(RATES_PER_SECOND, RATES_PER_SECOND[:2], RATES_PER_SECOND[:1])
    with bench.loaded(Push) as pairs:
        own = pairs[OURS]
        bench.open_all(pairs, devices)
        push(own, seconds=seconds / 2, targets=devices, rate=rates[0])
        for number in range(bench.rounds(5)):
            bench.say(f"pushes at fixed rates: round {number + 1}")
            for rate in rates:
                answer = push(own, seconds=seconds, targets=devices, rate=rate)
                bench.results.add("latency", f"{rate:,} pushes/s", answer)


BENCHMARK = Benchmark(
    "latency",
    "p50 and p99 of pushes by HTTP at fixed rates, from the moment when a push was due",
    run,
    (Table("latency", "A push by HTTP at a fixed rate, QoS 1, from due to received", COLUMNS),),
)
