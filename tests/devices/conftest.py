"""Devices in a real Redis."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.task import deferLater

from push.devices.directory import Devices
from push.store.address import parse_redis_url
from push.store.server import RedisServer
from push.wire.idents import Snowflake

Connect = Callable[..., Awaitable[RedisServer]]


@pytest_twisted.async_yield_fixture
async def connect(wait_until: Callable[..., Awaitable[Any]]) -> AsyncIterator[Connect]:
    """`await connect(url, timeout_seconds=1)`: started, and usable unless `ready=False`."""
    from twisted.internet import reactor

    servers: list[RedisServer] = []

    async def make(url: str, *, ready: bool = True, **options: Any) -> RedisServer:
        server = RedisServer(reactor, parse_redis_url(url), **options)
        servers.append(server)
        server.start()
        if ready:
            await wait_until(lambda: server.problem is None)
        return server

    yield make
    await deferLater(reactor, 0)  # out of the stack of a stop in the test
    for server in servers:
        await server.stop()


@pytest.fixture
def usable(wait_until: Callable[..., Awaitable[Any]]) -> Callable[[RedisServer], Awaitable[Any]]:
    """`await usable(server)`: both connections are up."""
    return lambda server: wait_until(lambda: server.problem is None, timeout_seconds=8)


LIVE_BOOT = "boot"


@pytest_twisted.async_yield_fixture
async def store(connect: Connect, redis_url: str) -> AsyncIterator[RedisServer]:
    yield await connect(redis_url)


@pytest.fixture
def closed() -> list[tuple[str, str, str]]:
    """The sessions that the directory closed: (boot id, session, code)."""
    return []


@pytest.fixture
def make_devices(store: RedisServer, closed: list[tuple[str, str, str]]) -> Callable[..., Devices]:
    """`make_devices(registrations_per_minute=10)`: a directory; without limits by default."""

    async def close(boot: str, session: str, code: str) -> None:
        closed.append((boot, session, code))

    def make(**limits: int) -> Devices:
        return Devices(
            store,
            Snowflake(lambda: int(time.time() * 1000), 1),
            lambda boot: boot == LIVE_BOOT,
            close,
            **{"registrations_per_minute": 0, "failed_secrets_per_minute": 0, **limits},
        )

    return make


@pytest.fixture
def devices(make_devices: Callable[..., Devices]) -> Devices:
    return make_devices()
