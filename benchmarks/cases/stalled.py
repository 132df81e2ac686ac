"""The memory of a connector while a million messages are pushed at devices that read nothing.

1,000 plain sessions that never read and never acknowledge. The messages go to each by its token,
with small and with large `data`, and to all. Growth is the process's resident memory at its most,
beside what it was when all sessions were open; Redis, in a process of its own, is not in it.
"""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.bench import Bench
from benchmarks.benchmark import Benchmark
from benchmarks.fleet import Fleet
from benchmarks.results import OURS, FigureTable
from benchmarks.running import Api, started_server

MIB = 1024 * 1024
CASES: Sequence[tuple[str, int, int, bool]] = (
    ("by_token_1000000_of_200_bytes_mib", 1_000_000, 200, False),
    ("by_token_200000_of_4000_bytes_mib", 200_000, 4000, False),
    ("to_all_1000000_of_200_bytes_mib", 1_000_000, 200, True),
)


def growth_mib(devices: int, pushes: int, data_bytes: int, *, to_all: bool) -> float:
    """Each push goes to all `devices`, which read nothing."""
    with started_server() as running:
        fleet = Fleet(running.tcp_address, devices)
        tokens = fleet.connect(running.app_key)
        api = Api(running)
        before = most = running.rss_bytes()
        to = {"all": True} if to_all else {"tokens": tokens}
        push = {"to": to, "data": "x" * data_bytes, "ttl": 3600}
        for _ in range(pushes):
            api.post("/v1/push", push)
            most = max(most, running.rss_bytes())
        fleet.close()
    return (most - before) / MIB


def run(bench: Bench) -> None:
    devices, part = bench.pick((1000, 1), (100, 10), (5, 50))
    for number in range(bench.rounds(1)):
        figures = {}
        for name, messages, data_bytes, to_all in CASES:
            bench.say(f"devices that read nothing, {name}: round {number + 1}")
            pushes = messages // 1000 // part
            figures[name] = growth_mib(devices, pushes, data_bytes, to_all=to_all)
        bench.results.add("stalled", OURS, figures)


BENCHMARK = Benchmark(
    "stalled",
    "memory while a million messages are pushed at devices that read nothing",
    run,
    (FigureTable("stalled", "Growth of a connector with 1,000 devices that read nothing"),),
)
