"""A connector whose Redis is cut off, paused, flushed or killed, and a connector that stops."""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable
from typing import Any

import jwt
import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, gatherResults

from push.redis.connection.errors import StoreUnavailable
from push.wire.signals import ConnectStatus, Signal
from tests.conftest import standing_still
from tests.waiting import WaitUntil, pause

Make = Callable[..., Awaitable[Any]]


# Far more than a stop takes, and far less than what waits for Redis without end.
STOP_SECONDS = 30.0


async def within(seconds: float, job: Any) -> None:
    from twisted.internet import reactor

    running = Deferred.fromCoroutine(job)
    running.addTimeout(seconds, reactor)
    await running


async def together(*jobs: Any) -> list[Any]:
    return list(await gatherResults([Deferred.fromCoroutine(job) for job in jobs]))


async def calls_a_second(store: Any) -> float:
    async def count() -> int:
        text = (await store.command("INFO", "stats")).decode()
        line = next(line for line in text.splitlines() if line.startswith("total_commands"))
        return int(line.split(":")[1])

    before, begun = await count(), time.monotonic()
    await pause(0.5)
    return (await count() - before) / (time.monotonic() - begun)


async def is_quiet(store: Any) -> bool:
    """Whether nobody asks Redis without end."""
    return await calls_a_second(store) < 10


@pytest.mark.parametrize("seed", range(3))
@pytest_twisted.ensureDeferred
async def test_rule_2_each_session_gets_each_message_once_while_pubsub_is_cut_off(
    device: Make, node: Any, redis_server: Any, wait_until: WaitUntil, seed: int
) -> None:
    chance = random.Random(seed)
    clients = await together(*(device(acks=True) for _ in range(12)))
    tokens = [client._credentials["token"] for client in clients]
    expected: dict[str, list[Any]] = {token: [] for token in tokens}
    for n in range(300):
        if n % 60 == 30:
            redis_server.call("CLIENT", "KILL", "TYPE", "pubsub")
        if chance.random() < 0.5:
            await node.push("all", data=n)
            for numbers in expected.values():
                numbers.append(n)
        else:
            token = chance.choice(tokens)
            await node.push("token", token, data=n)
            expected[token].append(n)

    await wait_until(
        lambda: all(
            len(client.numbers) >= len(expected[token])
            for client, token in zip(clients, tokens, strict=True)
        ),
    )
    for client, token in zip(clients, tokens, strict=True):
        assert sorted(client.numbers) == expected[token]
        for stream in ("all", f"dev:{token}"):
            offsets = [int(b["offset"]) for b in client.bodies if b["stream"] == stream]
            assert offsets == sorted(offsets)


@pytest_twisted.ensureDeferred
async def test_sessions_outlive_a_redis_that_is_killed_and_started_again(
    make_node: Make, make_redis: Make, device: Make, wait_until: WaitUntil
) -> None:
    redis = make_redis(fsync="always")
    node = await make_node(redis.url)
    node.listen()
    client = await device(on=node, acks=True)
    token = client._credentials["token"]
    await node.push("token", token, data=0)
    await wait_until(lambda: client.numbers == [0])
    redis.kill()
    await wait_until(lambda: node.store.problem is not None)
    with pytest.raises(StoreUnavailable):
        await node.push("token", token, data="refused")
    redis.start()
    await wait_until(lambda: node.store.problem is None)
    await node.push("token", token, data=1)
    await node.push("all", data=2)

    await wait_until(lambda: client.numbers == [0, 1, 2])


@pytest_twisted.ensureDeferred
async def test_a_device_that_comes_while_redis_is_away_is_told_to_come_back(
    make_node: Make, make_redis: Make, dial: Make, wait_until: WaitUntil
) -> None:
    redis = make_redis()
    node = await make_node(redis.url)
    node.listen()
    client = await dial(node)
    pair = await client.register()
    redis.stop()
    await wait_until(lambda: node.store.problem is not None)

    refused = await (await dial(node)).register()
    answer = await client.connect(**pair)

    assert refused["code"] == "unavailable"
    assert refused["after"] > 0
    for told in (refused, answer):
        assert told["detail"].startswith("Redis does not answer now"), "no address of a server"
    assert answer["status"] is ConnectStatus.SERVER_UNAVAILABLE
    assert answer["after"] > 0


@pytest_twisted.ensureDeferred
async def test_a_session_whose_channels_are_not_confirmed_is_refused(
    make_node: Make, make_redis: Make, dial: Make
) -> None:
    """Redis answers commands, and does not let anybody subscribe."""
    redis = make_redis()
    node = await make_node(redis.url, timeout_seconds=0.5)
    node.listen()
    client = await dial(node)
    pair = await client.register()
    redis.call("ACL", "SETUSER", "default", "-subscribe")

    answer = await client.connect(**pair)

    assert answer["status"] is ConnectStatus.SERVER_UNAVAILABLE
    assert answer["code"] == "unavailable"
    assert answer["detail"] == "Redis does not answer now"  # and no address of a server


