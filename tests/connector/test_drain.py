"""A connector that leaves: who is sent elsewhere, and where."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest_twisted
from twisted.internet.defer import Deferred

from push.session.transitions import State
from push.wire.signals import Signal

Make = Callable[..., Awaitable[Any]]
WaitUntil = Callable[..., Awaitable[Any]]
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
            {each.session.state for each in node.gateway.connections}
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
