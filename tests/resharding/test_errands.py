"""What one server has still to do on another is done before anything moves."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted

from push.redis.connection.errors import StoreUnavailable


@pytest.mark.parametrize("after", [[0], [1, 0], [0, 1, 2], [2]])
@pytest_twisted.ensureDeferred
async def test_a_device_that_was_bound_while_the_users_server_was_away(
    make_world: Any, make_redis: Any, move: Any, wait_until: Any, after: list[int]
) -> None:
    redises = [make_redis() for _ in range(3)]
    urls = [redis.url for redis in redises]
    new = [urls[number] for number in after]
    world = await make_world(1, urls[:2])
    user = next(f"u{n}" for n in range(100) if world.shards.number_of(f"user:u{n}") == 1)
    while True:
        pair = await world.devices.register(platform="p", app="a", ip="::1")
        world.secrets[pair.token] = pair.secret
        if world.shards.number_of(f"dev:{pair.token}") == 0:
            break
    redises[1].kill()
    await wait_until(lambda: world.servers[1].problem is not None)
    with pytest.raises(StoreUnavailable):
        await world.devices.bind(user, pair.token)
    redises[1].start()
    await wait_until(lambda: not world.shards.problems)
    first = world.servers[0]
    assert int(await first.command("ZCARD", first.key("errands"))) > 0
    await world.unsettle()

    await move(urls[:2], new)

    await world.settle(new, wait_until)
    receipt = await world.say("user", user)
    assert await world.take_all(pair.token) == {f"user:{user}": [receipt.id]}
    funnel = await world.pushing.message(receipt.id)
    assert (funnel.addressed, funnel.acknowledged) == (1, 1)
