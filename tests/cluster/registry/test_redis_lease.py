"""What only the lease in Redis has: announcements, and a Redis that is ours alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest_twisted

from push.cluster.registry.entry import CONNECTOR, RegistryEntry
from push.cluster.registry.interface import Registry
from push.cluster.registry.timing import Timing
from tests.waiting import WaitUntil

MakeEntry = Callable[..., RegistryEntry]

NEVER = 3600.0


def names(registry: Registry) -> set[str]:
    return set(registry.view().get(CONNECTOR, {}))


@pytest_twisted.ensureDeferred
async def test_changes_are_announced_and_need_no_reading(
    redis_cluster: Any, entry: MakeEntry, wait_until: WaitUntil
) -> None:
    redis_cluster.timing = Timing(renew=NEVER)
    one, other = redis_cluster.registry(), redis_cluster.registry()
    await one.register(entry("n1"))
    await wait_until(lambda: names(other) == {"n1"})
    one.update(entry("n1", draining=True))
    await wait_until(lambda: other.view()[CONNECTOR]["n1"].draining)
    await one.withdraw(CONNECTOR, "n1")
    await wait_until(lambda: not names(other))


@pytest_twisted.ensureDeferred
async def test_a_lost_announcement_shows_at_the_next_one(
    redis_cluster: Any, entry: MakeEntry, wait_until: WaitUntil
) -> None:
    redis_cluster.timing = Timing(renew=NEVER)
    one, other = redis_cluster.registry(), redis_cluster.registry()
    await one.register(entry("n1"))
    await wait_until(lambda: names(other) == {"n1"})
    announced = other._announced
    server = redis_cluster.servers[1]
    await server.channels.subscribe("cluster", lambda payload: None)
    await one.register(entry("n2"))
    await server.channels.subscribe("cluster", announced)
    await one.register(entry("n3"))
    await wait_until(lambda: names(other) == {"n1", "n2", "n3"})


@pytest_twisted.ensureDeferred
async def test_a_cut_subscription_is_repaired_by_a_reading(
    redis_cluster: Any, entry: MakeEntry, wait_until: WaitUntil
) -> None:
    redis_cluster.timing = Timing(renew=NEVER)
    one, other = redis_cluster.registry(), redis_cluster.registry()
    await one.register(entry("n1"))
    await wait_until(lambda: names(other) == {"n1"})
    redis_cluster.redis.call("CLIENT", "KILL", "TYPE", "pubsub")
    await one.register(entry("n2"))
    await wait_until(lambda: names(other) == {"n1", "n2"})


@pytest_twisted.ensureDeferred
async def test_a_lapsed_entry_is_taken_out_by_whoever_reads(
    redis_cluster: Any, entry: MakeEntry, wait_until: WaitUntil
) -> None:
    one = redis_cluster.registry()
    await one.ready()
    redis_cluster.redis.call("HSET", "push:cluster:entries", f"{CONNECTOR}/n1", "1 b1 {}")
    await one.register(entry("n2"))
    assert names(one) == {"n2"}
    assert b"n1" not in redis_cluster.redis.call("HKEYS", "push:cluster:entries")


@pytest_twisted.ensureDeferred
async def test_alone_on_its_redis_a_process_takes_the_name_of_its_killed_predecessor_at_once(
    redis_cluster: Any, entry: MakeEntry, wait_until: WaitUntil
) -> None:
    redis_cluster.timing = Timing(lease=NEVER)
    member = redis_cluster.member("n1", boot="b1")
    await wait_until(member.registered)
    member.kill()
    one = redis_cluster.registry(alone=True)
    await one.register(entry("n1", boot="b2"))
    assert one.view()[CONNECTOR]["n1"].boot == "b2"


@pytest_twisted.ensureDeferred
async def test_lost_scripts_are_loaded_again(
    redis_cluster: Any, entry: MakeEntry, wait_until: WaitUntil
) -> None:
    one = redis_cluster.registry()
    await one.register(entry("n1"))
    redis_cluster.redis.call("SCRIPT", "FLUSH")
    await one.register(entry("n1", sessions=1))
    assert one.problem is None
