"""`POST /v1/push` to one device of many, and `POST /v1/push/batch`, each device connected.

A run is over when every accepted message has arrived. The yardstick is a Klein handler with one
Redis PUBLISH, to which the same requests go; nothing is delivered there.
"""

from __future__ import annotations

from benchmarks.bench import Bench, Pair
from benchmarks.benchmark import Benchmark
from benchmarks.cases.broadcast import settle_seconds, with_cpu
from benchmarks.load import Answer
from benchmarks.results import OURS, Table
from benchmarks.servers.push import Push
from benchmarks.servers.yardsticks import BareKlein

CLIENTS, BATCH_CLIENTS, BATCH = 32, 4, 100
REQUESTS = (
    ("requests/s", "requests_per_s"),
    ("messages/s", "messages_per_s"),
    ("CPU s for a million messages", "cpu_s_a_million"),
    ("p50 ms", "p50_ms"),
    ("p99 ms", "p99_ms"),
    ("generator busy", "own_busy"),
)


def run(bench: Bench) -> None:
    devices = bench.pick(1000, 100, 5)
    seconds = bench.pick(2.0, 0.6, 0.2)
    with Push() as ours, bench.loaded(lambda: BareKlein(ours.redis_socket)) as others:
        own = bench.pair(ours)
        bench.open_all({OURS: own}, devices)
        push(own, seconds=seconds / 2, targets=devices)  # what the first ones load
        for number in range(bench.rounds(5)):
            bench.say(f"pushes by HTTP: round {number + 1}")
            add = bench.results.add
            add("http single", OURS, push(own, seconds=seconds, targets=devices))
            add("http QoS 0", OURS, push(own, seconds=seconds, targets=devices, qos=0))
            add("http one device", OURS, push(own, seconds=seconds, targets=1))
            batches = push(
                own, seconds=seconds, targets=devices, batch=BATCH, clients=BATCH_CLIENTS
            )
            add("http batch", OURS, batches)
            bare = others[BareKlein.name]
            add("http single", BareKlein.name, unwatched(bare, seconds))
        own.load.close()


def push(pair: Pair, **words: float) -> Answer:
    settle = settle_seconds(pair, int(words.get("qos", 1)))
    return with_cpu(pair.load.ask("push", **{"clients": CLIENTS, "settle": settle, **words}))


def unwatched(pair: Pair, seconds: float) -> Answer:
    """The same requests to a server that delivers nothing. CPU is for a million requests."""
    answer = pair.load.ask("push", clients=CLIENTS, seconds=seconds, targets=1, unwatched=1)
    answer["cpu_s_a_million"] = answer["server_cpu_s"] / answer["requests"] * 1e6
    return answer


BENCHMARK = Benchmark(
    "http",
    "POST /v1/push to one of 1,000 devices, QoS 1 and 0, all to one device, batches of 100",
    run,
    (
        Table(
            "http single",
            "A push to one of many by HTTP, QoS 1, 32 clients",
            REQUESTS,
            BareKlein.name,
        ),
        Table("http QoS 0", "The same, QoS 0", REQUESTS),
        Table("http one device", "The same, QoS 1, all to one device", REQUESTS),
        Table("http batch", f"Batches of {BATCH}, QoS 1, 4 clients", REQUESTS[1:]),
    ),
)
