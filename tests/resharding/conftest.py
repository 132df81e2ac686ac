"""A world on several servers, and what moves it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.task import deferLater

from push.redis.connection.url import parse_store_url
from push.resharding import connecting
from push.resharding.run import Resharding, ReshardOutcome
from tests.resharding.world import Worlds
from tests.waiting import WaitUntil

Move = Callable[..., Awaitable[ReshardOutcome]]


@pytest_twisted.async_yield_fixture
async def make_world(make_redis: Any, wait_until: WaitUntil) -> AsyncIterator[Any]:
    """`await make_world(seed, urls)`: settled on these servers, which outlive it."""
    from twisted.internet import reactor

    worlds: list[Worlds] = []

    async def make(seed: int, urls: Sequence[str]) -> Worlds:
        world = Worlds(reactor, seed)
        worlds.append(world)
        await world.settle(urls, wait_until)
        return world

    yield make
    await deferLater(reactor, 0)  # out of the stack of a stop in the test
    for world in worlds:
        await world.unsettle()


@pytest.fixture
def move() -> Move:
    """`await move(old_urls, new_urls, dry=True)`, as `pushctl reshard` does."""

    async def run(old: Sequence[str], new: Sequence[str], **options: Any) -> ReshardOutcome:
        from twisted.internet import reactor

        addresses = [parse_store_url(url) for url in old], [parse_store_url(url) for url in new]
        abandon = options.pop("abandon", False)
        layout = await connecting.connect(reactor, *addresses, may_be_away=abandon)
        names = [[str(one) for one in part] for part in addresses]
        try:
            resharding = Resharding(reactor, layout, *names, lambda text: None)
            if abandon:
                await resharding.abandon()
                return ReshardOutcome([], [])
            return await resharding.run(**options)
        finally:
            await connecting.disconnect(layout.servers)

    return run
