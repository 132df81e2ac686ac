"""Whatever comes while sessions are behind: once it is over they read on by themselves to the end,
though no new message comes."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from push.connector.sessions.device_session import DeviceSession
from push.redis.connection.errors import StoreUnavailable
from push.wire.api.groups import NewGroup
from push.wire.errors import RequestError
from tests.amounts import amount
from tests.conftest import RedisServer
from tests.connector.conftest import Client, Dial, Node
from tests.waiting import WaitUntil, pause

Make = Callable[..., Awaitable[Any]]

SEEDS = amount(range(4), range(100, 140))
PARTS, ROUNDS = 3, 15
WINDOWS = [1, 2, 4, 8, 64, 64]  # of the devices
USERS = 3
# Less than the minute after which all logs are swept: it must not be that which helps.
QUIET_SECONDS = 40


class Hindered:
    """Devices on a node, what each of them must have, and what can come in their way."""

    def __init__(self, node: Node, servers: list[RedisServer], chance: random.Random) -> None:
        self.clients: list[Client] = []
        self._node = node
        self._servers = servers
        self._chance = chance
        self._expected: dict[Client, set[str]] = {}
        self._targets: dict[tuple[str, ...], set[Client]] = {}
        self._acknowledged: dict[Client, int] = {}
        self._silent: set[Client] = set()  # these read nothing
        self._begun: list[Deferred[None]] = []
        self._group = ""  # that users join and leave

    async def open(self, dial: Dial) -> None:
        for number, window in enumerate(WINDOWS):
            client = await dial(self._node, acks=True)
            pair = await client.register()
            await client.connect(**pair, window=window)
            self.clients.append(client)
            user = f"user{number % USERS}"
            await self._node.devices.bind(user, pair["token"])
            await self._node.topics.subscribe(f"topic{number % 2}", pair["token"])
            for target in (
                ("all",),
                ("token", pair["token"]),
                ("user", user),
                ("topic", f"topic{number % 2}"),
            ):
                self._targets.setdefault(target, set()).add(client)
        groups = self._node.chat.groups
        group = (await groups.create("user0", NewGroup("g", members=["user1"]))).group
        users = self._targets["user", "user0"], self._targets["user", "user1"]
        self._targets["group", group] = users[0] | users[1]
        self._group = (await groups.create("user0", NewGroup("g"))).group

    def begin(self, act: Callable[[], Awaitable[None]]) -> None:
        async def run() -> None:
            with suppress(StoreUnavailable, RequestError):  # what is in the way of this, too
                await act()

        self._begun.append(Deferred.fromCoroutine(run()))

    async def push(self) -> None:
        target = self._chance.choice(list(self._targets))
        data = "x" * self._chance.choice([0, 100, 3_000, 20_000])
        for _ in range(self._chance.choice([1, 3, 30])):
            sent = await self._node.push(*target, data=data)
            for client in self._targets[target]:
                self._expected.setdefault(client, set()).add(sent.id)

    def hindrances(self) -> list[Callable[[], Awaitable[None]]]:
        return [
            self.acknowledge_or_not,
            self.acknowledge_or_not,
            self.read_or_not,
            self.rebuild,
            self.cut,
            self.stand_still,
            self.lose_a_message,
            self.doubt,
            self.change_the_group,
            self.forget_scripts,
        ]

    async def acknowledge_or_not(self) -> None:
        client = self._chance.choice(self.clients)
        client.acks = not client.acks
        if client.acks:
            self._acknowledge(client)

    def _acknowledge(self, client: Client) -> None:
        """All that it got since it did so last. (What it acknowledged by itself, once more: that is
        ignored.)"""
        done = self._acknowledged.get(client, 0)
        self._acknowledged[client] = len(client.pushes)
        for frame in client.pushes[done:]:
            if frame.message_id:
                client.ack(frame)

    async def read_or_not(self) -> None:
        client = self._chance.choice(self.clients)
        if client in self._silent:
            self._read_again(client)
        else:
            self._silent.add(client)
            client.transport.pauseProducing()

    def _read_again(self, client: Client) -> None:
        self._silent.remove(client)
        client.transport.resumeProducing()

    async def rebuild(self) -> None:
        self._server().rebuild("a test cuts the connections")

    def _server(self) -> Any:
        return self._chance.choice(list(self._node.shards))

    async def cut(self) -> None:
        kind = self._chance.choice(["pubsub", "normal"])
        await self._server().command("CLIENT", "KILL", "TYPE", kind)

    async def stand_still(self) -> None:
        server = self._chance.choice(self._servers)
        server.pause()
        await pause(self._chance.choice([0.01, 0.1, 0.6]))
        server.resume()

    async def lose_a_message(self) -> None:
        """Of a channel, the next one; the one after it shows the gap, if there is one."""
        streams = self._chance.choice(list(self._node.gateway.streams))
        channel = self._chance.choice(list(streams.hub.channels.values()))
        handlers = streams.server.channels.handlers
        names = [name for name, handler in handlers.items() if handler == channel.receiver]

        def lose(_payload: bytes) -> None:
            if channel.receiver is not None:
                handlers[names[0]] = channel.receiver

        if names:
            handlers[names[0]] = lose

    async def doubt(self) -> None:
        sessions: list[DeviceSession] = list(self._node.gateway.sessions.values())
        await self._node.gateway.freshness._doubt(self._chance.choice(sessions))

    async def change_the_group(self) -> None:
        groups = self._node.chat.groups
        change = self._chance.choice([groups.add, groups.remove])
        await change(self._group, ["user1", "user2"], None)
        for number in range(self._chance.choice([1, 10])):
            await self._node.push("group", self._group, data=number)

    async def forget_scripts(self) -> None:
        await self._server().command("SCRIPT", "FLUSH")

    async def end(self) -> None:
        """Nothing is in the way any more. What was lost last, without a gap, the sweep finds."""
        for begun in self._begun:
            await begun
        self._begun.clear()
        for streams in self._node.gateway.streams:
            await streams.hub._loss_check._sweeps.run()
        for client in self._chance.sample(self.clients, len(self.clients)):
            if client in self._silent:
                self._read_again(client)
            client.acks = True
            self._acknowledge(client)
            await pause(0)

    def missing(self) -> dict[int, int]:
        """How many messages devices still lack, by the number of the device."""
        missing = {}
        for number, client in enumerate(self.clients):
            ids = {body["id"] for body in client.bodies}
            if lacking := self._expected.get(client, set()) - ids:
                missing[number] = len(lacking)
        return missing

    def check_order(self) -> None:
        for client in self.clients:
            last: dict[str, int] = {}
            seen: set[str] = set()
            for body in client.bodies:
                if "kind" not in body and body["id"] not in seen:
                    seen.add(body["id"])
                    assert int(body["offset"]) > last.get(body["stream"], 0)
                    last[body["stream"]] = int(body["offset"])


@pytest.mark.parametrize("seed", SEEDS)
@pytest_twisted.ensureDeferred
async def test_sessions_that_were_behind_read_on_to_the_end_by_themselves(
    make_node: Make, make_redis: Any, dial: Dial, wait_until: WaitUntil, seed: int
) -> None:
    chance = random.Random(seed)
    servers = [make_redis() for _ in range(1 + seed % 2)]
    timeout_seconds = chance.choice([0.3, 5.0])
    node = await make_node([each.url for each in servers], timeout_seconds=timeout_seconds)
    node.listen(sndbuf=4096)
    hindered = Hindered(node, servers, chance)
    await hindered.open(dial)
    hindrances = chance.sample(hindered.hindrances(), 6)
    for _ in range(PARTS):
        for _ in range(ROUNDS):
            hindered.begin(hindered.push)
            hindered.begin(chance.choice(hindrances))
            await pause(chance.choice([0, 0.005, 0.05]))
        await hindered.end()

        await wait_until(lambda: not hindered.missing(), deadline_seconds=QUIET_SECONDS)
        hindered.check_order()
    gateway = node.gateway
    await wait_until(lambda: not gateway.catch_up._woken and not gateway.catch_up.held_up)
    await wait_until(
        lambda: not any(each.protocol.window.used for each in gateway.sessions.values())
    )
