"""A message to a group of 10,000 members, 2,000 of them online on two connectors.

`twistd push` and a second connector on one Redis server or several, which write every answered
message to the disk as the embedded one does. Measured is from before the request is sent until
the last device has the message, as the devices see it; they run in the process that measures.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Sequence
from contextlib import ExitStack
from urllib.parse import quote

from benchmarks.bench import Bench
from benchmarks.benchmark import Benchmark
from benchmarks.crowd import Backend, Crowd, make_group
from benchmarks.results import OURS, FigureTable
from benchmarks.running import Running, started_server
from tests.faults.processes import Redis

SERVERS = (1, 3)


def measure(members: int, online: int, rounds: int, servers: int) -> dict[str, float]:
    with ExitStack() as stack:
        redis = [Redis() for _ in range(servers)]
        for server in redis:
            stack.callback(server.remove)
            server.start()
        settings = {
            "redis_url": json.dumps([server.url for server in redis]),
            "chat_messages_per_minute": "0",
        }
        first = stack.enter_context(started_server(**settings))
        second = stack.enter_context(
            started_server(
                "push-connector",
                server_node="second",
                auth_open_registration="true",
                connector_admin="127.0.0.1:0",
                **settings,
            )
        )
        return _measure(redis, (first, second), members, online, rounds)


def _measure(
    redis: Sequence[Redis], connectors: Sequence[Running], members: int, online: int, rounds: int
) -> dict[str, float]:
    backend = Backend(connectors[0])
    users = [f"u{number}" for number in range(members)]
    half = online // 2
    crowds = []
    for place, running in enumerate(connectors):
        crowd = Crowd(running.tcp_address, users[place * half : (place + 1) * half])
        crowd.meet(running.app_key, backend)
        crowds.append(crowd)
    began = time.perf_counter()
    group = make_group(backend, users)
    joined_seconds = time.perf_counter() - began
    for crowd in crowds:
        crowd.settle()
    seconds = []
    id = ""
    entries = _entries(redis, group)
    for number in range(1, rounds + 1):
        took, id = _send(crowds, group, number)
        seconds.append(took)
    return {
        "members": members,
        "online": online,
        "joined_s": joined_seconds,
        "addressed": _addressed(backend, id),
        "log_entries_a_message": (_entries(redis, group) - entries) / rounds,
        "to_all_median_s": statistics.median(seconds),
        "to_all_worst_s": max(seconds),
    }


def _send(crowds: Sequence[Crowd], group: str, number: int) -> tuple[float, str]:
    """How long it took until all had the message, and its id."""
    sender = crowds[0].people[0]
    began = time.perf_counter()
    asked = crowds[0].ask(sender, "MS", to={"group": group}, data=number)
    waiting = [person for crowd in crowds for person in crowd.people]
    while waiting:
        for crowd in crowds:
            crowd.take(0.001)
        waiting = [person for person in waiting if len(person.messages) < number]
    took = time.perf_counter() - began
    crowds[0].pump(lambda: asked in sender.answers)
    return took, sender.answers.pop(asked)["id"]


def _entries(redis: Sequence[Redis], group: str) -> int:
    """How many entries the group's log has, on whichever server it is."""
    return sum(int(server.call("XLEN", f"push:log:group:{group}")[1:]) for server in redis)


def _addressed(backend: Backend, id: str) -> int:
    """For how many devices it was; from counters, which do not grow with the group."""
    funnel = backend.call("GET", f"/v1/messages/{quote(id)}")
    assert list(funnel["to"]) == ["group"], funnel
    return int(funnel["addressed"])


def run(bench: Bench) -> None:
    members, online, messages = bench.pick((10_000, 2000, 10), (1000, 200, 5), (6, 4, 1))
    for servers in bench.pick(SERVERS, SERVERS, SERVERS[:1]):
        for number in range(bench.rounds(1)):
            bench.say(f"a group on {servers} Redis servers: round {number + 1}")
            figures = measure(members, online, messages, servers)
            bench.results.add(case(servers), OURS, figures)


def case(servers: int) -> str:
    return f"chat on {servers} Redis server{'s' if servers > 1 else ''}"


MOST = {"log_entries_a_message": 1, "to_all_worst_s": 1}
BENCHMARK = Benchmark(
    "chat",
    "a message to a group of 10,000, of which 2,000 are connected; on one and three Redis servers",
    run,
    [
        FigureTable(case(servers), f"A message to a group, {case(servers)}", MOST)
        for servers in SERVERS
    ],
)
