"""A connector that leaves or is full: who is sent elsewhere, and where."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import CancelledError, Deferred

from push.cluster.registry.entry import RegistryEntry
from push.session.transitions import State
from push.wire.signals import ConnectStatus, Signal
from tests.cluster.conftest import entry
from tests.cluster.test_directory import directory
from tests.waiting import WaitUntil

__all__ = ["entry"]

Make = Callable[..., Awaitable[Any]]
AT_ONCE = 1e9  # a second
OTHERS = ["tcp://other:6789", "tcp://another:6789"]


@pytest_twisted.ensureDeferred
async def test_a_session_that_opens_while_a_drain_begins_is_sent_away_too(
    make_node: Make, make_redis: Callable[..., Any], dial: Make, wait_until: WaitUntil
) -> None:
    redis = make_redis()
    node = await make_node(redis.url, others=lambda carrier, ip: OTHERS)
    node.listen()
    early, late = await dial(node), await dial(node)
    await early.connect(**await early.register())
    pair = await late.register()
    # It is admitted, and Redis is asked for its record when the drain begins.
    redis.pause()
    late.send(Signal.CONNECT, pair)
    await wait_until(
        lambda: (
            {each.protocol.state for each in node.gateway.connections}
            == {State.OPEN, State.CONNECTING}
        )
    )
    draining = Deferred.fromCoroutine(node.gateway.drain.run(2))
    redis.resume()
    await draining

    await wait_until(lambda: early.closed and late.closed)
    for client in (early, late):
        assert client.disconnect["code"] == "draining"
        assert client.disconnect["servers"] == OTHERS
    assert not node.gateway.sessions


@pytest_twisted.ensureDeferred
async def test_whom_a_stop_finds_is_told_of_the_other_connectors(
    make_node: Make, redis_url: str, dial: Make, wait_until: WaitUntil
) -> None:
    """Those that were not sent away before, because the drain was ended."""
    node = await make_node(redis_url, others=lambda carrier, ip: OTHERS)
    node.listen()
    client = await dial(node)
    await client.connect(**await client.register())
    await node.stop_gateway()
    await wait_until(lambda: client.closed)
    assert client.disconnect["code"] == "draining"
    assert client.disconnect["servers"] == OTHERS


@pytest_twisted.ensureDeferred
async def test_a_drain_that_is_ended_is_ended_whole_while_devices_work_off_what_they_have(
    make_node: Make, redis_url: str, dial: Make, wait_until: WaitUntil
) -> None:
    """As by a second signal: sessions that it has not sent away stay until the stop ends them."""
    node = await make_node(redis_url, others=lambda carrier, ip: OTHERS)
    node.listen()
    clients = [await dial(node) for _ in range(3)]
    for client in clients:
        await client.connect(**await client.register())
    await node.push("all", data="to be acknowledged")
    await wait_until(lambda: all(client.numbers for client in clients))
    draining = Deferred.fromCoroutine(node.gateway.drain.run(AT_ONCE))
    await clients[0].ask("CL")  # all are in one batch now, which waits for them

    draining.cancel()
    with pytest.raises(CancelledError):
        await draining
    for client in clients:
        client.ack_all()
    for client in clients:
        await client.ask("CL")
    assert not any(client.disconnect for client in clients)


PROXIES = ["127.0.0.1"]
FAR, NEAR = b"PROXY TCP4 198.51.100.7 192.0.2.1 1 2\r\n", b"PROXY TCP4 127.0.0.9 127.0.0.1 1 2\r\n"


@pytest_twisted.ensureDeferred
async def test_a_redirect_leads_nobody_to_their_own_machine(
    make_node: Make, redis_url: str, dial: Make, entry: Callable[..., RegistryEntry]
) -> None:
    """The only other connector is known by a loopback address; a proxy says who is where."""
    listed = directory(entry("other", addresses={"tcp": "tcp://127.0.0.1:7000"}))
    node = await make_node(
        redis_url, max_connections=1, others=lambda carrier, ip: listed.others(carrier, "x", ip)
    )
    node.listen(proxies=PROXIES)
    first = await dial(node, header=[FAR])
    await first.connect(**await first.register())

    far, near = await dial(node, header=[FAR]), await dial(node, header=[NEAR])
    answer = await far.connect(**await far.register())
    assert answer["status"] is ConnectStatus.SERVER_UNAVAILABLE
    assert "servers" not in answer
    assert answer["after"] > 0
    answer = await near.connect(**await near.register())
    assert answer["status"] is ConnectStatus.USE_ANOTHER_SERVER
    assert answer["servers"] == ["tcp://127.0.0.1:7000"]


@pytest_twisted.ensureDeferred
async def test_a_goodbye_leads_nobody_to_their_own_machine(
    make_node: Make,
    redis_url: str,
    dial: Make,
    wait_until: WaitUntil,
    entry: Callable[..., RegistryEntry],
) -> None:
    addresses = {"tcp": "tcp://localhost:7000", "tls": "tls://push.example:6790"}
    listed = directory(entry("other", addresses=addresses))
    node = await make_node(redis_url, others=lambda carrier, ip: listed.others(carrier, "x", ip))
    node.listen(proxies=PROXIES)
    clients = {}
    for name, header in (("far", FAR), ("near", NEAR)):
        clients[name] = await dial(node, header=[header])
        await clients[name].connect(**await clients[name].register())
    await node.gateway.drain.run(1000)
    await wait_until(lambda: all(client.closed for client in clients.values()))
    assert clients["far"].disconnect["servers"] == ["tls://push.example:6790"]
    assert clients["near"].disconnect["servers"] == [
        "tcp://localhost:7000",
        "tls://push.example:6790",
    ]
