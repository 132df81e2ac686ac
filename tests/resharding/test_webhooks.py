"""Outboxes of webhooks: nothing that waits is lost, whatever the list of servers becomes."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted

from push.resharding.kinds import kind_of
from tests.resharding.test_chat import name_servers
from tests.webhooks.conftest import (
    MakeWorld,
    Receiver,
    World,
    boots,
    dial,
    keyring,
    make_node,
    make_receiver,
    make_world,
    more_urls,
    receiver,
    say,
)

__all__ = [
    "boots",
    "dial",
    "keyring",
    "make_node",
    "make_receiver",
    "make_world",
    "more_urls",
    "receiver",
]


@pytest.mark.parametrize(
    ("before", "after"), [(1, [0, 1, 2]), (3, [0]), (2, [1, 0]), (2, [2, 0, 1])]
)
@pytest_twisted.ensureDeferred
async def test_events_wait_on_the_servers_of_the_new_list_and_none_is_lost(
    make_redis: Any,
    make_world: MakeWorld,
    receiver: Receiver,
    move: Any,
    wait_until: Any,
    before: int,
    after: list[int],
) -> None:
    urls = [make_redis().url for _ in range(3)]
    old, new = urls[:before], [urls[number] for number in after]
    world = await make_world(urls=old, retries_seconds=(86_400,))
    await name_servers(world.node)
    users = [f"user{number}" for number in range(8)]
    devices = []
    for user in users:
        pair = await world.node.devices.register(platform="p", app="a", ip="1.2.3.4")
        await world.node.devices.bind(user, pair.token)
        await world.node.push("user", user, data=1)
        devices.append(pair.token)
    for user in users:
        await say(world, 1, to=user)
    service = world.deliver()
    await wait_until(lambda: len(receiver.received) == 8)  # they have it
    receiver.answer = 500
    for user in users:
        await say(world, 2, to=user)
    await wait_until(lambda: len(receiver.received) == 16)
    await wait_until(lambda: attempts(world, 16))
    await service.stopService()
    for user in users:
        await say(world, 3, to=user)  # nobody delivers
    for token in devices[:4]:
        await world.node.devices.forget(token)  # message.dropped
    world_before = await world.endpoint()
    await world.node.stop()

    await move(old, new)

    receiver.answer = 204
    receiver.received.clear()
    again = await make_world(urls=new)
    assert (await again.endpoint()).waiting >= 8
    assert await attempts(again, 16)
    again.deliver()
    await wait_until(lambda: seqs(receiver, 3) == 8)
    # Each had a push and three messages of a conversation.
    await wait_until(lambda: len(receiver.of("message.dropped")) == 16)
    await say(again, 4)
    await wait_until(lambda: seqs(receiver, 1) + seqs(receiver, 4) == 1)

    async def is_settled() -> bool:
        return (await again.endpoint()).waiting == 8  # they are due in a day

    await wait_until(is_settled)
    assert (await again.endpoint()).lost == world_before.lost == 0
    for server in again.node.shards:
        for key in await server.command("KEYS", server.key("webhook-*")):
            assert kind_of(key.decode().partition(":")[2])


def seqs(receiver: Receiver, seq: int) -> int:
    """How many messages with this seq came."""
    return [event["seq"] for event in receiver.of("chat.message")].count(seq)


async def attempts(world: World, count: int) -> bool:
    """Whether so many are in the log."""
    page, _ = await world.webhooks.attempts("config-test", None, 200)
    return len(page) == count
