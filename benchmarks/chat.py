"""A message to a group of 10,000 members, 2,000 of them online on two connectors.

    python -m benchmarks.chat            about two minutes; prints figures
    python -m benchmarks.chat --json     one JSON object

`twistd push` and a second connector on its Redis. Measured is from before the request is sent until
the last device has the message, as the devices see it; they run in the process that measures.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Sequence
from urllib.parse import quote

from benchmarks.crowd import Backend, Crowd, make_group
from benchmarks.running import Running, raise_file_limit, started_server

MEMBERS, ONLINE, ROUNDS = 10_000, 2_000, 10


def measure(members: int, online: int, rounds: int) -> dict[str, float]:
    with started_server(chat_messages_per_minute="0") as first:
        redis = f"unix://{first.data_dir}/redis/redis.sock"
        with started_server(
            "push-connector",
            redis_url=redis,
            server_node="second",
            auth_open_registration="true",
            connector_admin="127.0.0.1:0",
        ) as second:
            return _measure((first, second), members, online, rounds)


def _measure(
    connectors: Sequence[Running], members: int, online: int, rounds: int
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
    for number in range(1, rounds + 1):
        took, id = _send(crowds, group, number)
        seconds.append(took)
    return {
        "members": members,
        "online": online,
        "joined_s": joined_seconds,
        "addressed": _addressed(backend, id),
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


def _addressed(backend: Backend, id: str) -> int:
    """For how many devices it was; from counters, which do not grow with the group."""
    funnel = backend.call("GET", f"/v1/messages/{quote(id)}")
    assert list(funnel["to"]) == ["group"], funnel
    return int(funnel["addressed"])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--members", type=int, default=MEMBERS)
    parser.add_argument("--online", type=int, default=ONLINE)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    raise_file_limit()
    figures = measure(options.members, options.online, options.rounds)
    if options.json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"{name:30} {value:12,.3f}")
    if figures["to_all_worst_s"] > 1:
        sys.exit("a message was not with all of them within a second")


if __name__ == "__main__":
    main()
