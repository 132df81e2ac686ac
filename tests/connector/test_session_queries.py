"""Sessions of several connectors: listed, ended, reached by address; users looked up, erased."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import jwt
import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from push.devices.session_queries import LIST, LISTED_AT_A_TIME, Filter
from push.redis.connection.patient_calls import MOST_WAITING
from push.wire.errors import RequestError
from tests.waiting import pause

JWT_SECRET = b"a secret of at least thirty-two bytes"  # as in conftest.py

Enter = Callable[..., Awaitable[Any]]


@pytest_twisted.async_yield_fixture
async def two(make_node: Any, redis_url: str) -> AsyncIterator[list[Any]]:
    """Two connectors that listen."""
    nodes = [await make_node(redis_url) for _ in range(2)]
    for each in nodes:
        each.listen()
    yield nodes


@pytest.fixture
def enter(dial: Any) -> Enter:
    """`await enter(node, source="127.0.0.2", user="anna")`: a connected device; it acknowledges."""

    async def make(node: Any, *, source: str = "127.0.0.1", user: str | None = None) -> Any:
        client = await dial(node, acks=True, source=source)
        client.token = (await client.register())["token"]
        if user is not None:
            await node.devices.bind(user, client.token)
        client.session = (await client.connect())["session"]
        return client

    return make


async def found(on: Any, **filter: str) -> set[str]:
    page = await on.session_queries.find(Filter(**filter))
    assert page.silent == []
    return {row.session for row in page.connections}


@pytest_twisted.ensureDeferred
async def test_sessions_of_all_nodes_are_listed_in_pages(two: list[Any], enter: Enter) -> None:
    clients = [await enter(two[number % 2]) for number in range(5)]
    wanted = sorted(client.session for client in clients)
    seen, after, pages = [], "", 0
    while True:
        page = await two[0].session_queries.find(Filter(), after, 2)
        seen += [row.session for row in page.connections]
        pages += 1
        if page.cursor is None:
            break
        after = page.cursor
    assert (seen, pages) == (wanted, 3)
    rows = {row.session: row for row in (await two[1].session_queries.find(Filter())).connections}
    row = rows[clients[1].session]
    assert (row.token, row.node, row.ip, row.carrier) == (
        clients[1].token,
        two[1].boot,
        "127.0.0.1",
        "tcp",
    )
    assert row.connected <= two[0].gateway.now_ms()


@pytest_twisted.ensureDeferred
async def test_filters(two: list[Any], enter: Enter) -> None:
    first = await enter(two[0], user="anna")
    second = await enter(two[1], source="127.0.0.2", user="ben")
    assert await found(two[0], user="anna") == {first.session}
    assert await found(two[0], ip="127.0.0.2") == {second.session}
    assert await found(two[0], ip="127.0.0.0/30") == {first.session, second.session}
    assert await found(two[0], ip="127.0.0.2/31") == {second.session}
    assert await found(two[0], node=two[1].boot) == {second.session}
    assert await found(two[0], token=first.token, user="ben") == set()
    assert await found(two[0], topic="news") == set()


@pytest_twisted.ensureDeferred
async def test_sessions_are_kicked_wherever_they_are(
    two: list[Any], enter: Enter, wait_until: Any
) -> None:
    near, far = await enter(two[0]), await enter(two[1], source="127.0.0.2", user="ben")
    kicked = await two[0].session_queries.kick(Filter(user="ben"))
    assert (kicked.kicked, kicked.silent) == (1, [])
    await wait_until(lambda: far.closed)
    assert far.disconnect["code"] == "kicked"
    assert "after" not in far.disconnect
    assert (await two[1].session_queries.kick(Filter(session=near.session))).kicked == 1
    await wait_until(lambda: near.closed)
    assert (await two[1].session_queries.kick(Filter(session=near.session))).kicked == 0


@pytest_twisted.ensureDeferred
async def test_a_push_to_a_network_reaches_who_is_there_once_per_key(
    two: list[Any], enter: Enter, wait_until: Any
) -> None:
    inside = [await enter(node, source="127.0.0.2") for node in two]
    outside = await enter(two[0])
    for _ in range(2):
        receipt = await two[0].push("ip", "127.0.0.2/31", data=1, ttl_seconds=0, once="key")
        assert (receipt.streams, receipt.online, receipt.silent) == (0, 2, [])
    second = await two[0].push("ip", "127.0.0.2/31", data=2, ttl_seconds=0, qos=0)
    assert second.id != receipt.id
    await wait_until(lambda: all(client.numbers == [1, 2] for client in inside))
    assert [frame.message_id > 0 for frame in inside[0].pushes] == [True, False]
    assert inside[0].bodies[0]["stream"] == "ip:127.0.0.2/31"
    assert inside[0].bodies[0]["id"] == receipt.id

    async def acknowledged() -> bool:
        return bool((await two[0].pushing.message(receipt.id)).acknowledged == 2)

    await wait_until(acknowledged)
    funnel = await two[0].pushing.message(receipt.id)
    assert (funnel.addressed, funnel.stored, funnel.written, funnel.dropped) == (2, 0, 2, {})
    assert outside.numbers == []
    assert await two[0].pushing.cancel(receipt.id) == 0
    with pytest.raises(RequestError, match="idempotency_mismatch"):
        await two[0].push("ip", "127.0.0.2/31", data=3, ttl_seconds=0, once="key")


@pytest_twisted.ensureDeferred
async def test_a_user_is_looked_up_and_erased(
    two: list[Any], enter: Enter, wait_until: Any
) -> None:
    client = await enter(two[1], user="anna")
    user = await two[0].users.get_user("anna")
    assert [(d.token, d.session, d.online) for d in user.devices] == [
        (client.token, client.session, True)
    ]
    assert user.online
    await two[0].push("user", "anna", data=1)
    await wait_until(lambda: client.numbers == [1])
    await two[0].erasure.erase("anna")
    await wait_until(lambda: "unfollow" in client.kinds)
    assert await two[0].store.command("EXISTS", two[0].store.key("log:user:anna")) == 0
    user = await two[0].users.get_user("anna")
    assert (user.online, user.devices, user.silent) == (False, [], [])
    with pytest.raises(RequestError, match="not_found"):
        await two[0].erasure.erase("anna")


@pytest_twisted.ensureDeferred
async def test_a_user_with_a_jwt_alone_is_online(two: list[Any], dial: Any) -> None:
    """No record tells of such a session: its connector does."""
    claims = {"sub": "carl", "aud": "push", "exp": int(time.time()) + 600}
    browser = await dial(two[1])
    session = (await browser.connect(jwt=jwt.encode(claims, JWT_SECRET, "HS256")))["session"]

    user = await two[0].users.get_user("carl")
    assert (user.online, user.devices, user.silent) == (True, [], [])
    assert await found(two[0], user="carl") == {session}
    assert (await two[0].session_queries.kick(Filter(user="carl"))).kicked == 1


@pytest_twisted.ensureDeferred
async def test_all_that_waits_for_a_user_is_erased_however_much_it_is(
    two: list[Any], enter: Enter, wait_until: Any
) -> None:
    client = await enter(two[1], user="anna")
    client.transport.loseConnection()
    await wait_until(lambda: not two[1].gateway.sessions)
    first = await two[0].push("user", "anna", data=0)
    for n in range(1, 450):  # more than two parts
        await two[0].push("user", "anna", data=n)
    await two[0].erasure.erase("anna")

    assert await two[0].store.command("EXISTS", two[0].store.key("log:user:anna")) == 0
    funnel = await two[0].pushing.message(first.id)
    assert funnel.addressed == sum(funnel.dropped.values()) == 1


@pytest_twisted.ensureDeferred
async def test_who_asks_for_one_user_waits_for_no_turn_and_is_never_refused(two: list[Any]) -> None:
    asked = [
        Deferred.fromCoroutine(two[0].users.get_user(f"u{number}"))
        for number in range(MOST_WAITING + 2 * LISTED_AT_A_TIME)
    ]
    assert await two[0].users.online(["anna"]) == {"anna": False}
    assert {(await each).online for each in asked} == {False}


@pytest_twisted.ensureDeferred
async def test_more_pages_are_put_together_at_a_time_where_connectors_are_far(
    two: list[Any],
) -> None:
    async def far(_asked: bytes) -> list[str]:
        await pause(0.02)
        return []

    two[1].survey_handler.handle(LIST, far)
    asked = [
        Deferred.fromCoroutine(two[0].session_queries.find(Filter(), turns_of=f"key {number}"))
        for number in range(6 * LISTED_AT_A_TIME)
    ]
    for each in asked:
        await each
    listing = two[0].session_queries._listing
    listing.stop()
    assert listing._at_a_time.whole > LISTED_AT_A_TIME