@pytest_twisted.ensureDeferred
async def test_a_paused_redis_refuses_in_time_and_nothing_of_it_happens_later(
    make_node: Make, make_redis: Make, dial: Make, device: Make, wait_until: WaitUntil
) -> None:
    redis = make_redis()
    node = await make_node(redis.url)
    node.listen()
    client = await device(on=node, acks=True)
    token = client._credentials["token"]
    newcomer = await dial(node)
    with standing_still(redis, node.store):
        asked = newcomer.send(Signal.SUB, {"platform": "p", "app": "a"})
        with pytest.raises(StoreUnavailable):
            await node.push("token", token, data="late")
        await newcomer.answer(Signal.SUB, asked)
    await wait_until(lambda: node.store.problem is None)
    await node.push("token", token, data="after")

    await wait_until(lambda: client.numbers[-1:] == ["after"])
    assert client.numbers == ["after"]
    assert not client.closed


@pytest.mark.parametrize("loss", ["clock", "everything"])
@pytest_twisted.ensureDeferred
async def test_rule_1_a_server_that_lost_its_clock_is_not_read_without_end(
    device: Make, node: Any, dial: Make, wait_until: WaitUntil, loss: str
) -> None:
    """A session that reads on where the clock is behind its channel must come to rest."""
    watcher = await device(acks=True)
    await node.push("all", data=0)
    await wait_until(lambda: watcher.numbers == [0])
    if loss == "clock":
        await node.store.command("DEL", node.store.key("clock"))
    else:
        await node.store.command("FLUSHALL")
    client = await dial(node, acks=True)
    claims = {"sub": "alice", "aud": "push", "exp": int(time.time()) + 600}
    secret = b"a secret of at least thirty-two bytes"
    await client.connect(jwt=jwt.encode(claims, secret, "HS256"), cursors={"all": "1"})
    await pause(0.1)

    await wait_until(lambda: is_quiet(node.store))
    await node.push("all", data=1)
    await wait_until(lambda: 1 in client.numbers)


@pytest_twisted.ensureDeferred
async def test_a_session_that_falls_behind_after_the_clock_was_lost_goes_on(
    device: Make, node: Any, wait_until: WaitUntil
) -> None:
    client = await device(window=2)
    other = await device(acks=True)
    for n in range(6):
        await node.push("all", data=n)
    await wait_until(lambda: len(other.numbers) == 6)
    await node.store.command("DEL", node.store.key("clock"))
    client.acks = True
    client.ack_all()

    await wait_until(lambda: client.numbers == list(range(6)))
    await wait_until(lambda: is_quiet(node.store))
    await node.push("all", data=6)
    await wait_until(lambda: client.numbers == list(range(7)))


@pytest_twisted.ensureDeferred
async def test_an_idle_connector_does_not_read(
    device: Make, node: Any, wait_until: WaitUntil
) -> None:
    clients = await together(*(device(acks=True, window=3) for _ in range(10)))
    for n in range(20):
        await node.push("all", data=n)
    await wait_until(lambda: all(len(client.numbers) == 20 for client in clients))
    await pause(0.2)

    await wait_until(lambda: is_quiet(node.store))


@pytest_twisted.ensureDeferred
async def test_a_binding_seen_while_redis_goes_away_takes_effect_when_it_is_back(
    device: Make, node: Any, wait_until: WaitUntil, make_node: Make, redis_url: str
) -> None:
    client = await device(acks=True)
    token = client._credentials["token"]
    backend = await make_node(redis_url)

    await backend.devices.bind("alice", token)
    node.store._commands.rebuild("a test")  # when the connector reads the record
    await backend.push("user", "alice", data=1)

    await wait_until(lambda: client.numbers == [1] or client.closed)
    assert not client.closed
    assert client.numbers == [1]


@pytest_twisted.ensureDeferred
async def test_a_session_that_ends_while_redis_is_away_is_offline_when_it_is_back(
    make_node: Make, make_redis: Make, device: Make, wait_until: WaitUntil
) -> None:
    redis = make_redis(fsync="always")
    node = await make_node(redis.url)
    node.listen()
    client = await device(on=node)
    token = client._credentials["token"]
    redis.kill()
    await wait_until(lambda: node.store.problem is not None)
    client.transport.loseConnection()
    await wait_until(lambda: not node.gateway.connections)
    await pause(0.1)
    redis.start()
    await wait_until(lambda: node.store.problem is None)

    async def offline() -> bool:
        return not (await node.devices.get(token)).online

    await wait_until(offline)


