"""Clients of a stream that are cut at any point and resume: by id nothing is lost, by writing
nothing comes twice. The seeds are fixed."""

from __future__ import annotations

import random
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.task import deferLater

from push.wire.signals import ConnectStatus
from tests.connector.stream_client import EventReader, StreamClient, connect_stream
from tests.waiting import WaitUntil

Make = Callable[..., Awaitable[Any]]
USER = "anna"
ROUNDS = 40
WINDOW = 8


class World:
    """One device on one connector, and a backend that pushes by four targets."""

    def __init__(self, node: Any, seed: int, wait_until: WaitUntil) -> None:
        self.node = node
        self.random = random.Random(seed)
        self.wait_until = wait_until
        self.pushed: list[str] = []
        self.targets: dict[str, str] = {}
        self.headers: dict[str, str] = {}
        self.port = node.ports[-1].getHost().port

    async def prepare(self) -> None:
        made = await self.node.devices.register(
            platform="p", app="a", device=None, token=None, secret=None, ip="127.0.0.1"
        )
        await self.node.devices.bind(USER, made.token)
        await self.node.topics.subscribe("news", made.token)
        self.targets = {"token": made.token, "user": USER, "topic": "news", "all": ""}
        self.headers = {"Push-Token": made.token, "Push-Secret": made.secret}

    async def push(self, most: int) -> None:
        for _ in range(self.random.randint(0, most)):
            kind, name = self.random.choice(sorted(self.targets.items()))
            data = "x" * self.random.choice([1, 100, 20_000])
            result = await self.node.push(kind, *filter(None, [name]), data=data)
            self.pushed.append(result.id)

    async def client(self, query: str, last_id: str = "") -> StreamClient:
        client = await connect_stream(self.node.reactor, self.port)
        more = {"Last-Event-ID": last_id} if last_id else {}
        client.ask("/v1/stream" + query, {**self.headers, **more})
        return client

    async def some_of(self, client: StreamClient, events: int) -> None:
        """Read until there are so many messages, or the response has ended."""
        await self.wait_until(lambda: client.closed or len(client.messages) >= events)

    async def until_open(self, client: StreamClient) -> None:
        await self.wait_until(lambda: client.status == 200)

    async def push_until_blocked(self) -> None:
        [connection] = self.node.gateway.connections
        while not connection.blocked:
            result = await self.node.push("token", self.targets["token"], data="x" * 20_000)
            self.pushed.append(result.id)

    async def cut(self, client: StreamClient) -> None:
        if self.random.random() < 0.5:
            client.transport.abortConnection()
        else:
            client.transport.loseConnection()
        await self.wait_until(lambda: client.closed)


