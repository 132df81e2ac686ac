"""Killed at any point, the same command completes it; or it is given up, and nothing was done."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_twisted

from tests import warm
from tests.resharding.progress import without_progress
from tests.resharding.test_model import live
from tests.resharding.world import Worlds
from tests.waiting import DEADLINE_SECONDS

KILLED = Path(__file__).parent / "killed.py"
NEVER = "NEVER:1"

# In this order, on one deployment: each goes on where the one before was killed. (command or
# script, its how manyeth answer): see run.py for what is when.
WHILE_PREPARING = [
    "mark:1",
    "mark:2",
    "ZADD:1",
    "HSET:40",
    "SADD:2",
    "XADD:2",
    "PEXPIRE:3",
    "raise_clock:1",
]


def reshard(
    old: Sequence[str], new: Sequence[str], place: str = NEVER, pid: int = 0, *more: str
) -> subprocess.CompletedProcess[str]:
    to = [part for url in new for part in ("--to", url)]
    listed = msgspec.json.encode(list(old)).decode()
    ran = warm.run(
        [sys.executable, str(KILLED), place, str(pid), "--", *to, "--json", *more],
        env={**os.environ, "PUSH_REDIS_URL": listed},
        timeout=DEADLINE_SECONDS,
    )
    return without_progress(ran)


async def what_it_has(world: Worlds) -> tuple[Any, ...]:
    return await world.waiting(), await world.funnels(), await world.lines()


async def lived(make_world: Any, wait_until: Any, urls: list[str]) -> tuple[Worlds, Any]:
    """A deployment that has done a lot, stopped, and what it has."""
    world = await make_world(7, urls)
    await live(world, 250)
    await world.unsettle()
    await world.settle(urls, wait_until)
    await world.sweep_all()
    has = await what_it_has(world)
    await world.unsettle()
    return world, has


@pytest.mark.parametrize(("before", "after"), [(1, [0, 1, 2]), (3, [1, 3])])
@pytest_twisted.ensureDeferred
async def test_killed_again_and_again_it_is_done_in_the_end(
    make_world: Any, make_redis: Any, wait_until: Any, before: int, after: list[int]
) -> None:
    urls = [make_redis().url for _ in range(4)]
    old, new = urls[:before], [urls[number] for number in after]
    world, has = await lived(make_world, wait_until, old)
    servers = len({*old, *new})

    for place in WHILE_PREPARING:
        assert reshard(old, new, place).returncode == -signal.SIGKILL, place
    # The first mark that all is prepared, with those before.
    assert reshard(old, new, f"mark:{servers + 1}").returncode == -signal.SIGKILL
    too_late = reshard(old, new, NEVER, 0, "--abandon")
    assert (too_late.returncode, "too late" in too_late.stderr) == (1, True)
    other = reshard(old, new[:1], NEVER)
    assert (other.returncode, "was broken off" in other.stderr) == (1, True)
    places = ["mark:1", *["rename:1"] * len(new), f"mark:{servers + 1}"]
    if set(old) & set(new):
        places.insert(1, "SREM:1")
    if set(old) - set(new):
        places.append("UNLINK:2")
    for place in places:
        assert reshard(old, new, place).returncode == -signal.SIGKILL, place
    ended = reshard(old, new)
    assert (ended.returncode, ended.stderr) == (0, "")

    again = reshard(old, new)
    assert msgspec.json.decode(again.stdout)["done_before"] is True
    await world.settle(new, wait_until)
    assert await what_it_has(world) == has
    for server in world.servers:
        assert await server.command("KEYS", server.key("arriving:*")) == []
        assert await server.command("EXISTS", server.key("leaving")) == 0
    await live(world, 100)
    await world.check()
    await world.check_empty_at_end()


@pytest.mark.parametrize("how", ["SIGINT", "SIGTERM"])
@pytest_twisted.ensureDeferred
async def test_broken_off_by_a_signal_it_says_what_to_do(
    make_world: Any, make_redis: Any, wait_until: Any, how: str
) -> None:
    urls = [make_redis().url for _ in range(2)]
    world, has = await lived(make_world, wait_until, urls[:1])

    ran = reshard(urls[:1], urls, f"HSET:10:{how}")

    assert (ran.returncode, ran.stdout) == (130, "")
    error = {"code": "interrupted", "detail": "broken off: run the same again"}
    assert json.loads(ran.stderr) == {"error": error}
    assert reshard(urls[:1], urls).returncode == 0
    await world.settle(urls, wait_until)
    assert await what_it_has(world) == has


@pytest_twisted.ensureDeferred
async def test_given_up_it_is_as_it_was(make_world: Any, make_redis: Any, wait_until: Any) -> None:
    redises = [make_redis() for _ in range(3)]
    urls = [redis.url for redis in redises]
    world, has = await lived(make_world, wait_until, urls[:2])
    assert reshard(urls[:2], urls, "HSET:40").returncode == -signal.SIGKILL

    refused = await _problem(world, urls[:2], wait_until)
    assert "its data is being moved" in refused
    given_up = reshard(urls[:2], urls, NEVER, 0, "--abandon")
    assert (given_up.returncode, given_up.stdout) == (0, '{"abandoned":true}\n')

    await world.settle(urls[:2], wait_until)
    assert await what_it_has(world) == has
    assert redises[2].call("DBSIZE") == b":0\r\n"
    await world.unsettle()
    assert reshard(urls[:2], urls).returncode == 0


@pytest_twisted.ensureDeferred
async def test_given_up_because_the_new_server_is_gone(
    make_world: Any, make_redis: Any, wait_until: Any
) -> None:
    redises = [make_redis() for _ in range(2)]
    urls = [redis.url for redis in redises]
    world, has = await lived(make_world, wait_until, urls[:1])
    ran = reshard(urls[:1], urls, "HSET:10", redises[1].pid)
    assert ran.returncode == 1
    assert "run the same again" in ran.stderr
    assert ran.stderr.count("\n") == 1

    assert reshard(urls[:1], urls, NEVER, 0, "--abandon").returncode == 0

    await world.settle(urls[:1], wait_until)
    assert await what_it_has(world) == has


@pytest.mark.parametrize("place", ["HGETALL:20", "XADD:1", "SADD:10", "mark:4"])
@pytest_twisted.ensureDeferred
async def test_a_server_dies_and_comes_back(
    make_world: Any, make_redis: Any, wait_until: Any, place: str
) -> None:
    redises = [make_redis(fsync="always") for _ in range(2)]
    urls = [redis.url for redis in redises]
    world, has = await lived(make_world, wait_until, urls[:1])
    assert reshard(urls[:1], urls, place, redises[0].pid).returncode == 1
    redises[0].start()

    assert reshard(urls[:1], urls).returncode == 0

    await world.settle(urls, wait_until)
    assert await what_it_has(world) == has


async def _problem(world: Worlds, urls: list[str], wait_until: Any) -> str:
    """What a daemon says that is started on these servers."""
    from twisted.internet import reactor

    from push.redis.client import RedisClient
    from push.redis.connection.url import parse_store_url
    from push.redis.identity import Deployment

    server = RedisClient(
        reactor, parse_store_url(urls[0]), deployment=Deployment(len(urls)), number=0
    )
    server.start()
    try:
        return str(
            await wait_until(lambda: "cannot be used" in (server.problem or "") and server.problem)
        )
    finally:
        await server.stop()