@pytest_twisted.ensureDeferred
async def test_acknowledgements_given_while_redis_is_away_count_when_it_is_back(
    make_node: Make, make_redis: Make, device: Make, dial: Make, wait_until: WaitUntil
) -> None:
    redis = make_redis(fsync="always")
    node = await make_node(redis.url)
    node.listen()
    client = await device(on=node)
    token = client._credentials["token"]
    await node.push("token", token, data=0)
    await wait_until(lambda: client.numbers == [0])
    redis.kill()
    await wait_until(lambda: node.store.problem is not None)
    client.ack_all()
    await pause(0.2)
    redis.start()
    await wait_until(lambda: node.store.problem is None)

    async def done() -> bool:
        return (await node.devices.get(token)).backlog == 0

    await wait_until(done)


# Stopping


@pytest.mark.parametrize("carrier", ["tcp", "tls"])
@pytest_twisted.ensureDeferred
async def test_a_stop_tells_devices_and_stores_all_they_acknowledged(
    make_node: Make,
    redis_url: str,
    dial: Make,
    node: Any,
    wait_until: WaitUntil,
    certificate: tuple[Any, Any],
    carrier: str,
) -> None:
    stopping = await make_node(redis_url)
    server, trust = certificate if carrier == "tls" else (None, None)
    stopping.listen(tls=server)
    clients = []
    for _ in range(40):
        client = await dial(stopping, tls=trust)
        pair = await client.register()
        await client.connect(**pair)
        clients.append(client)
    await node.push("all", data=1)
    await wait_until(lambda: all(client.numbers for client in clients))
    for client in clients:
        client.ack_all()
    progress = stopping.gateway.counters
    await wait_until(lambda: progress.acknowledged == 40)

    await within(STOP_SECONDS, stopping.stop_gateway())

    assert not stopping.gateway.connections
    assert not stopping.gateway.sessions
    await wait_until(lambda: all(client.closed for client in clients))
    assert {client.ended_with for client in clients} == {"draining"}
    assert clients[0].disconnect["after"] > 0
    for client in clients:
        record = await node.record(client._credentials["token"])
        assert "s" not in record
        assert record["c:all"] > record["f:all"]


@pytest_twisted.ensureDeferred
async def test_a_stop_with_devices_that_read_nothing_ends_in_time(
    make_node: Make, redis_url: str, dial: Make, wait_until: WaitUntil
) -> None:
    node = await make_node(redis_url)
    node.listen(sndbuf=4096)
    client = await dial(node)
    pair = await client.register()
    await client.connect(**pair)
    client.transport.pauseProducing()
    for _ in range(60):
        await node.push("token", pair["token"], data="x" * 60_000)
    (connection,) = node.gateway.connections
    await wait_until(lambda: connection.blocked)

    await within(STOP_SECONDS, node.stop_gateway())

    assert not node.gateway.connections


@pytest_twisted.ensureDeferred
async def test_a_stop_while_redis_is_away_ends_in_time(
    make_node: Make, make_redis: Make, device: Make, wait_until: WaitUntil
) -> None:
    redis = make_redis()
    node = await make_node(redis.url)
    node.listen()
    clients = [await device(on=node) for _ in range(3)]
    await node.push("all", data=1)
    await wait_until(lambda: all(client.numbers for client in clients))
    redis.stop()
    await wait_until(lambda: node.store.problem is not None)
    for client in clients:
        client.ack_all()
    await pause(0.1)

    await within(STOP_SECONDS, node.stop_gateway())


@pytest_twisted.ensureDeferred
async def test_a_stop_before_redis_was_ever_there_ends_in_time(make_node: Make) -> None:
    node = await make_node("unix:///nowhere/redis.sock", ready=False)
    await pause(0.05)

    await within(STOP_SECONDS, node.stop_gateway())


@pytest_twisted.ensureDeferred
async def test_a_stop_in_the_middle_of_everything_leaves_no_record_behind(
    make_node: Make, redis_url: str, dial: Make, node: Any, wait_until: WaitUntil
) -> None:
    stopping = await make_node(redis_url)
    stopping.listen()
    pairs = [await (await dial(stopping)).register() for _ in range(20)]
    clients = [await dial(stopping) for _ in pairs]
    for client, pair in zip(clients, pairs, strict=True):
        client.send(Signal.CONNECT, pair)
    for n in range(20):
        await node.push("all", data=n)

    await within(STOP_SECONDS, stopping.stop_gateway())
    await pause(0.1)

    for pair in pairs:
        assert "s" not in await node.record(pair["token"])
