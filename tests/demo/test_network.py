"""The network between pages and connectors: whose connection it is, and how it fails."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, Request, TextMessage

from push.demo.control import serve_orders
from push.demo.network import ConnectWatcher, PageNetwork, token_in
from push.http.demo.bodies import CutOrder
from tests.waiting import DEADLINE_SECONDS

TOKEN = "070JDCEESR4005"
LONG = 600  # seconds: an outage that a test does not wait for


def opening() -> tuple[WSConnection, bytes]:
    client = WSConnection(ConnectionType.CLIENT)
    return client, client.send(Request(host="demo", target="/ws", subprotocols=["push.v2"]))


def accepted(client: WSConnection, server: WSConnection, request: bytes) -> None:
    server.receive_data(request)
    list(server.events())
    client.receive_data(server.send(AcceptConnection(subprotocol="push.v2")))
    list(client.events())


def connect_of(client: WSConnection, token: str = TOKEN) -> bytes:
    body = {"signal": "CONNECT", "content": {"token": token, "secret": "s"}}
    return client.send(TextMessage(json.dumps(body)))


def page_bytes() -> tuple[bytes, bytes]:
    """What a page sends: its request, and its CONNECT."""
    client, request = opening()
    accepted(client, WSConnection(ConnectionType.SERVER), request)
    return request, connect_of(client)


def test_a_connection_is_known_by_its_connect() -> None:
    request, connect = page_bytes()
    watcher = ConnectWatcher()
    assert [watcher.feed(request), watcher.feed(connect)] == [None, TOKEN]
    assert watcher.feed(connect) is None


def test_a_connection_is_known_however_its_bytes_are_cut() -> None:
    request, connect = page_bytes()
    watcher = ConnectWatcher()
    found = [watcher.feed(bytes([byte])) for byte in request + connect]
    assert [token for token in found if token] == [TOKEN]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "1",
        '{"signal": "PING"}',
        '{"signal": "CONNECT"}',
        '{"signal": "CONNECT", "content": []}',
        '{"signal": "CONNECT", "content": {"token": 1}}',
        "[" * 100_000,
    ],
)
def test_what_is_no_connect_tells_no_token(text: str) -> None:
    assert token_in(text) is None


@pytest.mark.parametrize(
    "data", [b"\xff" * 4096, b"GET / HTTP/1.1\r\n\r\n", b"\n\n\n\n", b"x" * 99_999]
)
def test_what_is_no_websocket_is_passed_on_unknown(data: bytes) -> None:
    assert ConnectWatcher().feed(data) is None


class World:
    """A connector that sends back what it gets, behind a relay."""

    def __init__(self, network: PageNetwork, port: int) -> None:
        self.network = network
        self.port = port

    async def page(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection that the network knows as the device's."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        for data in page_bytes():
            writer.write(data)
            await reader.readexactly(len(data))
        return reader, writer


@contextlib.asynccontextmanager
async def world() -> AsyncIterator[World]:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65_536):
                writer.write(data)
        writer.close()

    connector = await asyncio.start_server(echo, "127.0.0.1", 0)
    network = PageNetwork()
    relay = await network.relay(0)
    relay.target = connector.sockets[0].getsockname()[1]
    try:
        yield World(network, relay.port)
    finally:
        network.close()
        connector.close()


def within_the_loop(scene: Callable[[World], Awaitable[None]]) -> None:
    async def run() -> None:
        async with asyncio.timeout(DEADLINE_SECONDS), world() as here:
            await scene(here)

    asyncio.run(run())


async def lost(reader: asyncio.StreamReader) -> bool:
    try:
        return await reader.read(1) == b""
    except ConnectionError:
        return True


def test_a_cut_resets_what_there_is_and_what_comes_of_this_device_alone() -> None:
    async def scene(here: World) -> None:
        reader, _ = await here.page()
        other = await asyncio.open_connection("127.0.0.1", here.port)
        assert here.network.cut(CutOrder(TOKEN, LONG, "cut")) == 1
        assert await lost(reader)
        again, writer = await asyncio.open_connection("127.0.0.1", here.port)
        request, connect = page_bytes()
        writer.write(request)
        assert await again.readexactly(len(request)) == request
        writer.write(connect)
        assert await lost(again)
        other[1].write(b"still here")
        assert await other[0].readexactly(10) == b"still here"

    within_the_loop(scene)


def test_a_silent_network_passes_nothing_and_then_everything() -> None:
    async def scene(here: World) -> None:
        reader, writer = await here.page()
        assert here.network.cut(CutOrder(TOKEN, LONG, "silent")) == 1
        writer.write(b"one ")
        answer = asyncio.create_task(reader.readexactly(8))
        other = await asyncio.open_connection("127.0.0.1", here.port)
        other[1].write(b"echo")
        await other[0].readexactly(4)  # bytes of others have come and gone meanwhile
        assert not answer.done()
        writer.write(b"two!")
        here.network.cut(CutOrder(TOKEN, 0, "silent"))
        assert await answer == b"one two!"

    within_the_loop(scene)


def test_a_connector_that_does_not_run_refuses() -> None:
    async def scene(here: World) -> None:
        relay = await here.network.relay(0)
        reader, _ = await asyncio.open_connection("127.0.0.1", relay.port)
        assert await lost(reader)

    within_the_loop(scene)


def test_a_port_that_is_taken_is_replaced() -> None:
    async def scene(here: World) -> None:
        relay = await here.network.relay(here.port)
        assert relay.port != here.port

    within_the_loop(scene)


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        (b'{"token":"t","seconds":0,"how":"cut"}\n', b'{"connections":0}\n'),
        (b"nonsense\n", b""),
        (b'{"token":"t","seconds":1,"how":"other"}\n', b""),
        (b"x" * 100_000 + b"\n", b""),
    ],
)
def test_orders_come_by_a_socket(tmp_path: Path, line: bytes, answer: bytes) -> None:
    async def scene(here: World) -> None:
        path = tmp_path / "s"
        async with await serve_orders(here.network, path):
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(line)
            got = b""
            with contextlib.suppress(ConnectionError):
                got = await reader.read()
            assert got == answer

    within_the_loop(scene)
