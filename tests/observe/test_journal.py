"""Journals in Redis: their bounds, and what is kept while Redis is away."""

from __future__ import annotations

from typing import Any

import pytest_twisted

from push.devices.registration import _forget
from push.observe import journal as journal_module
from push.observe.journal import Journal, JournalKind
from push.redis.client import RedisClient
from push.redis.shards import Shards
from tests.observe.conftest import MakeDevice
from tests.waiting import WaitUntil

DAY_MS = 86_400_000


def kind(**more: Any) -> JournalKind:
    return JournalKind(
        **{
            "name": "recent",
            "shard_by": "recent:",
            "max_each": 5,
            "max_in_all": 20,
            "keep_seconds": 86_400,
            **more,
        }
    )


def journal(shards: Shards, **more: Any) -> Journal:
    from twisted.internet import reactor

    return Journal(reactor, shards, kind(**more), 0.01)  # type: ignore[arg-type]  # of zope


def now_ms(shards: Shards) -> int:
    return shards.first.clock.now_us() // 1000


async def total(store: RedisClient, name: str = "recent") -> int:
    """How many entries there are by the number that is kept, which must be right."""
    owners = await store.command("ZRANGE", store.key(f"{name}-owners"), 0, -1)
    keys = [store.key(f"{name}:{owner.decode()}") for owner in owners]
    counted = sum([int(await store.command("ZCARD", key)) for key in keys])
    assert int(await store.command("GET", store.key(f"{name}-total")) or 0) == counted
    assert len(await store.command("KEYS", store.key(f"{name}:*"))) == len(owners)
    return counted


@pytest_twisted.ensureDeferred
async def test_of_an_owner_the_last_are_kept_the_latest_first(shards: Shards) -> None:
    written, start = journal(shards), now_ms(shards)
    for number in range(9):
        written.add("anna", start + number, b"%d" % number)
    await written.store_all()
    assert await written.latest("anna", 100) == [
        (start + number, b"%d" % number) for number in (8, 7, 6, 5, 4)
    ]
    assert await written.latest("anna", 2, until=start + 6) == [
        (start + 6, b"6"),
        (start + 5, b"5"),
    ]
    assert await written.latest("anna", 2, until=start + 6, skip=1, since=start + 5) == [
        (start + 5, b"5")
    ]
    assert await total(shards.first) == 5


async def commands(store: RedisClient) -> int:
    """How many commands the server has run, those of scripts included."""
    text = (await store.command("INFO", "commandstats")).decode()
    return sum(int(row.partition("calls=")[2].partition(",")[0]) for row in text.splitlines()[1:])


@pytest_twisted.ensureDeferred
async def test_many_entries_of_one_owner_are_trimmed_once(shards: Shards) -> None:
    written, start = journal(shards), now_ms(shards)
    written.add("anna", start, b"first")
    await written.store_all()  # the script is loaded
    before = await commands(shards.first)
    for number in range(100):
        written.add("anna", start + number, b"%d" % number)
    await written.store_all()
    assert await commands(shards.first) - before < 20
    assert await total(shards.first) == 5
    assert await written.latest("anna", 1) == [(start + 99, b"99")]


@pytest_twisted.ensureDeferred
async def test_over_the_bound_of_all_those_go_that_had_nothing_for_longest(shards: Shards) -> None:
    written, start = journal(shards), now_ms(shards)
    for number in range(200):
        written.add(f"user{number % 50}", start + number, b"%d" % number)
    await written.store_all()
    assert await total(shards.first) <= 20
    assert await written.latest("user0", 10) == []
    assert (start + 199, b"199") in await written.latest("user49", 10)


@pytest_twisted.ensureDeferred
async def test_what_is_too_old_goes_and_is_not_shown_before(shards: Shards) -> None:
    written, now = journal(shards), now_ms(shards)
    written.add("old", now - 2 * DAY_MS, b"too old")
    await written.store_all()
    assert await written.latest("old", 10) == []
    written.add("new", now, b"new")
    await written.store_all()
    assert await total(shards.first) == 1
    assert await written.latest("new", 10) == [(now, b"new")]


@pytest_twisted.ensureDeferred
async def test_only_devices_have_a_timeline_and_one_that_is_forgotten_has_none(
    shards: Shards, make_device: MakeDevice
) -> None:
    written = journal(shards, name="device-events", shard_by="dev:", of_devices=True)
    start = now_ms(shards)
    await make_device("here")
    await make_device("stays")
    for token in ("here", "stays", "never"):
        written.add(token, start, b"event")
    await written.store_all()
    assert await total(shards.first, "device-events") == 2
    await shards.first.run(_forget, [], ["here"])
    assert await written.latest("here", 10) == []
    assert await total(shards.first, "device-events") == 1


@pytest_twisted.ensureDeferred
async def test_the_number_of_all_is_counted_again_when_it_is_not_known(shards: Shards) -> None:
    written, start = journal(shards), now_ms(shards)
    for number in range(4):
        written.add(f"user{number}", start + number, b"entry")
    await written.store_all()
    await shards.first.command("DEL", shards.first.key("recent-total"))
    written.add("user9", start + 9, b"entry")
    await written.store_all()
    assert await total(shards.first) == 5


@pytest_twisted.ensureDeferred
async def test_entries_wait_for_redis_in_order_and_in_bounds(
    make_redis: Any, connect: Any, wait_until: WaitUntil, monkeypatch: Any
) -> None:
    monkeypatch.setattr(journal_module, "MAX_WAITING", 30)
    monkeypatch.setattr(journal_module, "RETRY_SECONDS", 0.05)
    redis = make_redis()
    store = await connect(redis.url)
    shards = Shards([store])
    written, start = journal(shards, max_each=100, max_in_all=100), now_ms(shards)
    redis.stop()
    await wait_until(lambda: store.problem is not None)
    for number in range(50):
        written.add("anna", start + number, b"%d" % number)
    assert written.given_up == 20
    assert [each.entry for each in written.waiting_of("anna")][:1] == [b"20"]
    redis.start()

    async def count() -> int:
        return len(await written.latest("anna", 100)) if store.problem is None else 0

    await wait_until(lambda: store.problem is None and not list(written.waiting_of("anna")))
    assert await count() == 30
    assert not list(written.waiting_of("anna"))
    await written.store_all()


@pytest_twisted.ensureDeferred
async def test_all_keys_end_by_themselves_and_a_sweep_drops_what_is_too_old(shards: Shards) -> None:
    store = shards.first
    written, start = journal(shards), now_ms(shards)
    written.add("anna", start, b"entry")
    await written.store_all()
    for name, most_seconds in (
        ("recent:anna", 2 * 86_400),
        ("recent-owners", 2 * 86_400),
        ("recent-total", 7200),
    ):
        assert 0 < await store.command("TTL", store.key(name)) <= most_seconds
    later_us = store.clock.now_us() + 2 * DAY_MS * 1000
    await store.command("SET", store.key("clock"), later_us)
    await written._sweep()
    assert await store.command("KEYS", store.key("recent*")) == []
