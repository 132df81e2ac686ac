"""Connections of ours to the real Redis of the tests, stopped when the test is over."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.task import deferLater

from push.store.address import parse_redis_url
from push.store.server import RedisServer

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
