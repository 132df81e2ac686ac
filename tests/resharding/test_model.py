"""Whatever a deployment has done: moved to other servers, everything is as it was, and goes on."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted

from tests.amounts import amount
from tests.resharding.world import Worlds

STEPS = 160

WAYS = [
    (1, [0, 1, 2]),
    (3, [0, 1]),
    (3, [1]),
    (2, [1, 0]),
    (2, [2, 3]),
    (2, [0, 2, 1]),
    (3, [0, 3, 2]),
]


async def live(world: Worlds, steps: int) -> None:
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
        world.flush: 6,
        world.cancel: 2,
        world.pass_time: 1,
    }
    for _ in range(steps):
        (act,) = world.chance.choices(list(acts), list(acts.values()))
        await act()


@pytest.mark.parametrize("seed", range(amount(2, 6)))
@pytest.mark.parametrize(("before", "after"), WAYS)
@pytest_twisted.ensureDeferred
async def test_nothing_is_lost_or_counted_otherwise_and_all_goes_on(
    make_world: Any,
    make_redis: Any,
    move: Any,
    wait_until: Any,
    before: int,
    after: list[int],
    seed: int,
) -> None:
    urls = [make_redis().url for _ in range(max(before, max(after) + 1))]
    old, new = urls[:before], [urls[number] for number in after]
    world = await make_world(seed * 1000 + before * 100 + len(after), old)
    await live(world, STEPS)
    await world.unsettle()
    await world.settle(old, wait_until)
    await world.sweep_all()
    waited, counted, lines = await world.waiting(), await world.funnels(), await world.lines()
    await world.unsettle()

    outcome = await move(old, new)

    assert outcome.devices == len(world.secrets)
    await world.settle(new, wait_until)
    assert await world.lines() == lines
    found = await world.funnels()
    assert found == counted
    assert await world.waiting() == waited
    await world.check()
    await live(world, STEPS)
    await world.check()
    await world.check_empty_at_end()
