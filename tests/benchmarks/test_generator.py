"""The load generator: what it counts, and that it says when work was not done."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from benchmarks.load import Generator
from benchmarks.servers.base import Server
from benchmarks.servers.peers import Mosquitto, Nats, find_peers
from benchmarks.servers.push import Push
from benchmarks.servers.yardsticks import JoinedLoop, SendLoop

SESSIONS = 4


@pytest.fixture(scope="module")
def push(programs: tuple[str, str]) -> Iterator[Push]:
    with Push() as server:
        yield server


@pytest.fixture
def problems() -> list[str]:
    return []


@pytest.fixture
def generator(push: Push, problems: list[str]) -> Iterator[Generator]:
    load = Generator("push", push.words(), problems.append)
    yield load
    load.close()


def test_frames_are_counted_by_their_framing(generator: Generator, problems: list[str]) -> None:
    generator.ask("open", n=SESSIONS)
    for qos in (0, 1):
        answer = generator.ask("broadcast", qos=qos, count=3, together=1)
        assert answer["frames"] == answer["goal"] == 3 * SESSIONS
        assert answer["unequal"] == 0
    assert not problems


def test_cpu_is_that_of_all_processes_of_the_server(push: Push, generator: Generator) -> None:
    """One figure for each: the daemon and its Redis."""
    assert len(push.pids) == 2
    generator.ask("open", n=SESSIONS)
    answer = generator.ask("push", clients=2, seconds=0.2, targets=SESSIONS, qos=1)
    daemon, redis = answer["cpu_s"]
    assert daemon > 0
    assert redis > 0
    assert answer["server_cpu_s"] == daemon + redis


def test_a_batch_counts_its_items(generator: Generator, problems: list[str]) -> None:
    generator.ask("open", n=SESSIONS)
    answer = generator.ask("push", clients=1, seconds=0.1, targets=SESSIONS, batch=10, qos=0)
    assert answer["frames"] == answer["items"] == answer["requests"] * 10
    assert not problems


def test_pushes_at_a_rate_are_as_many_as_were_due(
    generator: Generator, problems: list[str]
) -> None:
    generator.ask("open", n=SESSIONS)
    answer = generator.ask("push", clients=4, seconds=0.5, rate=40, targets=SESSIONS)
    assert answer["requests"] == answer["frames"] == 20
    assert 0 < answer["p50_ms"] <= answer["p99_ms"] <= answer["max_ms"]
    assert not problems


def test_messages_that_nobody_received_are_a_problem(push: Push, problems: list[str]) -> None:
    """What the old benchmark of HTTP did not notice: a push to a device that has gone."""
    load = Generator("push", push.words(), problems.append)
    load.ask("open", n=SESSIONS)
    load.ask("drop")
    load.ask("push", clients=1, seconds=0.05, targets=SESSIONS, qos=0, wait=0.2)
    load.close()
    assert len(problems) == 1
    assert "0 messages came of " in problems[0]


def test_refused_requests_are_a_problem(push: Push, problems: list[str]) -> None:
    load = Generator("push", {**push.words(), "key": "wrong"}, problems.append)
    load.ask("open", n=1)
    load.ask("push", clients=1, seconds=0.05, targets=1, unwatched=1)
    load.close()
    assert any("401" in problem for problem in problems)
    assert any("requests refused" in problem for problem in problems)


def test_sessions_that_are_not_opened_are_a_problem(push: Push, problems: list[str]) -> None:
    load = Generator("push", {**push.words(), "app_key": "wrong"}, problems.append)
    answer = load.ask("open", n=2)
    load.close()
    assert answer["opened"] == 0
    assert any("2 sessions not opened" in problem for problem in problems)


@pytest.mark.parametrize("kind", [SendLoop, JoinedLoop])
def test_the_bare_loop_sends_to_every_subscriber(
    kind: type[SendLoop], problems: list[str], programs: tuple[str, str]
) -> None:
    with ExitStack() as stack:
        server = stack.enter_context(kind())
        load = Generator("loop", server.words(), problems.append)
        stack.callback(load.close)
        load.ask("open", n=SESSIONS)
        answer = load.ask("broadcast", qos=0, count=5, together=1)
    assert answer["frames"] == answer["goal"] == 5 * SESSIONS
    assert answer["wire_bytes"] == 5 * SESSIONS * 300
    assert not problems


@pytest.mark.parametrize("name", ["mosquitto", "nats-server"])
@pytest.mark.parametrize("carrier", ["plain", "tls"])
def test_a_peer_gets_the_same_work(
    name: str, carrier: str, push: Push, problems: list[str], programs: tuple[str, str]
) -> None:
    paths = find_peers("", "")
    certificate = push.certificate if carrier == "tls" else None
    server: Server
    if name == "mosquitto" and paths.mosquitto:
        server = Mosquitto(paths, carrier, certificate)
    elif name == "nats-server" and paths.nats:
        server = Nats(paths, carrier, certificate)
    else:
        pytest.skip(f"not installed: {name} (sh benchmarks/peers.sh)")
    with server:
        load = Generator(name, server.words(), problems.append)
        load.ask("open", n=SESSIONS)
        for qos in (0, 1):
            answer = load.ask("broadcast", qos=qos, count=3, together=1)
            assert answer["frames"] == 3 * SESSIONS
        load.close()
    assert not problems


def test_mosquitto_keeps_what_a_subscriber_missed(
    problems: list[str], programs: tuple[str, str]
) -> None:
    paths = find_peers("", "")
    if not paths.mosquitto:
        pytest.skip("not installed: mosquitto (sh benchmarks/peers.sh)")
    with Mosquitto(paths, keeps_session=True) as server:
        load = Generator("mosquitto", server.words(), problems.append)
        load.ask("open", n=SESSIONS)
        load.ask("drop")
        load.ask("store", count=5, batch=5, qos=1)
        load.ask("open", n=SESSIONS)
        load.ask("await", per=5)
        load.close()
    assert not problems
