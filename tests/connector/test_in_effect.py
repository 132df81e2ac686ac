"""A session is judged by its device's record as it is: races with its opening and with reads that
are under way, and rights that came with an identity (delivery.md, "Writes in effect")."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import jwt
import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, gatherResults

from push.access.ban_table import ActiveBan
from push.chat.conversation_id import conversation_of
from push.devices.session_queries import Filter
from push.wire.api.groups import NewGroup
from push.wire.frames import encode_frame
from push.wire.idents import device_stream, topic_stream
from push.wire.signals import ConnectStatus, RequestName, Signal
from tests.amounts import amount
from tests.connector.conftest import JWT_SECRET
from tests.faults.slow_redis import SlowRedis
from tests.waiting import WaitUntil, pause

Make = Callable[..., Awaitable[Any]]
ROUNDS = 100
ROUNDS_WHEN_SLOW = 4
REQUESTS = 60
PRIVATE = "private.board"


def at_once(*calls: Any) -> Deferred[Any]:
    """Run them beside each other."""
    return gatherResults([Deferred.fromCoroutine(call) for call in calls])


def jwt_of(user: str, *topics: str, **more: Any) -> str:
    claims = {"sub": user, "aud": "push", "exp": int(time.time() + 600), "topics": topics, **more}
    return jwt.encode(claims, JWT_SECRET, "HS256")


def token_of(client: Any) -> str:
    return str(client._credentials["token"])


@pytest.fixture(params=[1, 3], ids=["one server", "three servers"])
def urls(request: pytest.FixtureRequest, redis_url: str, make_redis: Callable[..., Any]) -> Any:
    return redis_url if request.param == 1 else [make_redis().url for _ in range(request.param)]


# For a test whose connectors are all of its own making.
servers_of_its_own = pytest.mark.parametrize("urls", [1], ids=["servers of its own"], indirect=True)


@pytest_twisted.async_yield_fixture
async def node(make_node: Make, urls: Any) -> Any:
    made = await make_node(urls)
    made.listen()
    yield made


@pytest.fixture
def slow_redis(make_redis: Callable[..., Any]) -> Iterator[SlowRedis]:
    proxy = SlowRedis(make_redis().socket_path)
    yield proxy
    proxy.close()


# --- Reads that are under way ------------------------------------------------------------------


@servers_of_its_own
@pytest_twisted.ensureDeferred
async def test_a_record_that_was_asked_for_before_a_change_is_not_applied_after_it(
    slow_redis: SlowRedis, make_node: Make, device: Make, wait_until: WaitUntil
) -> None:
    """Bound and unbound, rebound, subscribed and unsubscribed, while Redis' answers come late."""
    slow = await make_node(slow_redis.url, ready=True)
    slow.listen()
    client = await device(on=slow, acks=True)
    token = token_of(client)
    (connection,) = slow.gateway.connections
    slow_redis.delay_seconds = 0.1
    for number in range(ROUNDS_WHEN_SLOW):
        # The second begins before the session has applied the first.
        await at_once(slow.devices.bind("anna", token), slow.devices.bind("ben", token))
        await at_once(slow.topics.subscribe("news", token), slow.topics.unsubscribe("news", token))
        await slow.push("user", "anna", data=f"not {number}")
        await slow.push("topic", "news", data=f"not {number}", qos=0)
        await slow.push("user", "ben", data=number)
        assert connection.device.user == "ben"
        await slow.devices.unbind("ben", token)
        await slow.push("user", "ben", data=f"not {number}")
        assert connection.device.user is None
    await slow.push("token", token, data="end")
    await wait_until(lambda: "end" in client.numbers)
    assert client.numbers == [*range(ROUNDS_WHEN_SLOW), "end"]


