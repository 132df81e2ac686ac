"""What is observed, on a real Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_twisted

from push.redis.client import RedisClient
from push.redis.keyspace import record_name
from push.redis.shards import Shards

Connect = Callable[..., Awaitable[RedisClient]]
MakeDevice = Callable[[str], Awaitable[str]]


@pytest_twisted.async_yield_fixture
async def store(connect: Connect, redis_url: str) -> AsyncIterator[RedisClient]:
    yield await connect(redis_url)


@pytest.fixture
def shards(store: RedisClient) -> Shards:
    return Shards([store])


@pytest.fixture
def make_device(store: RedisClient) -> MakeDevice:
    """`await make_device("a")`: something that is a device for those who only look for its key."""

    async def make(token: str) -> str:
        await store.command("HSET", store.key(record_name(token)), "p", "linux")
        return token

    return make
