"""Devices in a real Redis, as the `Domain` of a connector has them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_twisted

from push.cluster.commands import EndSessionCommand
from push.daemons.domain import Domain, DomainLimits
from push.devices.registration import Devices
from push.redis.client import RedisClient
from push.redis.shards import Shards
from tests.domains import make_domain

Connect = Callable[..., Awaitable[RedisClient]]


LIVE_BOOT = "boot"


@pytest_twisted.async_yield_fixture
async def store(connect: Connect, redis_url: str) -> AsyncIterator[RedisClient]:
    yield await connect(redis_url)


@pytest.fixture
def devices_domain(store: RedisClient) -> Callable[..., Domain]:
    """`devices_domain(registrations_per_minute=10)`: of the connector `LIVE_BOOT`, which runs;
    without limits by default."""
    from twisted.internet import reactor

    return lambda **limits: make_domain(reactor, DomainLimits(**limits), Shards([store]), LIVE_BOOT)


@pytest.fixture
def make_devices(devices_domain: Callable[..., Domain]) -> Callable[..., Devices]:
    return lambda **limits: devices_domain(**limits).devices


@pytest.fixture
def domain(devices_domain: Callable[..., Domain]) -> Domain:
    return devices_domain()


@pytest.fixture
def devices(domain: Domain) -> Devices:
    return domain.devices


@pytest_twisted.async_yield_fixture
async def closed(domain: Domain) -> AsyncIterator[list[tuple[str, str]]]:
    """The sessions that the connector `LIVE_BOOT` is told to end: (session, code)."""
    ended: list[tuple[str, str]] = []

    def execute(order: Any) -> None:
        assert isinstance(order, EndSessionCommand)
        ended.append((order.session, order.code))

    await domain.control.listen(LIVE_BOOT, execute)
    yield ended