@pytest.fixture
def make_world(make_node: Make, redis_url: str, wait_until: WaitUntil) -> Make:
    async def make(seed: int, **limits: Any) -> World:
        node = await make_node(redis_url, limits={"max_deliveries": 10_000, **limits})
        node.listen(web=True, sndbuf=8192)
        world = World(node, seed, wait_until)
        await world.prepare()
        return world

    return make


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
@pytest_twisted.ensureDeferred
async def test_by_id_nothing_is_lost_wherever_a_client_is_cut(
    make_world: Make, dial: Make, seed: int
) -> None:
    """A client keeps what it got up to the id that it has stored; the rest it forgets."""
    world = await make_world(seed, window_messages=WINDOW)
    kept: list[dict[str, Any]] = []
    stored_id = ""

    def keep(client: StreamClient, count: int) -> None:
        nonlocal stored_id
        events = [event for event in client.reader.events if event.name == "message"][:count]
        kept.extend(event.data for event in events)
        stored_id = events[-1].last_id if events else stored_id

    for _ in range(ROUNDS):
        await world.push(6)
        if world.random.random() < 0.15:  # another kind of session, which acknowledges nothing
            other = await dial(world.node, web=True)
            token, secret = world.headers.values()
            accepted = await other.connect(token=token, secret=secret)
            assert accepted["status"] is ConnectStatus.ACCEPTED
        client = await world.client("?ack=id", stored_id)
        if world.random.random() < 0.3:
            client.transport.pauseProducing()  # cut with bytes under way
        else:
            missing = len(set(world.pushed) - {body["id"] for body in kept})
            await world.some_of(client, min(missing, world.random.randint(0, 3)))
        await world.push(3)
        keep(client, world.random.randint(0, len(client.messages)))
        await world.cut(client)
    while {body["id"] for body in kept} != set(world.pushed):
        client = await world.client("?ack=id", stored_id)
        missing = len(set(world.pushed) - {body["id"] for body in kept})
        await world.some_of(client, min(missing, WINDOW))
        assert client.messages, (client.status, missing)
        keep(client, len(client.messages))
        await world.cut(client)
    for stream in {body["stream"] for body in kept}:
        offsets = [int(body["offset"]) for body in kept if body["stream"] == stream]
        assert offsets == sorted(offsets), "a stream is in order, and what was kept comes once"
        assert len(set(offsets)) == len(offsets)


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest_twisted.ensureDeferred
async def test_by_writing_nothing_comes_twice_wherever_a_client_is_cut(
    make_world: Make, seed: int
) -> None:
    world = await make_world(seed)
    got: list[str] = []
    for _ in range(ROUNDS):
        before = len(world.pushed)
        await world.push(8)
        client = await world.client("")
        if world.random.random() < 0.4:
            # Cut while some of what was handed out has left, and some not.
            await world.until_open(client)
            client.transport.pauseProducing()
            await world.push_until_blocked()
            client.transport.resumeProducing()
            there = len(world.pushed) - before  # few, where the first fill the socket
            await world.some_of(client, min(there, world.random.randint(1, 5)))
        else:
            await world.push(2)
            await deferLater(world.node.reactor, 0)
        await world.cut(client)
        got += [body["id"] for body in client.messages]
    last = await world.client("")
    await world.push(3)
    final = (await world.node.push("all", data="end")).id
    await world.wait_until(lambda: final in [body["id"] for body in last.messages])
    got += [body["id"] for body in last.messages]
    await world.cut(last)
    assert len(set(got)) == len(got)
    assert len(got) > ROUNDS


class SlowReader:
    """A client whose system keeps little, and that reads only when it is told to."""

    def __init__(self, world: World) -> None:
        self.reader = EventReader()
        self._head = b""
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        self._socket.connect(("127.0.0.1", world.port))
        self._socket.setblocking(False)
        lines = ["GET /v1/stream HTTP/1.1", "Host: a"]
        lines += [f"{name}: {value}" for name, value in world.headers.items()]
        self._socket.sendall("\r\n".join([*lines, "", ""]).encode())

    def read(self) -> bool:
        """A little; whether there was anything."""
        try:
            data = self._socket.recv(700)
        except BlockingIOError:
            return False
        if b"\r\n\r\n" not in self._head:
            self._head += data
            data = self._head.partition(b"\r\n\r\n")[2]
        self.reader.feed(data.decode())
        return True

    @property
    def offsets(self) -> list[int]:
        return [int(event.data["offset"]) for event in self.reader.events]

    def cut(self) -> None:
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()


@pytest.mark.parametrize("seed", range(1, 7))
@pytest_twisted.ensureDeferred
async def test_what_has_left_of_many_small_messages_is_known_when_the_connection_breaks(
    make_world: Make, seed: int
) -> None:
    """A client that reads slowly, and is cut while only some of a write has left."""
    world = await make_world(seed)
    for _ in range(250):
        await world.node.push("token", world.targets["token"], data="x" * 1000)
    got: list[int] = []
    for _ in range(4):
        client = SlowReader(world)
        await world.wait_until(lambda: any(c.blocked for c in world.node.gateway.connections))
        for _ in range(world.random.randint(5, 40)):
            await world.wait_until(client.read)
        await deferLater(world.node.reactor, 0)
        client.cut()
        await world.wait_until(lambda: not world.node.gateway.connections)
        await world.node.gateway.until_ended_are_done()
        got += client.offsets
    assert got == sorted(set(got)), "in order, and each at most once"
    assert len(got) > 5
