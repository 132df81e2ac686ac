"""A push to everyone: plain, TLS and WebSocket; QoS 0 and 1; one at a time, and many together.

At QoS 1 subscribers acknowledge every message, and push-universe's ledger must say so at the end.
"""

from __future__ import annotations

from benchmarks.bench import Bench, Pair
from benchmarks.benchmark import Benchmark
from benchmarks.load import Answer
from benchmarks.results import OURS, Table
from benchmarks.servers.push import Push
from benchmarks.servers.yardsticks import JoinedLoop, SendLoop

CARRIERS = ("plain", "tls", "websocket")
COLUMNS = (
    ("messages/s", "per_second"),
    ("first to last", "per_second_first_to_last"),
    ("CPU s for a million", "cpu_s_a_million"),
    ("p50 ms", "p50_ms"),
    ("p99 ms", "p99_ms"),
    ("generator busy", "own_busy"),
)
ACKNOWLEDGING = (OURS, "mosquitto")


def run(bench: Bench) -> None:
    for carrier in CARRIERS:
        sessions = bench.pick(5000, 500, 10) if carrier == "plain" else bench.pick(2000, 200, 10)
        count = bench.pick(40 if carrier == "plain" else 20, 8, 2)
        with bench.fleet(carrier) as pairs:
            bench.open_all(pairs, sessions)
            for number in range(bench.rounds(5)):
                bench.say(f"broadcasts, {carrier}: round {number + 1}")
                broadcasts(bench, pairs, carrier, count)
            check_ledger(bench, pairs[OURS], sessions)


def broadcasts(bench: Bench, pairs: dict[str, Pair], carrier: str, count: int) -> None:
    """One round: each server in turn, with each kind of message."""
    for qos in (0, 1):
        for kind in ("single", "burst"):
            for name, pair in pairs.items():
                if qos and name not in ACKNOWLEDGING:
                    continue
                if name == JoinedLoop.name and kind == "single":
                    continue  # there is nothing to join
                answer = broadcast(pair, qos, count, kind)
                bench.results.add(case(carrier, qos, kind), name, with_cpu(answer))


def broadcast(pair: Pair, qos: int, count: int, kind: str) -> Answer:
    return pair.load.ask(
        "broadcast",
        qos=qos,
        count=count,
        together=int(kind == "burst"),
        settle=settle_seconds(pair, qos),
    )


def settle_seconds(pair: Pair, qos: int) -> float:
    """At QoS 0 there is no late work; what comes twice comes by then."""
    return pair.server.settle_seconds if qos else min(0.3, pair.server.settle_seconds)


def with_cpu(answer: Answer) -> Answer:
    """With the CPU seconds of all server processes for a million messages."""
    if answer["frames"]:
        answer["cpu_s_a_million"] = answer["server_cpu_s"] / answer["frames"] * 1e6
    return answer


def check_ledger(bench: Bench, pair: Pair, sessions: int) -> None:
    """What the ledger says of a last message must be what the devices did."""
    server = pair.server
    assert isinstance(server, Push)
    message = server.push_to_all()
    pair.load.ask("idle", seconds=0.5)  # in which the devices take it and acknowledge
    pair.load.send("idle", seconds=server.settle_seconds)
    ledger = server.wait_until_acknowledged(message, sessions)
    pair.load.answer()
    if ledger["acknowledged"] < sessions or ledger["written"] < sessions:
        bench.problem(f"of a message to {sessions} devices the ledger says {ledger}")


def case(carrier: str, qos: int, kind: str) -> str:
    return f"broadcast {carrier} QoS {qos} {kind}"


def _tables() -> list[Table]:
    texts = {"plain": "plain", "tls": "TLS", "websocket": "WebSocket"}
    kinds = {"single": "one at a time", "burst": "many together"}
    return [
        Table(
            case(carrier, qos, kind),
            f"A push to everyone, {texts[carrier]}, QoS {qos}, {kinds[kind]}",
            COLUMNS,
            JoinedLoop.name if kind == "burst" else SendLoop.name,
        )
        for carrier in CARRIERS
        for qos in (0, 1)
        for kind in kinds
    ]


BENCHMARK = Benchmark(
    "broadcast",
    "a push to everyone: plain, TLS, WebSocket; QoS 0 and 1; one at a time and many together",
    run,
    _tables(),
)
