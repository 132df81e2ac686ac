"""Each flood for a short while: others are served, answers are those of the contract, and
nothing is left of it afterwards. `python -m benchmarks.hostile` measures what takes how long."""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from benchmarks.hostile.attackers import attacking
from benchmarks.hostile.connections import Target
from benchmarks.hostile.floods import FLOODS
from benchmarks.hostile.watching import (
    VISITED,
    Backend,
    Memory,
    Visitor,
    WellBehaved,
    gauge,
    hanging_redis,
    https_settings,
    open_pair,
    prepare,
    tracebacks,
)
from benchmarks.running import Running, started_server
from push.wire.signals import ConnectStatus
from tests.hostile.judging import ENDS, REFUSED_REQUESTS
from tests.waiting import DEADLINE_SECONDS, wait_for

ATTACKERS = 3
PUSHES = 5
# Far over what the bounds of the documents come to together, far under what was without them.
MOST_MIB = 200
# What an attacker may be answered: labels of `connections.label`, status lines, ends.
ALLOWED = [
    r"(SUB|AUTH|PING|PUSH|PUB_ACK)",
    rf"(SUB|AUTH|PUB_ACK) ({'|'.join(REFUSED_REQUESTS)})",
    r"CONNECT_ACK ACCEPTED",
    rf"CONNECT_ACK ({'|'.join(each.name for each in ConnectStatus if each)}) (?!internal)\w+",
    rf"DISCONNECT ({'|'.join(ENDS)})",
    r"WebSocket close (1000|1002|1007|1009|4\d\d\d)",
    r"HTTP (10[01]|20[0124]|4\d\d|503)|HTTP/1.1 (4\d\d|503) .*",
    r"pong",
    r"closed|(not accepted: |held connection: )?\w*(Error|Timeout|timeout|EOFError)\w*",
    *(rf"{code}" for code in sorted(ENDS)),  # of held connections
    r"renegotiation: .*",
    r"renegotiated",
    r"(not )?resumed",
    r"15…",  # a TLS alert
]


class Attacked(NamedTuple):
    server: Running
    target: Target


@contextlib.contextmanager
def attacked_server(**settings: str) -> Iterator[Attacked]:
    served = {"connector_ws": "127.0.0.1:0", "connector_wss": "127.0.0.1:0"}
    with started_server(**served, **settings) as server:
        yield Attacked(server, prepare(server, ATTACKERS))


@pytest.fixture(scope="module")
def over_http() -> Iterator[Attacked]:
    with attacked_server() as found:
        yield found


@pytest.fixture(scope="module")
def over_https(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attacked]:
    """Its HTTP API has a certificate."""
    with attacked_server(**https_settings(tmp_path_factory.mktemp("https"))) as found:
        yield found


def check_answers(answers: Counter[str]) -> None:
    strange = {
        text: number
        for text, number in answers.items()
        if not any(re.fullmatch(allowed, text) for allowed in ALLOWED)
    }
    assert not strange, strange


def flood_and_look(server: Running, target: Target, name: str, device: WellBehaved) -> Counter[str]:
    """What the attackers were answered, while pushes came to `device`."""
    backend, visitor = Backend(server), Visitor(server)
    hanging = hanging_redis(server) if FLOODS[name].hangs_redis else contextlib.nullcontext()
    with attacking(name, target, ATTACKERS, seconds=4 * DEADLINE_SECONDS) as attack:
        with hanging:
            assert Backend(server).call("GET", "/healthz")[0] == 200
        for _ in range(PUSHES):
            number = device.push(backend)
            came = device.wait_for(number, DEADLINE_SECONDS)
            assert came is not None, f"no push during the flood; the device: {device.ended!r}"
        if not FLOODS[name].hangs_redis:
            for path in VISITED:
                visitor.ask(path)  # on a connection of its own
        assert Backend(server).call("GET", "/healthz")[0] == 200
    assert not attack.failures, attack.failures[0]
    assert attack.connections >= ATTACKERS
    return attack.answers


@pytest.mark.parametrize("name", FLOODS)
def test_flood(name: str, request: pytest.FixtureRequest) -> None:
    is_https = FLOODS[name].carrier == "https"
    attacked: Attacked = request.getfixturevalue("over_https" if is_https else "over_http")
    server, target = attacked
    device, memory = WellBehaved(server), Memory(server)
    before_mib, connections = memory.now_mib(), gauge(server, "connections")
    try:
        answers = flood_and_look(server, target, name, device)
        check_answers(answers)
        wait_for(lambda: gauge(server, "connections") <= connections)
        assert device.ended == ""
        open_pair(server)  # a newcomer is served
    finally:
        memory.end()
        device.close()
    assert memory.most_mib - before_mib < MOST_MIB
    assert server.process.poll() is None
    assert not (found := tracebacks(server)), found


def test_what_is_allowed_can_be_missed() -> None:
    check_answers(Counter(["PUB_ACK invalid", "DISCONNECT rate_limited", "HTTP 429", "closed"]))
    for strange in ("HTTP 500", "DISCONNECT internal", "PUB_ACK internal", "CONTACT"):
        with pytest.raises(AssertionError):
            check_answers(Counter([strange]))
