"""The ledger against a model: whatever devices and backends do, nobody is counted wrongly."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_twisted

from tests.amounts import amount
from tests.connector.ledger_world import World

STEPS = 350
# A count that is wrong stays wrong: to look at all of them more often only finds it sooner.
BETWEEN_CHECKS = amount(35, 10)


@pytest_twisted.async_yield_fixture
async def make_world(connect: Any, redis_url: str) -> AsyncIterator[Any]:
    from twisted.internet import reactor

    worlds: list[World] = []

    async def make(seed: int) -> World:
        worlds.append(World(reactor, await connect(redis_url), seed))
        return worlds[-1]

    yield make
    for world in worlds:
        await world.stop()


@pytest.mark.parametrize("seed", [*range(amount(1, 6)), 175, 192, 202, 208, 252, 1097, 1224])
@pytest_twisted.ensureDeferred
async def test_whatever_happens_each_device_is_counted_once_and_for_what_happened_to_it(
    make_world: Any, seed: int
) -> None:
    world = await make_world(seed)
    await live(world, {})


@pytest.mark.parametrize("seed", range(amount(2, 8)))
@pytest_twisted.ensureDeferred
async def test_that_holds_for_topics_too(make_world: Any, seed: int) -> None:
    world = await make_world(seed)
    await live(world, {world.subscribe: 6, world.push_to_topic: 10})


async def live(world: World, more: dict[Any, int]) -> None:
    """What happens by chance, beside what there is always; and what must hold."""
    acts = {
        world.register: 3,
        world.connect: 3,
        world.leave: 2,
        world.bind: 3,
        world.forget: 1,
        world.push: 12,
        world.read: 14,
        world.acknowledge: 10,
        world.redeliver: 3,
        world.give_up: 1,
        world.flush: 6,
        world.flush_in_vain: 1,
        world.cancel: 2,
        world.pass_time: 2,
        **more,
    }
    done = []
    for step in range(STEPS):
        (act,) = world.chance.choices(list(acts), list(acts.values()))
        done.append(act.__name__)
        await act()
        if step % BETWEEN_CHECKS == 0:
            await world.check()

    await world.end()
    assert world.acked
