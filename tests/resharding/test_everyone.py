"""Everyone's stream, where servers do not have it alike: other offsets, another order, not all."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import pytest_twisted

from push.devices.session_ending import EndedSession
from push.pushing.content import PushContent, encoded
from push.redis.shards import Shards
from push.streams.publisher import Publisher, StreamMessage
from push.wire.idents import STREAM_ALL
from tests.publishing import publish
from tests.resharding.world import Worlds


async def publish_at(world: Worlds, number: int, id: str, ttl_seconds: int = 3600) -> None:
    """One message to everyone, on one server only."""
    await publish(
        Publisher(Shards([world.servers[number]])),
        StreamMessage(
            id=id,
            content=encoded(id, PushContent(msgspec.Raw(b"1"))).decode(),
            ttl_seconds=ttl_seconds,
            streams=[STREAM_ALL],
            stored=True,
            to='{"all":true}',
        ),
    )


async def device_at(world: Worlds, number: int) -> str:
    """A new device whose home is that server."""
    while True:
        pair = await world.devices.register(platform="p", app="a", ip="::1")
        if world.shards.number_of(f"dev:{pair.token}") == number:
            world.secrets[pair.token] = pair.secret
            return pair.token
        await world.devices.forget(pair.token)


async def numbers(world: Worlds, id: str) -> tuple[int, int, int]:
    """Addressed, written, acknowledged."""
    funnel = await world.pushing.message(id)
    return funnel.addressed, funnel.written, funnel.acknowledged


async def acknowledge_first(world: Worlds, token: str) -> str:
    """The device reads, acknowledges the first message and leaves."""
    seat = await world.open(token, 1 << 20)
    await world.read_on(seat)
    assert seat.window is not None
    number, delivery = min(seat.window.outstanding.items(), key=lambda item: item[1].offset)
    world.acknowledge_one(seat, number)
    await world.flush()
    await world.sessions.ending.close([EndedSession(token, seat.session_id)])
    del world.seats[token]
    return delivery.id


async def set_clock(world: Worlds, number: int, ahead_seconds: int) -> None:
    server = world.servers[number]
    clock = server.clock.now_us() + ahead_seconds * 1_000_000
    await server.command("SET", server.key("clock"), clock)
    server.clock.observe(clock)


@pytest_twisted.ensureDeferred
async def test_a_device_comes_to_a_server_whose_clock_was_ahead_and_behind(
    make_world: Any, make_redis: Any, move: Any, wait_until: Any
) -> None:
    urls = [make_redis().url for _ in range(3)]
    world = await make_world(1, urls)
    tokens = [await device_at(world, number) for number in range(3) for _ in range(4)]
    await set_clock(world, 1, 100)
    await set_clock(world, 2, 7)
    ids = [(await world.say("all", data=number)).id for number in range(6)]
    for token in tokens[::2]:
        assert await acknowledge_first(world, token) == ids[0]
    await world.unsettle()

    await move(urls, urls[:2])

    await world.settle(urls[:2], wait_until)
    assert await numbers(world, ids[0]) == (12, 6, 6)
    assert await numbers(world, ids[1]) == (12, 6, 0)
    for token in tokens[::2]:
        assert await world.take_all(token) == {"all": ids[1:]}
    for token in tokens[1::2]:
        assert await world.take_all(token) == {"all": ids}
    for id in ids:
        assert await numbers(world, id) == (12, 12, 12)


@pytest_twisted.ensureDeferred
async def test_two_messages_that_servers_have_in_another_order_reach_everyone_and_count_once(
    make_world: Any, make_redis: Any, move: Any, wait_until: Any
) -> None:
    urls = [make_redis().url for _ in range(2)]
    world = await make_world(1, urls)
    first, second = [await device_at(world, 0) for _ in range(3)], await device_at(world, 1)
    await set_clock(world, 0, 5)
    one, other = world.snowflake.next_id(), world.snowflake.next_id()
    for number, id in ((0, one), (0, other), (1, other), (1, one)):
        await publish_at(world, number, id)
    await set_clock(world, 1, 60)
    for number, id in ((0, "third"), (1, "third")):
        await publish_at(world, number, id)
    assert await acknowledge_first(world, first[0]) == one
    assert await acknowledge_first(world, second) == other
    await world.unsettle()

    await move(urls, [urls[1]])

    await world.settle([urls[1]], wait_until)
    took = {token: (await world.take_all(token))["all"] for token in (*first, second)}
    assert all(sorted(ids)[-1] == "third" == ids[-1] for ids in took.values())
    assert other in took[first[0]]
    assert one in took[second]
    assert all(len(ids) == len(set(ids)) for ids in took.values())
    for id in (one, other, "third"):
        assert await numbers(world, id) == (4, 4, 4)


@pytest_twisted.ensureDeferred
async def test_a_message_that_not_all_servers_have_reaches_those_for_whom_it_is_stored(
    make_world: Any, make_redis: Any, move: Any, wait_until: Any
) -> None:
    """Its push was answered with 503. Who has something else to read as well gets it, too."""
    urls = [make_redis().url for _ in range(2)]
    world = await make_world(1, urls)
    first, second = await device_at(world, 0), await device_at(world, 1)
    behind = await device_at(world, 1)
    whole = (await world.say("all")).id
    await world.take_all(second)
    await world.leave_now(second)
    await publish_at(world, 0, "half")
    await world.unsettle()

    await move(urls, [urls[1]])

    await world.settle([urls[1]], wait_until)
    assert await numbers(world, "half") == (2, 0, 0)
    assert await world.take_all(first) == {"all": [whole, "half"]}
    assert await world.take_all(behind) == {"all": [whole, "half"]}
    assert await world.take_all(second) == {}
    assert await numbers(world, "half") == (2, 2, 2)


@pytest_twisted.ensureDeferred
async def test_a_message_that_one_server_has_cancelled_is_so_for_all(
    make_world: Any, make_redis: Any, move: Any, wait_until: Any
) -> None:
    urls = [make_redis().url for _ in range(2)]
    world = await make_world(1, urls)
    first, second = await device_at(world, 0), await device_at(world, 1)
    id = (await world.say("all")).id
    known, cancelled = await world.pushing._cancel(0, id, [STREAM_ALL])
    assert (known, cancelled) == (True, 1)
    await world.unsettle()

    await move(urls, [urls[1], urls[0]])

    await world.settle([urls[1], urls[0]], wait_until)
    assert await world.take_all(first) == await world.take_all(second) == {}
    assert (await world.pushing.message(id)).cancelled == 2


@pytest_twisted.ensureDeferred
async def test_whoever_lost_messages_is_told_so_on_the_new_server(
    make_world: Any, make_redis: Any, move: Any, wait_until: Any
) -> None:
    urls = [make_redis().url for _ in range(2)]
    world = await make_world(1, urls)
    away, here = await device_at(world, 0), await device_at(world, 1)
    for number in range(20):  # more than are kept
        await world.say("all", data=number)
        if number == 10:
            await world.take_all(here)
            await world.leave_now(here)
    await world.unsettle()

    await move(urls, [urls[1]])

    await world.settle([urls[1]], wait_until)
    assert (await world.opened(away)).truncated == ["all"]
    assert (await world.opened(here)).truncated == []


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("after", [[0], [2, 1], [3], [1, 3, 0, 2], [2, 0, 1]])
@pytest_twisted.ensureDeferred
async def test_in_whatever_order_servers_have_messages_each_counts_once(
    make_world: Any, make_redis: Any, move: Any, wait_until: Any, after: list[int], seed: int
) -> None:
    urls = [make_redis().url for _ in range(4)]
    new = [urls[number] for number in after]
    world = await make_world(seed, urls[:3])
    tokens = [await device_at(world, number) for number in range(3) for _ in range(5)]
    ids = [world.snowflake.next_id() for _ in range(5)]
    for number in range(3):
        await set_clock(world, number, world.chance.choice([0, 0, 1, 30]))
        for id in world.chance.sample(ids, len(ids)):
            await publish_at(world, number, id)
    done: dict[str, set[str]] = {}
    for token in tokens:
        seat = await world.open(token, 1 << 20)
        if world.chance.random() < 0.8:
            await world.read_on(seat)
        assert seat.window is not None
        outstanding = sorted(seat.window.outstanding.items(), key=lambda item: item[1].offset)
        part = outstanding[: world.chance.randrange(len(ids) + 1)]
        for n, _ in part:
            world.acknowledge_one(seat, n)
        done[token] = {delivery.id for _, delivery in part}
        world.writer.handed(seat, seat.subscriptions["all"])
        await world.leave_now(token)
    before = {id: await numbers(world, id) for id in ids}
    await world.unsettle()

    await move(urls[:3], new)

    await world.settle(new, wait_until)
    for id in ids:
        addressed, written, acknowledged = await numbers(world, id)
        assert addressed == before[id][0] == len(tokens)
        assert acknowledged <= written <= before[id][1]
        assert acknowledged <= before[id][2]
    for token in tokens:
        got = (await world.take_all(token)).get("all", [])
        assert len(got) == len(set(got))
        assert set(got) | done[token] == set(ids)
    for id in ids:
        assert await numbers(world, id) == (len(tokens),) * 3
