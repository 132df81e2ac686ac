"""Devices that were disconnected while messages came: until each has all of them, exactly once."""

from __future__ import annotations

import time
from collections.abc import Callable

from benchmarks.bench import Bench, Pair
from benchmarks.benchmark import Benchmark
from benchmarks.machine import cpu_seconds
from benchmarks.results import Table
from benchmarks.servers.base import Server
from benchmarks.servers.peers import Mosquitto
from benchmarks.servers.push import Push

COLUMNS = (
    ("messages/s", "messages_per_s"),
    ("s", "seconds"),
    ("s until acknowledgements are stored", "seconds_stored"),
    ("CPU s for a million", "cpu_s_a_million"),
    ("stored/s before", "stored_per_s"),
)
BATCH = 50


def run(bench: Bench) -> None:
    devices, messages = bench.pick((200, 500), (20, 100), (3, 5))
    makers: list[Callable[[], Server]] = [Push]
    if bench.paths.mosquitto:
        makers.append(lambda: Mosquitto(bench.paths, keeps_session=True))
    for number in range(bench.rounds(3)):
        bench.say(f"catching up: round {number + 1}")
        for make in makers:
            with bench.loaded(make) as pairs:  # each with nothing stored before
                for name, pair in pairs.items():
                    figures = catch_up(bench, pair, devices, messages)
                    bench.results.add("catch-up", name, figures)


def catch_up(bench: Bench, pair: Pair, devices: int, messages: int) -> dict[str, float | None]:
    server, load = pair
    load.ask("open", n=devices, inflight=64)
    load.ask("drop")
    time.sleep(bench.pick(1.0, 0.5, 0.1))
    stored = load.ask("store", count=messages, batch=BATCH, qos=1)
    before = sum(map(cpu_seconds, server.pids))
    load.ask("open", n=devices, inflight=devices)
    arrived = load.ask("await", per=messages)
    seconds_stored = None
    if isinstance(server, Push):
        # The cursors are at the end of the log when a message behind all others is acknowledged.
        began = time.monotonic()
        message = server.push_to_all()
        load.send("idle", seconds=server.settle_seconds)
        server.wait_until_acknowledged(message, devices)
        seconds_stored = arrived["seconds"] + time.monotonic() - began
        load.answer()
    else:
        load.ask("idle", seconds=server.settle_seconds)
    used = sum(map(cpu_seconds, server.pids)) - before
    return {
        "messages_per_s": devices * messages / arrived["seconds"],
        "seconds": arrived["seconds"],
        "seconds_stored": seconds_stored,
        "cpu_s_a_million": used / (devices * messages) * 1e6,
        "stored_per_s": messages / stored["wall_s"],
    }


BENCHMARK = Benchmark(
    "catch-up",
    "200 devices that come back to 500 messages each",
    run,
    (Table("catch-up", "Devices catch up on what they missed, QoS 1", COLUMNS),),
)
