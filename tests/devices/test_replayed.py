"""That a session has a device is replayed to a new master, which may have it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest_twisted

from push.devices.session_opening import OpeningItem
from push.redis.client import RedisClient
from push.redis.scripts import load_script

_open = load_script("devices", "open")


class Record:
    """A device's record, as the scripts change it."""

    def __init__(self, store: RedisClient) -> None:
        self._store = store
        self._key = store.key("device:t")

    async def register(self) -> None:
        await self._store.command("HSET", self._key, "h", "x", "c:all", "5", "f:all", "5")

    async def open(self, session: str, told_epoch: int = 0, *cursors: str) -> bool:
        """Whether it did anything."""
        item = OpeningItem("t", session, [*cursors], told_epoch=told_epoch, waited_us=0)
        arguments = ["boot", "node", 60, "", msgspec.msgpack.encode(item)]
        ((first, *_),) = await self._store.run(_open, [], arguments)
        assert first == b"had" or first.isdigit()
        return bool(first != b"had")

    async def field(self, name: str) -> str:
        value: Any = await self._store.command("HGET", self._key, name)
        return "" if value is None else str(value.decode())


@pytest_twisted.ensureDeferred
async def test_a_master_that_has_not_heard_it_takes_it(store: RedisClient) -> None:
    record = Record(store)
    await record.register()
    assert await record.open("s1", 1, "all", "0")
    assert (await record.field("s"), await record.field("e")) == ("s1", "1")


@pytest_twisted.ensureDeferred
async def test_one_that_has_does_nothing(store: RedisClient) -> None:
    record = Record(store)
    await record.register()
    assert await record.open("s1")
    assert not await record.open("s1", 1)
    assert (await record.field("s"), await record.field("e")) == ("s1", "1")


@pytest_twisted.ensureDeferred
async def test_a_later_session_keeps_the_device(store: RedisClient) -> None:
    record = Record(store)
    await record.register()
    assert await record.open("s1")
    assert await record.open("s2")
    assert not await record.open("s1", 1)
    assert (await record.field("s"), await record.field("e")) == ("s2", "2")
