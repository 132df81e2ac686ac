"""Devices in a real Redis."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_twisted

from push.devices.outbox import Outbox
from push.devices.registration import Devices
from push.redis.client import RedisClient
from push.redis.shards import Shards
from push.wire.idents import Snowflake

Connect = Callable[..., Awaitable[RedisClient]]


LIVE_BOOT = "boot"


@pytest_twisted.async_yield_fixture
async def store(connect: Connect, redis_url: str) -> AsyncIterator[RedisClient]:
    yield await connect(redis_url)


@pytest.fixture
def closed() -> list[tuple[str, str, str]]:
    """The sessions that the directory closed: (boot id, session, code)."""
    return []


@pytest.fixture
def make_devices(store: RedisClient, closed: list[tuple[str, str, str]]) -> Callable[..., Devices]:
    """`make_devices(registrations_per_minute=10)`: a directory; without limits by default."""

    async def close(boot: str, session: str, code: str) -> None:
        closed.append((boot, session, code))

    def make(**limits: int) -> Devices:
        shards = Shards([store])
        return Devices(
            shards,
            Outbox(shards),
            Snowflake(lambda: int(time.time() * 1000), 1),
            lambda boot: boot == LIVE_BOOT,
            close,
            **{"registrations_per_minute": 0, "failed_secrets_per_minute": 0, **limits},
        )

    return make


@pytest.fixture
def devices(make_devices: Callable[..., Devices]) -> Devices:
    return make_devices()
