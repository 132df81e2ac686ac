"""Which benchmarks there are."""

from __future__ import annotations

from benchmarks.benchmark import Benchmark
from benchmarks.cases import (
    bans,
    broadcast,
    catch_up,
    chat,
    cluster,
    hostile,
    http,
    idle,
    instances,
    latency,
    ledger,
    scale,
    stalled,
    storm,
)

ALL: tuple[Benchmark, ...] = (
    broadcast.BENCHMARK,
    http.BENCHMARK,
    latency.BENCHMARK,
    storm.BENCHMARK,
    idle.BENCHMARK,
    catch_up.BENCHMARK,
    scale.BENCHMARK,
    instances.BENCHMARK,
    ledger.BENCHMARK,
    chat.BENCHMARK,
    bans.BENCHMARK,
    stalled.BENCHMARK,
    cluster.BENCHMARK,
    hostile.BENCHMARK,
)
BY_NAME = {benchmark.name: benchmark for benchmark in ALL}
