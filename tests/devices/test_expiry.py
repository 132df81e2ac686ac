"""Devices that were not there for too long are forgotten, and nothing is left of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.task import Clock

from push.access.jwt import JwtVerifier
from push.daemons.domain import Domain
from push.devices.expiry import DEVICES_PER_LOOK, LOOK_AGAIN_SECONDS, LOOK_SECONDS, DeviceExpiry
from push.devices.registration import NEVER_CONNECTED_SECONDS
from push.devices.session_ending import EndedSession
from push.devices.sessions import Sessions
from push.redis.client import RedisClient
from push.redis.shards import Shards
from push.streams.publisher import Publisher, StreamMessage
from push.wire.bodies import ConnectRequest
from tests.publishing import publish
from tests.waiting import WaitUntil

LIVE_BOOT = "boot"  # as in conftest.py
RETENTION_SECONDS = 30 * 86_400


@pytest.fixture
def make_retirement(store: RedisClient, domain: Domain) -> Callable[..., DeviceExpiry]:
    def make(clock: Clock | None = None) -> DeviceExpiry:
        return DeviceExpiry(
            clock or Clock(), store, domain.devices, domain.is_live_boot, RETENTION_SECONDS
        )

    return make


@pytest.fixture
def look(make_retirement: Callable[..., DeviceExpiry]) -> Any:
    return make_retirement().look


class Life:
    """Devices that register, connect and leave, and time that passes."""

    def __init__(self, domain: Domain) -> None:
        self.domain = domain
        self.store = domain.shards.first
        self.devices = domain.devices
        self.verifier = JwtVerifier([], algorithms=["HS256"], audience="push", issuer=None)

    def sessions(self, boot: str) -> Sessions:
        return Sessions(
            self.domain.shards,
            self.devices,
            self.domain.outbox,
            self.verifier,
            boot=boot,
            node="node",
            retention_seconds=RETENTION_SECONDS,
            redeliver_after_seconds=0,
        )

    async def register(self) -> ConnectRequest:
        pair = await self.devices.register(platform="p", app="a", ip="1.2.3.4")
        return ConnectRequest(token=pair.token, secret=pair.secret)

    async def connected(self, boot: str = LIVE_BOOT) -> str:
        """A device that connects and stays."""
        asked = await self.register()
        opened = await self.sessions(boot).opening.open(asked, "session", "1.2.3.4")
        assert opened.token is not None
        return opened.token

    async def left(self) -> str:
        """A device that connected and left."""
        token = await self.connected()
        await self.sessions(LIVE_BOOT).ending.close([EndedSession(token, "session")])
        return token

    async def pass_time(self, seconds: float) -> None:
        clock = self.store.clock.now_us() + int(seconds * 1_000_000)
        await self.store.command("SET", self.store.key("clock"), clock)
        self.store.clock.observe(clock)

    async def keys(self) -> list[str]:
        found = await self.store.command("KEYS", "*")
        return sorted(key.decode().removeprefix("push:") for key in found)


@pytest.fixture
def life(domain: Domain) -> Life:
    return Life(domain)


@pytest_twisted.ensureDeferred
async def test_a_device_that_never_connects_is_forgotten_after_a_day(life: Any, look: Any) -> None:
    asked = await life.register()
    await life.pass_time(NEVER_CONNECTED_SECONDS - 1)
    assert await look() == 0
    assert await life.devices.exists(asked.token)
    await life.pass_time(2)

    assert await look() == 1
    assert await life.keys() == ["clock"]
    assert await look() == 0


@pytest_twisted.ensureDeferred
async def test_a_device_that_left_is_forgotten_when_it_was_away_for_the_retention(
    life: Any, look: Any
) -> None:
    token = await life.left()
    await life.pass_time(RETENTION_SECONDS - 1)
    assert await look() == 0
    assert await life.devices.exists(token)
    await life.pass_time(2)

    assert await look() == 1
    assert await life.keys() == ["clock"]


@pytest_twisted.ensureDeferred
async def test_a_device_that_comes_back_is_kept_anew(life: Any, look: Any) -> None:
    asked = await life.register()
    for _ in range(3):
        await life.sessions(LIVE_BOOT).opening.open(asked, "session", "1.2.3.4")
        await life.sessions(LIVE_BOOT).ending.close([EndedSession(asked.token, "session")])
        await life.pass_time(RETENTION_SECONDS - 1)
        assert await look() == 0

    assert await life.devices.exists(asked.token)


@pytest_twisted.ensureDeferred
async def test_a_device_that_is_online_is_not_forgotten_however_long_it_stays(
    life: Any, look: Any
) -> None:
    token = await life.connected()
    await life.pass_time(RETENTION_SECONDS + 1)
    assert await look() == 0
    await life.pass_time(LOOK_AGAIN_SECONDS + 1)
    assert await look() == 0
    await life.sessions(LIVE_BOOT).ending.close([EndedSession(token, "session")])
    await life.pass_time(LOOK_AGAIN_SECONDS + 1)
    assert await look() == 0

    assert await life.devices.exists(token)
    await life.pass_time(RETENTION_SECONDS)
    assert await look() == 1


@pytest_twisted.ensureDeferred
async def test_a_device_whose_connector_died_is_forgotten_when_it_stays_away_from_then_on(
    life: Any, look: Any
) -> None:
    await life.connected(boot="dead")
    await life.pass_time(RETENTION_SECONDS + 1)

    assert await look() == 0  # it was there until now, for all that is known
    await life.pass_time(RETENTION_SECONDS + 1)
    assert await look() == 1
    assert await life.keys() == ["clock"]


@pytest_twisted.ensureDeferred
async def test_a_device_that_connects_while_it_is_looked_at_is_kept(
    life: Any, look: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = await life.register()
    await life.pass_time(NEVER_CONNECTED_SECONDS + 1)
    retire = life.devices.retire

    async def connect_first(token: str) -> bool:
        await life.sessions(LIVE_BOOT).opening.open(asked, "session", "1.2.3.4")
        return await retire(token)

    monkeypatch.setattr(life.devices, "retire", connect_first)

    assert await look() == 0
    assert await life.devices.exists(asked.token)
    await life.pass_time(LOOK_AGAIN_SECONDS + 1)
    assert await look() == 0


@pytest_twisted.ensureDeferred
async def test_more_devices_than_one_look_takes_are_forgotten_in_one_go(
    life: Any, look: Any
) -> None:
    for _ in range(2 * DEVICES_PER_LOOK + 7):
        await life.register()
    await life.pass_time(NEVER_CONNECTED_SECONDS + 1)

    assert await look() == 2 * DEVICES_PER_LOOK + 7
    assert await life.keys() == ["clock"]


@pytest_twisted.ensureDeferred
async def test_nothing_is_left_of_a_device_for_which_messages_waited(life: Any, look: Any) -> None:
    token = await life.left()
    await life.devices.bind("anna", token)
    publisher = Publisher(Shards([life.store]))
    for stream in (f"dev:{token}", "user:anna", "all"):
        await publish(
            publisher,
            StreamMessage(
                id=f"to-{stream}",
                content='{"id":"m"}',
                ttl_seconds=300 * 86_400,
                streams=[stream],
                stored=True,
                to='{"all":true}',
                collapse="k",
            ),
        )
    await life.store.command("SET", life.store.key(f"lost:dev:{token}"), 1)
    await life.pass_time(RETENTION_SECONDS + 1)

    assert await look() == 1
    kept = [key for key in await life.keys() if not key.startswith("message:")]
    assert kept == [
        "clock",
        "collapse:all",
        "collapse:user:anna",
        "expiry",
        "log:all",
        "log:user:anna",
    ]
    swept = await life.store.command("ZRANGE", life.store.key("expiry"), 0, -1)
    assert sorted(swept) == [b"all", b"user:anna"]


@pytest_twisted.ensureDeferred
async def test_a_member_without_a_device_is_taken_away(life: Any, look: Any) -> None:
    await life.store.command("ZADD", life.store.key("devices"), 1, "nobody")
    await life.store.last_offset()

    assert await look() == 0
    assert await life.store.command("ZCARD", life.store.key("devices")) == 0


@pytest_twisted.ensureDeferred
async def test_a_look_comes_by_itself_and_a_stop_in_its_middle_is_no_error(
    life: Any, make_retirement: Any, wait_until: WaitUntil
) -> None:
    clock = Clock()
    retirement = make_retirement(clock)
    await life.register()
    await life.pass_time(NEVER_CONNECTED_SECONDS + 1)
    retirement.start()
    clock.advance(LOOK_SECONDS)
    await wait_until(lambda: bool(clock.getDelayedCalls()))  # the next turn
    assert await life.keys() == ["clock"]

    await life.register()
    await life.pass_time(NEVER_CONNECTED_SECONDS + 1)
    clock.advance(LOOK_SECONDS)
    retirement.stop()
    await life.store.command("PING")
    assert clock.getDelayedCalls() == []
