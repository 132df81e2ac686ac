"""A broadcast to devices of several transports: each gets it once, and in order."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest_twisted

from push.connector.transport.records import SEALED_TOGETHER
from tests.waiting import WaitUntil

Make = Callable[..., Awaitable[Any]]


@pytest_twisted.ensureDeferred
async def test_the_same_goes_to_plain_connections_and_to_those_with_tls(
    node: Any, dial: Make, wait_until: WaitUntil, certificate: tuple[Any, Any]
) -> None:
    """Also while one of each kind reads nothing."""
    server, trust = certificate
    clients = []
    for tls in (None, trust):
        node.listen(tls=None if tls is None else server, sndbuf=4096)
        for _ in range(SEALED_TOGETHER // 2 + 1):
            client = await dial(node, tls=tls)
            await client.connect(**await client.register())
            clients.append(client)
    stalled = [clients[0], clients[-1]]
    for client in stalled:
        client.transport.pauseProducing()
    sent = []
    while sum(connection.blocked for connection in node.gateway.connections) < len(stalled):
        sent.append(len(sent))
        await node.push("all", data=[sent[-1], "x" * 9000], qos=0)
        await wait_until(lambda: all(len(client.numbers) == len(sent) for client in clients[1:-1]))
    for client in clients[1:-1]:
        assert [number for number, _ in client.numbers] == sent
    for client in stalled:
        client.transport.resumeProducing()
    await wait_until(lambda: not any(each.blocked for each in node.gateway.connections))
    await node.push("all", data=[-1, ""], qos=0)
    await wait_until(lambda: all(client.numbers[-1:] == [[-1, ""]] for client in clients))
    for client in stalled:
        numbers = [number for number, _ in client.numbers[:-1]]
        assert numbers == sent[: len(numbers)]  # what came while it was blocked is not kept
