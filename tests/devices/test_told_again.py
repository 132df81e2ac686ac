"""That a session has a device is told again to a new master, which may have heard it before."""

from __future__ import annotations

from typing import Any

import pytest_twisted

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

    async def open(self, session: str, told_epoch: str = "", *cursors: str) -> bool:
        """Whether it did anything."""
        arguments = ["t", session, "boot", "node", 60, "", "", "", "-", told_epoch, *cursors]
        return bool(await self._store.run(_open, [], arguments))

    async def field(self, name: str) -> str:
        value: Any = await self._store.command("HGET", self._key, name)
        return "" if value is None else str(value.decode())


@pytest_twisted.ensureDeferred
async def test_a_master_that_has_not_heard_it_takes_it(store: RedisClient) -> None:
    record = Record(store)
    await record.register()
    assert await record.open("s1", "1", "all", "0")
    assert (await record.field("s"), await record.field("e")) == ("s1", "1")


@pytest_twisted.ensureDeferred
async def test_one_that_has_does_nothing(store: RedisClient) -> None:
    record = Record(store)
    await record.register()
    assert await record.open("s1")
    assert not await record.open("s1", "1")
    assert (await record.field("s"), await record.field("e")) == ("s1", "1")


@pytest_twisted.ensureDeferred
async def test_a_later_session_keeps_the_device(store: RedisClient) -> None:
    record = Record(store)
    await record.register()
    assert await record.open("s1")
    assert await record.open("s2")
    assert not await record.open("s1", "1")
    assert (await record.field("s"), await record.field("e")) == ("s2", "2")
