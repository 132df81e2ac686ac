"""Lists in which a server is a master behind sentinels."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import pytest_twisted

from tests.redis.sentinels import Cluster
from tests.resharding.test_broken_off import lived, reshard, what_it_has


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    cluster = Cluster()
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.remove()


@pytest_twisted.ensureDeferred
async def test_to_a_master_behind_sentinels_while_it_is_changed_and_back(
    cluster: Cluster, make_world: Any, make_redis: Any, wait_until: Any
) -> None:
    redis = make_redis()
    lists = [[redis.url], [redis.url, cluster.url]]
    world, has = await lived(make_world, wait_until, lists[0])
    old = cluster.master()

    failed = reshard(*lists, "HSET:20", old.pid)
    assert (failed.returncode, failed.stderr.count("\n")) == (1, 1)
    await wait_until(lambda: cluster.has_switched_from(old))
    cluster.heal()
    _ended(reshard(*lists))

    await world.settle(lists[1], wait_until)
    assert await what_it_has(world) == has
    await world.unsettle()
    for replica in cluster.replicas():
        await wait_until(lambda replica=replica: int(replica.ask("EXISTS", "push:shard")))
    _ended(reshard(lists[1], lists[0]))
    await world.settle(lists[0], wait_until)
    assert await what_it_has(world) == has
    await world.unsettle()


def _ended(ran: subprocess.CompletedProcess[str]) -> None:
    assert (ran.returncode, ran.stderr) == (0, "")
