"""Who is banned is not let in, and not left in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import pytest_twisted

from push.access.bans import Ban
from push.wire.errors import Refusal
from push.wire.signals import ConnectStatus, Signal
from tests.waiting import WaitUntil

Make = Callable[..., Awaitable[Any]]


def token_of(client: Any) -> str:
    return str(client._credentials["token"])


@pytest_twisted.async_yield_fixture
async def two(make_node: Make, redis_url: str) -> Any:
    """Two connectors: bans are made on the first, and hold on both."""
    nodes = [await make_node(redis_url) for _ in range(2)]
    for node in nodes:
        node.listen()
    yield nodes


@pytest_twisted.ensureDeferred
async def test_a_banned_user_leaves_all_connectors_and_is_let_in_again_when_it_is_lifted(
    two: Any, device: Make, dial: Make, wait_until: WaitUntil
) -> None:
    first, second = two
    clients = [await device(on=first), await device(on=second)]
    other = await device(on=second)
    for client in clients:
        await first.devices.bind("mallory", token_of(client))
    await wait_until(lambda: all(client.kinds == ["follow"] for client in clients))

    await first.bans.add(Ban("user", "mallory", None))

    await wait_until(lambda: all(client.ended_with == "kicked" for client in clients))
    assert "after" not in clients[0].disconnect
    back = await dial(second)
    refused = await back.connect(**clients[0]._credentials)
    assert refused["status"] is ConnectStatus.NOT_AUTHORIZED
    assert refused["code"] == "banned"
    found = await second.devices.get(token_of(clients[0]))
    assert not found.online

    await second.bans.lift("user", "mallory")
    await wait_until(lambda: not second.bans._names)
    again = await dial(second)
    accepted = await again.connect(**clients[0]._credentials)
    assert accepted["status"] is ConnectStatus.ACCEPTED
    assert other.ended_with is None


@pytest_twisted.ensureDeferred
async def test_a_banned_address_neither_registers_nor_connects(
    two: Any, device: Make, dial: Make, wait_until: WaitUntil
) -> None:
    first, second = two
    client = await device(on=first)
    await second.bans.add(Ban("ip", "127.0.0.2", None))
    await wait_until(lambda: first.bans._networks and second.bans._networks)

    banned = await dial(first, source="127.0.0.2")
    asked = banned.send(Signal.SUB, {"platform": "p", "app": "a"})
    answer = await banned.answer(Signal.SUB, asked)
    assert b'"code":"banned"' in answer.body
    refused = await banned.connect(**client._credentials)
    assert refused["code"] == "banned"
    assert client.ended_with is None


@pytest_twisted.ensureDeferred
async def test_a_banned_device_may_not_come_until_its_time_is_over(
    two: Any, device: Make, dial: Make, wait_until: WaitUntil
) -> None:
    first, _ = two
    client = await device(on=first)
    end_ms = first.bans.now_ms() + 60_000
    await first.bans.add(Ban("token", token_of(client), end_ms))
    await wait_until(lambda: client.ended_with == "kicked")
    with pytest.raises(Refusal, match="banned"):
        first.bans.check(token=token_of(client))

    first.store.clock.observe(end_ms * 1000)

    back = await dial(first)
    assert (await back.connect(**client._credentials))["status"] is ConnectStatus.ACCEPTED
    assert await first.bans.all() == []
    await first.store.command("SET", first.store.key("clock"), end_ms * 1000)
    with pytest.raises(Refusal, match="not_found"):
        await first.bans.lift("token", token_of(client))


@pytest_twisted.ensureDeferred
async def test_bans_that_have_ended_are_forgotten_but_not_one_that_was_made_anew(two: Any) -> None:
    first, second = two
    end_ms = first.bans.now_ms() + 60_000
    for name in ("a", "b", "c"):
        await first.bans.add(Ban("user", name, end_ms))
    await first.bans.add(Ban("user", "d", None))
    for node in two:
        node.store.clock.observe(end_ms * 1000)
    await first.bans.add(Ban("user", "b", end_ms + 60_000))

    await second.bans.turn()

    kept = await second.store.command("HKEYS", second.store.key("bans"))
    assert sorted(kept) == [b"user:b", b"user:d"]
    assert [ban.name for ban in await first.bans.all()] == ["b", "d"]


@pytest_twisted.ensureDeferred
async def test_a_connector_that_was_cut_off_hears_of_a_ban_when_it_is_back(
    make_node: Make, make_redis: Any, device: Make, wait_until: WaitUntil
) -> None:
    redis = make_redis()
    first, second = [await make_node(redis.url, timeout_seconds=1) for _ in range(2)]
    second.listen()
    client = await device(on=second)
    second.store.unhear("bans")  # as if the message had been lost
    await first.bans.add(Ban("token", token_of(client), None))
    assert client.ended_with is None
    second.store.rebuild("a test")
    await wait_until(lambda: client.ended_with == "kicked")