@pytest_twisted.ensureDeferred
async def test_what_changes_while_a_session_opens_is_in_effect_when_it_is_accepted(
    node: Any, dial: Make, wait_until: WaitUntil
) -> None:
    """Each write falls into another part of the handshake."""
    chance = random.Random(1)
    group = (await node.chat.groups.create("olga", NewGroup("g"))).group
    registering = await dial(node)
    pair = await registering.register()
    token = pair["token"]
    before = None
    for number in range(amount(ROUNDS // 4, ROUNDS // 2)):
        user = f"user{number}"
        client = await dial(node, acks=True)

        async def write(user: str = user, before: str | None = before) -> None:
            await pause(chance.random() * 0.006)
            assert await node.devices.bind(user, token) == []
            assert (await node.topics.subscribe("news", token)).silent == []
            assert not (await node.chat.groups.add(group, [user], None)).silent
            if before is not None:
                assert not (await node.chat.groups.remove(group, [before], None)).silent

        accepted, _ = await at_once(client.connect(**pair), write())
        assert accepted["status"] is ConnectStatus.ACCEPTED
        for to in (("user", user), ("topic", "news"), ("group", group)):
            assert (await node.push(*to, data=[number, to[0]], qos=0)).online == 1
        await wait_until(lambda client=client: len(client.numbers) == 3)
        assert (await client.ask("GPGI", group=group))["ok"]
        assert (await node.topics.unsubscribe("news", token)).silent == []
        before = user
        client.transport.loseConnection()


@pytest_twisted.ensureDeferred
async def test_sessions_without_a_device_follow_the_groups_of_their_user_when_it_is_answered(
    node: Any, dial: Make, wait_until: WaitUntil
) -> None:
    group = (await node.chat.groups.create("olga", NewGroup("g"))).group
    clients = [await dial(node) for _ in range(3)]
    for client in clients:
        await client.connect(jwt=jwt_of("anna"))
    for number in range(ROUNDS // 4):
        assert (await node.chat.groups.add(group, ["anna", "ben"], None)).results["anna"] == "ok"
        await node.push("group", group, data=number, qos=0)
        assert not (await node.chat.groups.remove(group, ["anna"], None)).silent
        await node.push("group", group, data="not", qos=0)
    for client in clients:
        await wait_until(lambda client=client: len(client.numbers) >= ROUNDS // 4)
        assert client.numbers == [*range(ROUNDS // 4)]


# --- Take-overs --------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["the same connector", "another one"])
@pytest_twisted.ensureDeferred
async def test_the_former_session_does_nothing_more_once_the_new_one_is_accepted(
    make_redis: Callable[..., Any], make_node: Make, dial: Make, where: str
) -> None:
    """The former one asks without a pause, and Redis answers its connector late."""
    redis = make_redis()
    slow_redis = SlowRedis(redis.socket_path)
    try:
        slow = fast = await make_node(slow_redis.url)
        slow.listen()
        if where == "another one":
            fast = await make_node(redis.url)
            fast.listen()
        pair = await (await dial(slow)).register()
        slow_redis.delay_seconds = 0.05
        for number in range(ROUNDS_WHEN_SLOW):
            before = f"before{number}"
            former = await connected(dial, slow, pair, jwt_of(before))
            for text in range(REQUESTS):
                body = json.dumps({"to": {"user": "ben"}, "data": text}).encode()
                frame = encode_frame(Signal.PUBLISH, RequestName.MS, 100 + text, body)
                former.transport.write(frame)
            await pause(0.12)

            await connected(dial, fast, pair, jwt_of(f"after{number}"))

            key = fast.store.key(f"history:{conversation_of(before, 'user:ben').owner}")
            said = await fast.store.command("XLEN", key)
            await pause(0.3)
            assert await fast.store.command("XLEN", key) == said < REQUESTS
    finally:
        slow_redis.close()


@servers_of_its_own
@pytest_twisted.ensureDeferred
async def test_a_session_that_is_taken_over_while_its_record_is_read_ends_as_taken_over(
    make_redis: Callable[..., Any], make_node: Make, device: Make, wait_until: WaitUntil
) -> None:
    """The record still names it, but a part of it on another server a newer one."""
    node = await make_node([make_redis().url for _ in range(3)])
    node.listen()
    client = await device(on=node)
    token = token_of(client)
    names = (f"topic{number}" for number in range(100))
    home = node.shards.number_of(device_stream(token))
    topic = next(n for n in names if node.shards.number_of(topic_stream(n)) != home)
    await node.topics.subscribe(topic, token)
    elsewhere = node.shards.of(topic_stream(topic))
    part = elsewhere.key(f"device:{token}")
    await elsewhere.command("HSET", part, "s", "another", "e", 1000)

    await node.topics.subscribe("any", token)

    await wait_until(lambda: client.closed)
    assert client.ended_with == "taken_over"


# --- Kicks -------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["kick", "ban"])
@pytest_twisted.ensureDeferred
async def test_a_kicked_or_banned_device_is_offline_when_that_is_answered(
    node: Any, device: Make, how: str
) -> None:
    """Although it does not read that it was kicked, and does not close its connection."""
    for number in range(ROUNDS_WHEN_SLOW):
        client = await device()
        user, token = f"user{number}", token_of(client)
        await node.devices.bind(user, token)
        assert (await node.users.get_user(user)).online
        client.transport.pauseProducing()

        if how == "kick":
            assert (await node.session_queries.kick(Filter(user=user))).kicked == 1
        else:
            await node.bans.add(ActiveBan("user", user, None))

        assert not (await node.devices.get(token)).online
        found = await node.users.get_user(user)
        assert not found.online
        assert not any(each.online for each in found.devices)
        client.transport.abortConnection()


# --- Rights that came with an identity ---------------------------------------------------------


async def connected(dial: Make, node: Any, pair: dict[str, Any], token: str | None) -> Any:
    """With a JWT, or with None as the device alone."""
    client = await dial(node, acks=True)
    credentials = {"token": pair["token"], "secret": pair["secret"]}
    if token is not None:
        credentials["jwt"] = token
    accepted = await client.connect(**credentials)
    assert accepted["status"] is ConnectStatus.ACCEPTED, accepted
    return client


async def reaches(node: Any, token: str, topic: str = PRIVATE) -> bool:
    """Whether what is pushed to the topic is for the device, by all that says so."""
    receipt = await node.push("topic", topic, data="x")
    addressed = bool((await node.pushing.message(receipt.id)).addressed)
    assert (topic in (await node.devices.get(token)).topics) is addressed
    return addressed


@pytest_twisted.ensureDeferred
async def test_a_private_topic_ends_with_the_user_whose_jwt_allowed_it(
    node: Any, dial: Make
) -> None:
    pair = await (await dial(node)).register()
    token = pair["token"]
    client = await connected(dial, node, pair, jwt_of("anna", PRIVATE))
    for bind in (
        lambda: node.devices.bind("ben", token),
        lambda: node.devices.unbind("anna", token),
        lambda: node.erasure.erase("anna"),
    ):
        assert (await client.ask("TS", topic=PRIVATE))["ok"]
        assert await reaches(node, token)

        assert await bind() == []

        assert not await reaches(node, token)
        assert (await client.ask("TS", topic=PRIVATE))["code"] == "not_allowed"
        await node.devices.bind("anna", token)
        assert not await reaches(node, token)
        client = await connected(dial, node, pair, jwt_of("anna", PRIVATE))
    assert (await client.ask("TS", topic=PRIVATE))["ok"]

    await connected(dial, node, pair, jwt_of("ben", PRIVATE))  # who may, and has not asked

    assert not await reaches(node, token)


@pytest_twisted.ensureDeferred
async def test_a_private_topic_ends_with_a_jwt_that_does_not_name_it(node: Any, dial: Make) -> None:
    pair = await (await dial(node)).register()
    token = pair["token"]
    client = await connected(dial, node, pair, jwt_of("anna", PRIVATE, "private.other"))
    for topic in (PRIVATE, "private.other", "news"):
        assert (await client.ask("TS", topic=topic))["ok"]

    renewed = client.send(Signal.AUTH, {"jwt": jwt_of("anna", PRIVATE)})
    await client.answer(Signal.AUTH, renewed)
    assert [await reaches(node, token, t) for t in (PRIVATE, "private.other", "news")] == [
        True,
        False,
        True,
    ]
    client = await connected(dial, node, pair, None)  # says nothing of topics
    assert await reaches(node, token)
    client = await connected(dial, node, pair, jwt_of("anna", PRIVATE))
    assert await reaches(node, token)
    client = await connected(dial, node, pair, jwt_of("anna"))
    assert not await reaches(node, token)
    assert await reaches(node, token, "news")
    assert (await client.ask("TS", topic=PRIVATE))["code"] == "not_allowed"


@pytest_twisted.ensureDeferred
async def test_a_private_topic_that_a_backend_gave_stays(node: Any, dial: Make) -> None:
    """Also when the device had it by a JWT before, or asks for it by one."""
    pair = await (await dial(node)).register()
    token = pair["token"]
    client = await connected(dial, node, pair, jwt_of("anna", PRIVATE, "private.given"))
    assert (await client.ask("TS", topic=PRIVATE))["ok"]
    await node.topics.subscribe(PRIVATE, token)
    await node.topics.subscribe("private.given", token)
    assert (await client.ask("TS", topic="private.given"))["ok"]

    await node.devices.bind("ben", token)
    await connected(dial, node, pair, jwt_of("ben"))

    assert await reaches(node, token)
    assert await reaches(node, token, "private.given")


@pytest_twisted.ensureDeferred
async def test_private_topics_of_a_session_without_a_device_end_with_its_jwt(
    node: Any, dial: Make, wait_until: WaitUntil
) -> None:
    client = await dial(node)
    await client.connect(jwt=jwt_of("anna", PRIVATE))
    assert (await client.ask("TS", topic=PRIVATE))["ok"]
    assert (await client.ask("TS", topic="news"))["ok"]

    renewed = client.send(Signal.AUTH, {"jwt": jwt_of("anna")})
    await client.answer(Signal.AUTH, renewed)

    await node.push("topic", PRIVATE, data="not")
    await node.push("topic", "news", data="news")
    await wait_until(lambda: client.numbers)
    await node.push("topic", "news", data="end")
    await wait_until(lambda: "end" in client.numbers)
    assert client.numbers == ["news", "end"]


@pytest_twisted.ensureDeferred
async def test_a_topic_that_is_asked_for_while_the_user_changes_ends_as_well(
    node: Any, dial: Make
) -> None:
    pair = await (await dial(node)).register()
    token = pair["token"]
    chance = random.Random(2)
    for _ in range(ROUNDS // 5):
        client = await connected(dial, node, pair, jwt_of("anna", PRIVATE))

        async def bind() -> None:
            await pause(chance.random() * 0.003)
            await node.devices.bind("ben", token)

        await at_once(client.ask("TS", topic=PRIVATE), bind())

        assert not await reaches(node, token)


@pytest_twisted.ensureDeferred
async def test_a_session_that_is_bound_to_a_banned_user_ends_before_it_can_send(
    node: Any, device: Make, dial: Make, wait_until: WaitUntil
) -> None:
    await node.bans.add(ActiveBan("user", "mallory", None))
    client = await device()

    assert await node.devices.bind("mallory", token_of(client)) == []

    await wait_until(lambda: client.closed)
    assert client.ended_with == "kicked"
    again = await dial(node)
    assert (await again.connect(**client._credentials))["status"] is ConnectStatus.NOT_AUTHORIZED


# --- Subscriptions that were cut ---------------------------------------------------------------


@servers_of_its_own
@pytest_twisted.ensureDeferred
async def test_nothing_is_handed_out_by_a_record_whose_change_was_missed(
    make_redis: Callable[..., Any], make_node: Make, device: Make, wait_until: WaitUntil
) -> None:
    """The subscriptions are cut, the record changes, and what is published after that comes on the
    new ones at once. Nobody asks the connector to apply anything."""
    redis = make_redis()
    node, other = await make_node(redis.url), await make_node(redis.url)
    node.listen()
    client = await device(on=node, acks=True)
    token = token_of(client)
    (connection,) = node.gateway.connections
    users = ["anna", "ben"]
    await node.devices.bind(users[0], token)
    for number in range(ROUNDS // 4):
        before, after = users = users[::-1]
        await node.devices.bind(before, token)
        losses = node.store.channels.losses
        redis.call("CLIENT", "KILL", "TYPE", "pubsub")

        await other.devices._bind(token, after, "")

        await wait_until(lambda losses=losses: node.store.channels.losses > losses)
        while not (node.store.is_subscribed and node.lease.holds):
            await other.push("user", before, data="not")
            await pause(0.01)  # some are enough, and new subscriptions take a while
        await other.push("user", before, data="not")
        assert (await client.ask("MS", to={"user": f"to-{after}"}, data=number))["ok"]
        assert connection.device.user == after
        await other.push("user", after, data=number)
        await wait_until(lambda number=number: number in client.numbers)
    assert client.numbers == [*range(ROUNDS // 4)]


@servers_of_its_own
@pytest_twisted.ensureDeferred
async def test_a_lease_that_came_during_a_read_of_the_record_is_no_read_of_the_bans(
    node: Any, device: Make
) -> None:
    """Its nonce was sent a second ago: who was banned since then is not known for longer than it
    says, however new the record is."""
    await device(on=node)
    (session,) = node.gateway.sessions.values()
    lease, losses = node.lease, node.store.channels.losses
    lease._renewals.stop()
    lease.until = 0.0
    lease._sent = {-1: (node.reactor.seconds() - 1.0, losses)}

    reading = Deferred.fromCoroutine(node.gateway.freshness.make_ready(session))
    assert not reading.called
    lease._receive(b"-1")

    assert lease.holds
    assert await reading == lease.until
    assert node.gateway.freshness.may_hand_out(session, lease.until)
    lease.until = 0.0
    assert not node.gateway.freshness.may_hand_out(session, lease.until)
