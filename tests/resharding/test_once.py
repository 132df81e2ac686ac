"""The same idempotency key, before and after: one message, the same answer."""

from __future__ import annotations

import json
from typing import Any

import pytest
import pytest_twisted

from push.redis.connection.errors import StoreUnavailable
from push.wire.errors import RequestError
from tests.resharding.world import Worlds

WAYS = [(1, [0, 1, 2]), (3, [1]), (2, [0, 1, 2]), (3, [2, 0]), (2, [1, 0])]


async def devices(world: Worlds, count: int) -> list[str]:
    """All tokens, with so many new ones; more until each server has a device: tokens are random."""
    homes = {world.shards.number_of(f"dev:{token}") for token in world.secrets}
    while count > 0 or len(homes) < len(world.servers):
        count -= 1
        pair = await world.devices.register(platform="p", app="a", ip="::1")
        world.secrets[pair.token] = pair.secret
        homes.add(world.shards.number_of(f"dev:{pair.token}"))
    return sorted(world.secrets)


async def logs(world: Worlds) -> int:
    """Entries in all logs of all servers."""
    total = 0
    for server in world.servers:
        for key in await server.command("KEYS", server.key("log:*")):
            total += int(await server.command("XLEN", key))
    return total


async def ids_in_bodies(world: Worlds) -> set[str]:
    """What devices are told, of all entries in all logs."""
    found = set()
    for server in world.servers:
        for key in await server.command("KEYS", server.key("log:*")):
            for _, fields in await server.command("XRANGE", key, "-", "+"):
                found.add(json.loads(fields[5])["id"])
    return found


@pytest.mark.parametrize("kind", ["token", "tokens", "users", "all", "ip"])
@pytest.mark.parametrize(("before", "after"), WAYS)
@pytest_twisted.ensureDeferred
async def test_a_key_that_was_answered_is_answered_the_same(
    make_world: Any,
    make_redis: Any,
    move: Any,
    wait_until: Any,
    before: int,
    after: list[int],
    kind: str,
) -> None:
    urls = [make_redis().url for _ in range(3)]
    old, new = urls[:before], [urls[number] for number in after]
    world = await make_world(1, old)
    tokens = await devices(world, 6)
    for number, token in enumerate(tokens):
        await world.devices.bind(f"user{number % 4}", token)
    names = {
        "token": tokens[:1],
        "tokens": tokens,
        "users": ["user0", "user1", "user2", "user3", "nobody"],
        "all": [],
        "ip": ["10.0.0.0/8"],
    }[kind]
    answer = await world.say(kind, *names, once="order-17")
    funnel = await world.pushing.message(answer.id)
    await world.unsettle()

    await move(old, new)

    await world.settle(new, wait_until)
    for _ in range(2):
        entries = await logs(world)
        assert await world.say(kind, *names, once="order-17") == answer
        assert await logs(world) == entries
    with pytest.raises(RequestError) as other:
        await world.say(kind, *names, once="order-17", data="another request")
    assert other.value.code == "idempotency_mismatch"
    again = await world.pushing.message(answer.id)
    assert (again.addressed, again.stored) == (funnel.addressed, funnel.stored)


@pytest.mark.parametrize("after", [[0], [1], [0, 1, 2], [1, 0]])
@pytest_twisted.ensureDeferred
async def test_a_push_that_was_half_done_is_completed_by_its_key_and_not_done_twice(
    make_world: Any, make_redis: Any, move: Any, wait_until: Any, after: list[int]
) -> None:
    redises = [make_redis() for _ in range(3)]
    urls = [redis.url for redis in redises]
    old, new = urls[:2], [urls[number] for number in after]
    world = await make_world(1, old)
    tokens = await devices(world, 8)
    key = next(
        f"key-{n}"
        for n in range(100)
        if world.pushing._publisher._claim_of(_once(f"key-{n}"))[0] is world.servers[0]
    )
    redises[1].kill()
    await wait_until(lambda: world.servers[1].problem is not None)
    with pytest.raises(StoreUnavailable):
        await world.say("tokens", *tokens, once=key)
    redises[1].start()
    await wait_until(lambda: not world.shards.problems)
    for token in await devices(world, 0):
        assert await world.devices.exists(token)
    await world.unsettle()

    await move(old, new)

    await world.settle(new, wait_until)
    answer = await world.say("tokens", *tokens, once=key)
    assert answer == await world.say("tokens", *tokens, once=key)
    assert answer.streams == len(tokens)
    for token in tokens:
        seat = await world.open(token, 1 << 20)
        await world.read_on(seat)
        assert seat.window is not None
        assert [delivery.id for delivery in seat.window.outstanding.values()] == [answer.id]
    assert await ids_in_bodies(world) == {answer.id}
    funnel = await world.pushing.message(answer.id)
    assert (funnel.addressed, funnel.stored) == (len(tokens), len(tokens))
    assert await world.pushing.cancel(answer.id) == len(tokens)


def _once(key: str) -> Any:
    from push.pushing.service import _digest
    from push.streams.publisher import IdempotencyKey

    return IdempotencyKey(_digest(key.encode()), "")
