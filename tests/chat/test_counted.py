"""Devices come and go while messages are published: who gets a message is who is counted for it."""

from __future__ import annotations

import random
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, gatherResults

from push.streams.ledger import DeliveryCounts
from push.wire.api.groups import NewGroup
from tests.amounts import amount
from tests.chat.conftest import User
from tests.chat.test_messages import say
from tests.connector.conftest import Client, Dial, Node
from tests.waiting import WaitUntil

USERS = ("anna", "bob", "carol", "dora")
ROUNDS = amount(10, 100)


class Crowd:
    """Devices that follow a group, a topic and a user, and cease to, while all are written to."""

    def __init__(self, node: Node, group: str, clients: dict[str, list[Client]]) -> None:
        self._node = node
        self._group = group
        self.clients = clients
        self.ids: list[str] = []
        self._chance = random.Random(7)
        self._at_work = 3

    @property
    def tokens(self) -> list[str]:
        return [c._credentials["token"] for each in self.clients.values() for c in each]

    async def come_and_go(self) -> None:
        groups = self._node.chat.groups
        for _ in range(ROUNDS):
            user = self._chance.choice(USERS)
            await groups.remove(self._group, [user], None)
            await groups.add(self._group, [user], None)
        self._at_work -= 1

    async def subscribe(self) -> None:
        for _ in range(ROUNDS):
            token = self._chance.choice(self.tokens)
            if not await self._node.topics.subscribe("news", token):
                await self._node.topics.unsubscribe("news", token)
        self._at_work -= 1

    async def rebind(self) -> None:
        for _ in range(ROUNDS):
            token = self._chance.choice(self.tokens)
            user = (await self._node.devices.get(token)).user
            if user and self._chance.random() < 0.3:
                await self._node.devices.unbind_all(user, [token])
            else:
                await self._node.devices.bind(self._chance.choice(USERS), token)
        self._at_work -= 1

    async def push(self, kind: str, *names: str, **more: Any) -> None:
        while self._at_work:
            receipt = await self._node.push(kind, *names, data=len(self.ids), **more)
            self.ids.append(receipt.id)

    async def talk(self) -> None:
        while self._at_work:
            sent = await say(self._node, "owner", f"group:{self._group}", 1)
            self.ids.append(sent.id)


def settled(funnel: DeliveryCounts) -> bool:
    return funnel.addressed == (
        funnel.acknowledged
        + funnel.expired
        + funnel.cancelled
        + sum(funnel.dropped.values())
        + (funnel.written - funnel.acknowledged if not funnel.stored else 0)
    )


@pytest_twisted.ensureDeferred
async def test_what_many_follow_is_counted_for_all_who_get_it(
    node: Node, dial: Dial, person: User, wait_until: WaitUntil
) -> None:
    clients = {user: [await person(user) for _ in range(2)] for user in USERS}
    group = (await node.chat.groups.create("owner", NewGroup("g", members=list(USERS)))).group
    crowd = Crowd(node, group, clients)
    work = [
        crowd.come_and_go(),
        crowd.subscribe(),
        crowd.rebind(),
        crowd.push("group", group),
        crowd.push("group", group, qos=0),
        crowd.push("topic", "news"),
        crowd.push("topic", "news", qos=0),
        crowd.push("users", *USERS),
        crowd.push("all"),
        crowd.talk(),
    ]
    await gatherResults([Deferred.fromCoroutine(each) for each in work])

    for id in crowd.ids:
        found: list[DeliveryCounts] = []

        async def is_settled(id: str = id, found: list[DeliveryCounts] = found) -> bool:
            found[:] = [await node.pushing.message(id)]
            return settled(found[0])

        try:
            await wait_until(is_settled)
        except AssertionError:
            pytest.fail(f"not settled: {bytes(found[0].to)!r} {found}")
        (funnel,) = found
        told = bytes(funnel.to), funnel
        assert funnel.acknowledged <= funnel.written <= funnel.addressed, told
