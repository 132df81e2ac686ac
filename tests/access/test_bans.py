"""Who is banned is not let in, and not left in."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

import jwt
import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, gatherResults
from txredisapi import ResponseError

from push.access.ban_table import ActiveBan
from push.redis.connection.errors import StoreUnavailable
from push.wire.errors import RequestError
from push.wire.signals import ConnectStatus, Signal
from tests.connector.conftest import JWT_SECRET
from tests.waiting import WaitUntil

Make = Callable[..., Awaitable[Any]]


def token_of(client: Any) -> str:
    return str(client._credentials["token"])


def jwt_of(user: str) -> str:
    claims = {"sub": user, "aud": "push", "exp": int(time.time()) + 600}
    return jwt.encode(claims, JWT_SECRET, algorithm="HS256")


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

    await first.bans.add(ActiveBan("user", "mallory", None))

    await wait_until(lambda: all(client.ended_with == "kicked" for client in clients))
    assert "after" not in clients[0].disconnect
    back = await dial(second)
    refused = await back.connect(**clients[0]._credentials)
    assert refused["status"] is ConnectStatus.NOT_AUTHORIZED
    assert refused["code"] == "banned"

    async def is_offline() -> bool:
        return not (await second.devices.get(token_of(clients[0]))).online

    await wait_until(is_offline)

    assert await first.bans.lift("user", "mallory") == []
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
    await second.bans.add(ActiveBan("ip", "127.0.0.2", None))

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
    await first.bans.add(ActiveBan("token", token_of(client), end_ms))
    await wait_until(lambda: client.ended_with == "kicked")
    assert 50 <= client.disconnect["after"] <= 60
    early = await dial(first)
    refused = await early.connect(**client._credentials)
    assert refused["status"] is ConnectStatus.NOT_AUTHORIZED
    assert 50 <= refused["after"] <= 60
    with pytest.raises(RequestError, match="banned"):
        await first.bans.check(token=token_of(client))

    first.store.clock.observe(end_ms * 1000)

    back = await dial(first)
    assert (await back.connect(**client._credentials))["status"] is ConnectStatus.ACCEPTED
    assert await first.bans.page(0, 10) == ([], None)
    await first.store.command("SET", first.store.key("clock"), end_ms * 1000)
    with pytest.raises(RequestError, match="not_found"):
        await first.bans.lift("token", token_of(client))


@pytest_twisted.ensureDeferred
async def test_bans_that_have_ended_are_forgotten_but_not_one_that_was_made_anew(
    two: Any, wait_until: WaitUntil
) -> None:
    first, second = two
    end_ms = first.bans.now_ms() + 60_000
    for name in ("a", "b", "c"):
        await first.bans.add(ActiveBan("user", name, end_ms))
    await first.bans.add(ActiveBan("user", "d", None))
    for node in two:
        node.store.clock.observe(end_ms * 1000)
    await first.bans.add(ActiveBan("user", "b", end_ms + 60_000))

    async def are_forgotten() -> bool:
        """They are read anew because of the last one."""
        kept = await second.store.command("HKEYS", second.store.key("bans"))
        return sorted(kept) == [b"user:b", b"user:d"]

    await wait_until(are_forgotten)
    assert [ban.name for ban in (await first.bans.page(0, 10))[0]] == ["d", "b"]


@pytest_twisted.ensureDeferred
async def test_a_connector_that_was_cut_off_hears_of_a_ban_when_it_is_back(
    make_node: Make, make_redis: Any, device: Make, wait_until: WaitUntil
) -> None:
    """Its subscriptions are lost, and come back, while the ban is made."""
    redis = make_redis()
    first, second = [await make_node(redis.url) for _ in range(2)]
    second.listen()
    client = await device(on=second)
    losses = second.store.channels.losses
    redis.call("CLIENT", "KILL", "TYPE", "pubsub")
    await wait_until(lambda: first.store.problem is None)
    await first.bans.add(ActiveBan("token", token_of(client), None))
    await wait_until(lambda: client.ended_with == "kicked")
    assert second.store.channels.losses > losses


@pytest_twisted.ensureDeferred
async def test_a_jwt_of_a_banned_user_neither_connects_nor_binds_a_device(
    two: Any, device: Make, dial: Make
) -> None:
    first, second = two
    client = await device(on=first)
    assert await first.bans.add(ActiveBan("user", "mallory", None)) == []
    for node in (first, second):
        for credentials in ({}, client._credentials):
            refused = await (await dial(node)).connect(jwt=jwt_of("mallory"), **credentials)
            assert refused["status"] is ConnectStatus.NOT_AUTHORIZED
            assert refused["code"] == "banned"
    assert (await first.devices.get(token_of(client))).user is None
    assert client.ended_with is None


@pytest_twisted.ensureDeferred
async def test_the_ban_that_lasts_longest_is_told(two: Any, device: Make, dial: Make) -> None:
    first, _ = two
    client = await device(on=first)
    now_ms = first.bans.now_ms()
    await first.bans.add(ActiveBan("token", token_of(client), now_ms + 60_000))
    await first.bans.add(ActiveBan("ip", "127.0.0.0/8", now_ms + 7_200_000))
    refused = await (await dial(first)).connect(**client._credentials)
    assert 7_000 < refused["after"] <= 7_200
    await first.bans.add(ActiveBan("ip", "127.0.0.1", None))
    refused = await (await dial(first)).connect(**client._credentials)
    assert refused["code"] == "banned"
    assert "after" not in refused


@pytest_twisted.ensureDeferred
async def test_a_registration_of_a_banned_address_is_told_when_the_ban_ends(
    two: Any, dial: Make
) -> None:
    first, second = two
    await first.bans.add(ActiveBan("ip", "127.0.0.0/30", first.bans.now_ms() + 60_000))
    banned = await dial(second)
    answer = await banned.answer(Signal.SUB, banned.send(Signal.SUB, {"platform": "p", "app": "a"}))
    body = json.loads(answer.body)
    assert (body["ok"], body["code"]) == (False, "banned")
    assert 50 <= body["after"] <= 60


@pytest_twisted.ensureDeferred
async def test_the_address_behind_a_load_balancer_is_judged_and_not_its_own(
    two: Any, device: Make, dial: Make, wait_until: WaitUntil
) -> None:
    first, second = two
    client = await device(on=first)
    second.listen(proxies=["127.0.0.1"])

    async def through(source: str) -> Any:
        header = f"PROXY TCP4 {source} 127.0.0.1 4000 6789\r\n".encode()
        return await dial(second, header=[header])

    session = await through("203.0.113.9")
    assert (await session.connect(**client._credentials))["status"] is ConnectStatus.ACCEPTED
    await first.bans.add(ActiveBan("ip", "203.0.113.0/24", None))
    await wait_until(lambda: session.ended_with == "kicked")
    refused = await (await through("203.0.113.8")).connect(**client._credentials)
    assert refused["code"] == "banned"
    await first.bans.add(ActiveBan("ip", "127.0.0.1", None))
    accepted = await (await through("198.51.100.1")).connect(**client._credentials)
    assert accepted["status"] is ConnectStatus.ACCEPTED


@pytest_twisted.ensureDeferred
async def test_while_bans_cannot_be_read_nobody_is_admitted_and_sessions_live_on(
    two: Any, device: Make, dial: Make, flush_logged_errors: Any
) -> None:
    """What the bans are in cannot be read; everything else in Redis can."""
    first, _ = two
    client = await device(on=first)
    await first.store.command("SET", first.store.key("bans"), "no hash")
    try:
        first.bans._copy.invalidate()
        newcomer = await dial(first)
        refused = await newcomer.connect(**client._credentials)
        assert refused["status"] is ConnectStatus.SERVER_UNAVAILABLE
        assert refused["code"] == "unavailable"
        assert refused["after"] > 0
        assert client.ended_with is None
    finally:
        await first.store.command("DEL", first.store.key("bans"))
    assert await first.bans.add(ActiveBan("user", "mallory", None)) == []
    again = await (await dial(first)).connect(**client._credentials)
    assert again["status"] is ConnectStatus.ACCEPTED
    assert flush_logged_errors(ResponseError)


@pytest_twisted.ensureDeferred
async def test_many_bans_at_once_ask_every_process_a_few_times(
    two: Any, device: Make, dial: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = two
    clients = [await device(on=second) for _ in range(3)]
    asked = 0
    announce = first.bans._announce

    async def counted() -> list[str]:
        nonlocal asked
        asked += 1
        silent: list[str] = await announce()
        return silent

    monkeypatch.setattr(first.bans, "_announce", counted)
    names = [token_of(client) for client in clients] + [f"stranger{n}" for n in range(40)]
    bans = [Deferred.fromCoroutine(first.bans.add(ActiveBan("token", n, None))) for n in names]

    assert await gatherResults(bans) == [[]] * len(names)
    assert asked < len(names) // 2
    for client in clients:  # in effect when it is answered
        back = await dial(second)
        refused = await back.connect(**client._credentials)
        assert refused["code"] == "banned"


@pytest_twisted.ensureDeferred
async def test_a_ban_whose_question_fails_says_so_and_the_next_asks_again(
    two: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = two
    announce = first.bans._announce

    async def failing() -> list[str]:
        raise StoreUnavailable("of a test")

    monkeypatch.setattr(first.bans, "_announce", failing)
    with pytest.raises(StoreUnavailable):
        await first.bans.add(ActiveBan("user", "mallory", None))
    monkeypatch.setattr(first.bans, "_announce", announce)
    assert await first.bans.add(ActiveBan("user", "mallory", None)) == []
