"""Cursors in Redis: forward only, in batches, and only for the session that has the device."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest_twisted
from twisted.internet.defer import Deferred

from push.redis.client import RedisClient
from push.session.subscription import Subscription
from push.streams.cursors import writer as cursors
from push.streams.cursors.writer import CursorWriter
from tests.waiting import WaitUntil, pause

Connect = Callable[..., Awaitable[RedisClient]]


class Device:
    """A holder of cursors whose record is in Redis."""

    def __init__(self, token: str, session_id: str = "s1") -> None:
        self.token: str | None = token
        self.session_id = session_id

    async def register(self, store: RedisClient, **cursor: int) -> None:
        fields: list[str | int] = ["h", "x", "s", self.session_id]
        for name, offset in cursor.items():
            fields += [f"c:{name}", offset]
        await store.command("HSET", self.key(store), *fields)

    def key(self, store: RedisClient) -> str:
        return store.key(f"device:{self.token}")

    async def stored(self, store: RedisClient, stream: str = "all") -> int | None:
        value = await store.command("HGET", self.key(store), f"c:{stream}")
        return None if value is None else int(value)


def follow_at(stream: str, cursor: int) -> Subscription:
    return Subscription(stream, cursor)


def writer_for(
    store: RedisClient, on_lost: Callable[[Any], None] = lambda holder: None
) -> CursorWriter:
    from twisted.internet import reactor

    return CursorWriter(reactor, store, on_lost)


@pytest_twisted.ensureDeferred
async def test_rule_4_cursors_move_forward_only_and_are_compared_as_numbers(
    store: RedisClient,
) -> None:
    device = Device("t")
    await device.register(store, all=1000)
    writer = writer_for(store)
    for cursor, expected in [(999, 1000), (20000, 20000), (9, 20000), (20001, 20001)]:
        writer.moved(device, follow_at("all", cursor))
        await writer.flush()
        assert await device.stored(store) == expected
    await writer.stop()


@pytest_twisted.ensureDeferred
async def test_rule_4_a_cursor_never_revives_a_forgotten_device(store: RedisClient) -> None:
    device = Device("t")
    lost: list[Any] = []
    writer = writer_for(store, lost.append)

    writer.moved(device, follow_at("all", 5))
    await writer.stop()

    assert not await store.command("EXISTS", device.key(store))
    assert lost == [device]


@pytest_twisted.ensureDeferred
async def test_rule_4_a_cursor_never_revives_a_stream_that_is_followed_no_longer(
    store: RedisClient,
) -> None:
    device = Device("t")
    await device.register(store, all=1)
    writer = writer_for(store)

    writer.moved(device, follow_at("user:u", 5))
    await writer.stop()

    assert await device.stored(store, "user:u") is None


@pytest_twisted.ensureDeferred
async def test_rule_4_a_session_that_is_no_longer_the_devices_is_told_and_moves_nothing(
    store: RedisClient,
) -> None:
    old, new, other = Device("t", "old"), Device("t", "new"), Device("u")
    await new.register(store, all=1)
    await other.register(store, all=1)
    lost: list[Any] = []
    writer = writer_for(store, lost.append)

    writer.moved(other, follow_at("all", 7))
    writer.moved(old, follow_at("all", 5))
    await writer.stop()

    assert lost == [old]
    assert await new.stored(store) == 1
    assert await other.stored(store) == 7


@pytest_twisted.ensureDeferred
async def test_rule_15_a_device_log_is_trimmed_behind_the_cursor_and_deleted_when_empty(
    store: RedisClient, sender: Any
) -> None:
    device = Device("t")
    await device.register(store, **{"dev:t": 0})
    offsets = [(await sender.send("dev:t", n=n)).offset for n in range(3)]
    writer = writer_for(store)
    log = store.key("log:dev:t")

    writer.moved(device, follow_at("dev:t", offsets[1]))
    await writer.flush()
    assert await store.command("XLEN", log) == 1

    writer.moved(device, follow_at("dev:t", offsets[2]))
    await writer.stop()
    assert await store.command("EXISTS", log) == 0


@pytest_twisted.ensureDeferred
async def test_a_shared_log_is_not_trimmed_by_anyones_cursor(
    store: RedisClient, sender: Any
) -> None:
    device = Device("t")
    await device.register(store, all=0)
    last = (await sender.send("all", n=1)).offset
    writer = writer_for(store)

    writer.moved(device, follow_at("all", last))
    await writer.stop()

    assert await store.command("XLEN", store.key("log:all")) == 1


@pytest_twisted.ensureDeferred
async def test_cursors_are_stored_soon_without_being_asked_for(
    store: RedisClient, wait_until: WaitUntil
) -> None:
    device = Device("t")
    await device.register(store, all=1)
    writer = writer_for(store)

    writer.moved(device, follow_at("all", 5))

    async def stored() -> bool:
        return await device.stored(store) == 5

    await wait_until(stored)
    await writer.stop()


@pytest_twisted.ensureDeferred
async def test_a_flush_stores_all_that_moved_before_it_while_more_keeps_coming(
    store: RedisClient,
) -> None:
    """Also with several batches, and with acknowledgements that never stop."""
    from twisted.internet import reactor

    devices = [Device(f"t{n}") for n in range(1300)]
    for device in devices:
        await device.register(store, all=1)
    busy = Device("busy")
    await busy.register(store, all=1)
    writer = writer_for(store)
    busy_follows = [follow_at("all", 2) for _ in range(20)]
    going = True

    def more(cursor: int) -> None:
        if going:
            for subscription in busy_follows:
                subscription.cursor = cursor
                writer.moved(busy, subscription)
            reactor.callLater(0, more, cursor + 1)

    for device in devices:
        writer.moved(device, follow_at("all", 5))
    more(2)

    await writer.flush()

    assert [await device.stored(store) for device in devices] == [5] * 1300
    going = False
    await writer.stop()


@pytest_twisted.ensureDeferred
async def test_cursors_wait_for_redis_and_are_stored_when_it_is_back(
    connect: Connect, make_redis: Callable[..., Any], wait_until: WaitUntil, monkeypatch: Any
) -> None:
    monkeypatch.setattr(cursors, "RETRY_SECONDS", 0.1)
    redis = make_redis()
    store = await connect(redis.url)
    device = Device("t")
    await device.register(store, all=1)
    writer = writer_for(store)
    redis.stop()
    await wait_until(lambda: store.problem is not None)
    subscription = follow_at("all", 5)
    writer.moved(device, subscription)
    await pause(0.3)
    subscription.cursor = 6
    writer.moved(device, subscription)
    redis.start()
    await wait_until(lambda: store.problem is None)

    async def stored() -> bool:
        return await device.stored(store) == 6

    await wait_until(stored)
    await writer.stop()


@pytest_twisted.ensureDeferred
async def test_stop_does_not_wait_for_a_redis_that_is_away(connect: Connect) -> None:
    from twisted.internet import reactor

    store = await connect("unix:///nowhere/redis.sock", ready=False)
    writer = writer_for(store)
    writer.moved(Device("t"), follow_at("all", 5))
    stopped = Deferred.fromCoroutine(writer.stop())

    stopped.addTimeout(0.5, reactor)
    await stopped


@pytest_twisted.ensureDeferred
async def test_a_user_without_a_device_has_no_cursor_in_redis(store: RedisClient) -> None:
    user = Device("t")
    user.token = None
    writer = writer_for(store)

    writer.moved(user, follow_at("all", 5))
    await writer.stop()

    assert await store.command("DBSIZE") == 0
