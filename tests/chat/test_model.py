"""Whatever happens: a member's device gets what was said while he was one, and nothing else."""

from __future__ import annotations

import random
from typing import Any

import pytest
import pytest_twisted

from push.wire.api.groups import NewGroup
from tests.chat.conftest import User
from tests.chat.test_messages import say
from tests.connector.conftest import Client, Dial, Node
from tests.waiting import WaitUntil

USERS = ("bob", "carol", "dave")
STEPS = 60


class Reader:
    """A device of a user, and what it is to have. A visitor (a JWT alone) is kept nothing for."""

    def __init__(self, user: str, client: Client, *, visitor: bool) -> None:
        self.user = user
        self.client: Client | None = client
        self.credentials = client._credentials
        self.visitor = visitor
        self.due: list[int] = []  # what waits for it
        self.expected: list[int] = []
        self.before: list[Client] = [client]

    @property
    def got(self) -> list[int]:
        """What came, on all connections, each once."""
        bodies = [body for client in self.before for body in client.bodies]
        found = {b["id"]: b["data"] for b in bodies if b.get("kind") == "chat"}
        return list(found.values())

    def told(self, number: int) -> None:
        if self.client is not None:
            self.expected.append(number)
        elif not self.visitor:
            self.due.append(number)

    def came_back(self, client: Client) -> None:
        self.client = client
        self.before.append(client)
        self.expected += self.due
        self.due = []

    def left(self) -> None:
        """What waits for a device of somebody who is no member any more does not come."""
        self.due = []


@pytest.mark.parametrize("seed", range(4))
@pytest_twisted.ensureDeferred
async def test_a_device_gets_what_was_said_while_its_user_was_a_member(
    node: Node, person: User, visitor: User, dial: Dial, wait_until: WaitUntil, seed: int
) -> None:
    chance = random.Random(seed)
    group = (await node.chat.groups.create("anna", NewGroup("g"))).group
    stream = f"group:{group}"
    members: set[str] = set()
    readers = [Reader(user, await person(user), visitor=False) for user in USERS]
    readers += [Reader(user, await visitor(user), visitor=True) for user in USERS[:2]]
    number = 0

    def in_step() -> bool:
        """All that are there have what they are to have, and follow what they are to follow."""
        for reader in readers:
            connection = next((c for c in node.gateway.connections if _is(c, reader.client)), None)
            if connection is not None and (stream in connection.device.subscriptions) != (
                reader.user in members
            ):
                return False
            if len(reader.got) < len(reader.expected):
                return False
        return True

    for _ in range(STEPS):
        act = chance.choice(["say", "say", "say", "join", "leave", "cut", "return"])
        user = chance.choice(USERS)
        reader = chance.choice(readers)
        if act != "say":
            await wait_until(in_step)  # what is under way when somebody goes may come or not
        if act == "say":
            number += 1
            await say(node, "anna", stream, number)
            for each in readers:
                if each.user in members:
                    each.told(number)
        elif act == "join" and user not in members:
            await node.chat.groups.add(group, [user], None)
            members.add(user)
        elif act == "leave" and user in members:
            await node.chat.groups.leave(group, user)
            members.discard(user)
            for each in readers:
                if each.user == user:
                    each.left()
        elif act == "cut" and reader.client is not None:
            cut, reader.client = reader.client, None
            cut.transport.loseConnection()
            await wait_until(lambda cut=cut: not any(_is(c, cut) for c in node.gateway.connections))
        elif act == "return" and reader.client is None:
            if reader.visitor:
                reader.came_back(await visitor(reader.user))
            else:
                client = await dial(node, acks=True)
                await client.connect(**reader.credentials)
                reader.came_back(client)
        if act != "say":
            await wait_until(in_step)
    await wait_until(in_step)
    for reader in readers:
        assert reader.got == reader.expected, (reader.user, reader.visitor)


def _is(connection: Any, client: Client | None) -> bool:
    """Whether these are the two ends of one connection."""
    return (
        client is not None
        and not client.closed
        and connection.transport.getPeer().port == client.transport.getHost().port
    )
