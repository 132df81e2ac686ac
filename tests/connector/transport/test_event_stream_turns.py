"""Requests for streams that an HTTP server has read: they wait for their turn as newcomers."""

from __future__ import annotations

import gc
import weakref
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.protocol import Factory, Protocol

from push.wire.event_stream.request import parse_head
from tests.conftest import LoggedErrors
from tests.connector.stream_client import StreamClient, connect_stream
from tests.waiting import WaitUntil


class Front(Factory):
    """Reads a request and hands its connection over, as the HTTP port does."""

    def __init__(self, node: Any) -> None:
        self.node = node
        self.waiting: list[int] = []  # newcomers, after each request

    def buildProtocol(self, _addr: Any) -> Protocol:
        protocol = FrontConnection()
        protocol.factory = self
        return protocol

    def serve(self, transport: Any, data: bytes) -> None:
        gateway = self.node.gateway
        gateway.event_streams.serve(transport, parse_head(data), "127.0.0.1")
        self.waiting.append(len(gateway.reads.newcomers))


class FrontConnection(Protocol):
    def dataReceived(self, data: bytes) -> None:
        assert isinstance(self.factory, Front)
        self.factory.serve(self.transport, data)


@pytest_twisted.async_yield_fixture
async def front(node: Any, wait_until: WaitUntil) -> AsyncIterator[Front]:
    found = Front(node)
    port = node.reactor.listenTCP(0, found, interface="127.0.0.1")
    node.ports.append(port)
    yield found


async def ask(front: Front, method: str = "GET") -> StreamClient:
    node = front.node
    pair = await node.devices.register(
        platform="p", app="a", device=None, token=None, secret=None, ip="127.0.0.1"
    )
    client = await connect_stream(node.reactor, node.ports[-1].getHost().port, None)
    client.ask("/v1/stream", {"Push-Token": pair.token, "Push-Secret": pair.secret}, method)
    return client


@pytest_twisted.ensureDeferred
async def test_a_request_waits_for_its_turn_and_is_answered(
    front: Front, wait_until: WaitUntil
) -> None:
    client = await ask(front)
    await wait_until(lambda: client.status)
    assert front.waiting == [1], "nothing is looked up before its turn"
    assert client.status == 200
    client.transport.abortConnection()
    await wait_until(lambda: not front.node.gateway.connections)


@pytest_twisted.ensureDeferred
async def test_when_too_many_wait_one_more_is_refused_at_once(
    front: Front, wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("push.connector.event_streams.MOST_WAITING", 0)
    client = await ask(front)
    await wait_until(lambda: client.closed)
    assert (client.status, client.problem["code"]) == (503, "unavailable")
    assert client.headers["retry-after"] == "1"
    assert front.waiting == [0]
    await wait_until(lambda: not front.node.gateway.connections)


@pytest_twisted.ensureDeferred
async def test_nothing_of_a_lost_stream_waits_for_the_garbage_collector(
    front: Front, wait_until: WaitUntil
) -> None:
    gateway = front.node.gateway
    client = await ask(front)
    await wait_until(lambda: client.status)
    channels = [
        channel
        for server in gateway.streams.servers
        for name, channel in server.hub.channels.items()
        if name.startswith("dev:")
    ]
    assert [channel.receiver is None for channel in channels] == [False]
    gc.disable()
    try:
        (lost,) = map(weakref.ref, gateway.connections)
        client.transport.abortConnection()
        await wait_until(lambda: lost() is None)
        await wait_until(lambda: channels[0].receiver is None)
    finally:
        gc.enable()


@pytest_twisted.ensureDeferred
async def test_what_one_stream_was_written_is_stored_though_that_of_another_cannot_be(
    front: Front,
    wait_until: WaitUntil,
    monkeypatch: pytest.MonkeyPatch,
    logged_errors: LoggedErrors,
) -> None:
    clients = [await ask(front) for _ in range(3)]
    await wait_until(lambda: all(client.status for client in clients))
    gateway = front.node.gateway
    acknowledge, failed = gateway.event_streams.acknowledge_written, []

    def fail_once(connection: Any) -> None:
        if not failed:
            failed.append(connection)
            raise ZeroDivisionError
        acknowledge(connection)

    monkeypatch.setattr(gateway.event_streams, "acknowledge_written", fail_once)

    await front.node.push("all", data=0)

    await wait_until(lambda: gateway.counters.acknowledged == 2)
    assert logged_errors.flush(ZeroDivisionError)
    for client in clients:
        client.transport.abortConnection()
    await wait_until(lambda: not gateway.connections)
