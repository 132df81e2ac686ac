"""Topics over real sockets: two connectors, on one Redis server and on three (rules 4 and 5)."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import jwt
import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, gatherResults

from push.devices.outbox import Outbox, OutboxRelay
from push.devices.session_queries import Filter
from push.redis.keyspace import channel_name
from push.wire.errors import RequestError
from push.wire.signals import ConnectStatus, RequestName, Signal
from tests.waiting import WaitUntil

Make = Callable[..., Awaitable[Any]]

JWT_SECRET = b"a secret of at least thirty-two bytes"  # as in conftest.py


def jwt_of(user: str = "alice", **more: Any) -> str:
    claims = {"sub": user, "aud": "push", "exp": int(time.time() + 600), **more}
    return jwt.encode(claims, JWT_SECRET, "HS256")


def send(client: Any, name: RequestName, body: Any) -> int:
    client._ids += 1
    raw = json.dumps(body).encode()
    client.write_frame(Signal.PUBLISH, name, client._ids, raw)
    return int(client._ids)


async def ask(client: Any, name: RequestName, topic: Any) -> dict[str, Any]:
    asked = send(client, name, {"topic": topic})
    answer: dict[str, Any] = json.loads((await client.answer(Signal.PUB_ACK, asked)).body)
    return answer


async def subscribe(client: Any, topic: Any) -> dict[str, Any]:
    return await ask(client, RequestName.TS, topic)


async def unsubscribe(client: Any, topic: Any) -> dict[str, Any]:
    return await ask(client, RequestName.TU, topic)


@pytest.fixture(params=[1, 3])
def urls(request: pytest.FixtureRequest, redis_url: str, make_redis: Callable[..., Any]) -> Any:
    """One Redis server, and several."""
    return redis_url if request.param == 1 else [make_redis().url for _ in range(request.param)]


@pytest_twisted.async_yield_fixture
async def two(make_node: Make, urls: Any) -> AsyncIterator[list[Any]]:
    """Two connectors."""
    nodes = [await make_node(urls), await make_node(urls)]
    for node in nodes:
        node.listen()
    yield nodes


@pytest.fixture
def join(two: list[Any], dial: Make) -> Make:
    """`await join(on=0)`: a new device, on one of the two."""

    async def make(*, on: int = 0, acks: bool = True, **asked: Any) -> Any:
        client = await dial(two[on], acks=acks)
        pair = await client.register()
        accepted = await client.connect(**pair, **asked)
        assert accepted["status"] is ConnectStatus.ACCEPTED, accepted
        return client

    return make


@pytest.fixture
def again(two: list[Any], dial: Make) -> Make:
    """`await again(client, on=1)`: the same device, on a new connection."""

    async def make(client: Any, *, on: int = 0, acks: bool = True, **asked: Any) -> Any:
        other = await dial(two[on], acks=acks)
        other._credentials = client._credentials
        accepted = await other.connect(**client._credentials, **asked)
        assert accepted["status"] is ConnectStatus.ACCEPTED, accepted
        return other

    return make


def token_of(client: Any) -> str:
    return str(client._credentials["token"])


# --- Subscribing -------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_what_is_pushed_after_the_answer_comes(
    two: list[Any], join: Make, wait_until: WaitUntil
) -> None:
    """Stored, at QoS 0 and with `ttl` 0: a session that is subscribed hears them all."""
    client = await join()
    await two[1].push("topic", "news", data="before")

    assert await subscribe(client, "news") == {"ok": True}

    kinds = [{}, {"qos": 0}, {"ttl_seconds": 0}]
    for turn in range(30):
        receipt = await two[1].push("topic", "news", data=turn, **kinds[turn % 3])
        assert (receipt.streams, receipt.online) == (1, 1)
    await wait_until(lambda: len(client.numbers) == 30)
    assert sorted(client.numbers) == list(range(30))
    assert [n for n in client.numbers if n % 3 == 0] == list(range(0, 30, 3))
    (notice,) = [body for body in client.bodies if body.get("kind") == "follow"]
    assert notice["stream"] == "topic:news"
    assert int(notice["offset"]) > 0
    place = client.frames.index(client.of(Signal.PUB_ACK)[0])
    assert client.pushes[0] in client.frames[:place], "it is told of before the answer"


@pytest_twisted.ensureDeferred
async def test_subscribing_in_mid_stream_loses_nothing_that_follows_the_answer(
    two: list[Any], join: Make, wait_until: WaitUntil
) -> None:
    """The topic never stops; what was pushed after the answer must come, in order, once."""
    clients = [await join(on=turn % 2) for turn in range(6)]
    sent, going = 0, True

    async def publish() -> None:
        nonlocal sent
        while going:
            await two[0].push("topic", "news", data=sent)
            sent += 1

    publishing = Deferred.fromCoroutine(publish())
    bounds = []
    for client in clients:
        start = sent
        await wait_until(lambda start=start: sent > start + 5)
        await subscribe(client, "news")
        bounds.append((start, sent))
    going = False
    await publishing

    for client, (before, after) in zip(clients, bounds, strict=True):
        await wait_until(lambda client=client: client.numbers[-1:] == [sent - 1])
        assert client.numbers == list(range(client.numbers[0], sent))
        assert before <= client.numbers[0] <= after + 1


@pytest_twisted.ensureDeferred
async def test_a_subscription_is_made_once_however_often_it_is_asked_for(
    two: list[Any], join: Make, wait_until: WaitUntil
) -> None:
    client = await join()
    asked = [send(client, RequestName.TS, {"topic": "news"}) for _ in range(5)]
    answers = [await client.answer(Signal.PUB_ACK, number) for number in asked]
    await two[1].topics.subscribe("news", token_of(client))
    await two[1].push("topic", "news", data=1)
    await two[1].push("all", data="end")

    await wait_until(lambda: {1, "end"} <= set(client.numbers))
    assert [json.loads(answer.body) for answer in answers] == [{"ok": True}] * 5
    assert client.numbers.count(1) == 1
    assert client.kinds == ["follow"]
    assert (await two[0].topics.get_topic("news")).devices == 1
    assert (await two[0].devices.get(token_of(client))).topics == ["news"]


@pytest_twisted.ensureDeferred
async def test_a_subscription_outlives_connections_and_connectors(
    two: list[Any], join: Make, again: Make, wait_until: WaitUntil
) -> None:
    """What was pushed while the device was away waits for it, in order."""
    first = await join()
    await subscribe(first, "news")
    await two[0].push("topic", "news", data=0)
    await wait_until(lambda: first.numbers == [0])
    first.transport.loseConnection()
    await wait_until(lambda: not two[0].gateway.connections)

    async def is_followed_by_nobody() -> bool:
        server = two[0].shards.of("topic:news")
        channel = server.channel(channel_name("topic:news"))
        return (await server.command("PUBSUB", "NUMSUB", channel))[1] == 0

    await wait_until(is_followed_by_nobody)
    for n in range(1, 6):
        receipt = await two[0].push("topic", "news", data=n)
        assert (receipt.streams, receipt.online) == (1, 0)
    assert (await two[0].devices.get(token_of(first))).backlog in (5, 6)  # 6: 0 is not counted yet
    await two[0].push("topic", "news", data="lost", ttl_seconds=0)

    second = await again(first, on=1)

    await wait_until(lambda: second.numbers[-1:] == [5])
    assert [n for n in second.numbers if n] == [1, 2, 3, 4, 5]
    await two[0].push("topic", "news", data=6)
    await wait_until(lambda: second.numbers[-1] == 6)


@pytest_twisted.ensureDeferred
async def test_a_take_over_keeps_the_subscription_and_loses_nothing(
    two: list[Any], join: Make, again: Make, wait_until: WaitUntil
) -> None:
    first = await join(acks=False)
    await subscribe(first, "news")
    for n in range(10):
        await two[0].push("topic", "news", data=n)
    await wait_until(lambda: first.numbers == list(range(10)))

    second = await again(first, on=1)
    await two[0].push("topic", "news", data=10)

    await wait_until(lambda: second.numbers[-1:] == [10])
    assert second.numbers == list(range(11)), "the first acknowledged nothing"
    await wait_until(lambda: first.ended_with == "taken_over")


@pytest_twisted.ensureDeferred
async def test_a_backend_subscribes_a_live_session_at_once(
    two: list[Any], join: Make, wait_until: WaitUntil
) -> None:
    """On whichever connector it is, whatever its window."""
    client = await join(on=1, acks=False, window=1)
    await two[0].push("token", token_of(client), data="unacknowledged")
    await wait_until(lambda: client.numbers == ["unacknowledged"])

    await two[0].topics.subscribe("private.vip", token_of(client))
    await two[0].push("topic", "private.vip", data="vip")
    await wait_until(lambda: client.kinds == ["follow"])
    client.ack_all()

    await wait_until(lambda: client.numbers == ["unacknowledged", "vip"])


# --- Unsubscribing -----------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_nothing_comes_after_the_answer_to_an_unsubscription(
    two: list[Any], join: Make, wait_until: WaitUntil
) -> None:
    client, other = await join(), await join(on=1)
    for each in (client, other):
        await subscribe(each, "news")

    assert await unsubscribe(client, "news") == {"ok": True}
    assert await unsubscribe(client, "news") == {"ok": True}
    for qos in (0, 1):
        await two[1].push("topic", "news", data=qos, qos=qos)
    await wait_until(lambda: sorted(other.numbers) == [0, 1])
    await two[1].push("all", data="end")
    await wait_until(lambda: "end" in client.numbers)

    assert client.numbers == ["end"]
    assert client.kinds == ["follow", "unfollow"]
    assert (await two[0].topics.get_topic("news")).devices == 1


@pytest_twisted.ensureDeferred
async def test_what_waited_for_a_device_that_unsubscribes_is_counted_and_never_comes(
    two: list[Any], join: Make, wait_until: WaitUntil
) -> None:
    """It was behind: a full window, and more in the log."""
    client = await join(acks=False, window=2)
    await subscribe(client, "news")
    sent = [await two[1].push("topic", "news", data=n) for n in range(5)]
    await wait_until(lambda: client.numbers == [0, 1])

    await unsubscribe(client, "news")
    await two[1].push("all", data="room")

    await wait_until(lambda: "room" in client.numbers)
    assert client.numbers == [0, 1, "room"]

    async def counted() -> bool:
        found = [await two[0].pushing.message(each.id) for each in sent]
        return all(each.addressed == sum(each.dropped.values()) == 1 for each in found)

    await wait_until(counted)
    found = await two[0].pushing.message(sent[4].id)
    assert (found.dropped, found.written) == ({"unsubscribed": 1}, 0)


@pytest_twisted.ensureDeferred
async def test_room_that_the_end_of_a_stream_makes_is_for_the_others(
    two: list[Any], join: Make, wait_until: WaitUntil
) -> None:
    """More than half of its window is taken, so what is behind waits for room."""
    client = await join(acks=False, window=4)
    await subscribe(client, "news")
    for n in range(4):
        await two[1].push("topic", "news", data=n)
    await wait_until(lambda: client.numbers == [0, 1, 2, 3])
    await two[1].push("all", data="late")
    [device] = two[0].gateway.sessions.values()
    await wait_until(lambda: not device.subscriptions["all"].live)
    client.ack(next(each for each in client.pushes if each.message_id))
    await wait_until(lambda: device.protocol.window.used == 3)

    await unsubscribe(client, "news")

    await wait_until(lambda: client.numbers == [0, 1, 2, 3, "late"])
    await two[1].push("all", data="room")
    await wait_until(lambda: client.numbers == [0, 1, 2, 3, "late", "room"])


@pytest_twisted.ensureDeferred
async def test_subscribed_again_it_begins_anew(
    two: list[Any], join: Make, again: Make, wait_until: WaitUntil
) -> None:
    """Also when the device was away for all of it."""
    first = await join()
    token = token_of(first)
    await subscribe(first, "news")
    first.transport.loseConnection()
    await wait_until(lambda: not two[0].gateway.connections)
    await two[0].push("topic", "news", data="before")
    await two[0].topics.unsubscribe("news", token)
    await two[0].push("topic", "news", data="between")
    await two[0].topics.subscribe("news", token)
    await two[0].push("topic", "news", data="after")

    second = await again(first, on=1)

    await wait_until(lambda: second.numbers)
    await two[0].push("topic", "news", data="end")
    await wait_until(lambda: second.numbers[-1] == "end")
    assert second.numbers == ["after", "end"]


@pytest_twisted.ensureDeferred
async def test_a_backend_unsubscribes_a_live_session(
    two: list[Any], join: Make, wait_until: WaitUntil
) -> None:
    client = await join(on=1)
    await subscribe(client, "news")

    assert (await two[0].topics.unsubscribe("news", token_of(client))).changed
    assert not (await two[0].topics.unsubscribe("news", token_of(client))).changed

    await wait_until(lambda: client.kinds == ["follow", "unfollow"])
    with pytest.raises(RequestError, match="not_found"):
        await two[0].topics.get_topic("news")


@pytest_twisted.ensureDeferred
async def test_a_deleted_device_follows_nothing_and_a_binding_changes_no_topic(
    two: list[Any], join: Make, wait_until: WaitUntil
) -> None:
    client, other = await join(), await join()
    for each in (client, other):
        await subscribe(each, "news")
    waits = await two[0].push("topic", "news", data=1)
    await two[1].devices.bind("alice", token_of(other))
    await two[1].devices.unbind("alice", token_of(other))

    await two[1].devices.forget(token_of(client))

    assert (await two[0].topics.get_topic("news")).devices == 1
    assert (await two[0].devices.get(token_of(other))).topics == ["news"]
    await two[0].push("topic", "news", data=2)
    await wait_until(lambda: other.numbers == [1, 2])
    await two[1].devices.forget(token_of(other))
    page = await two[0].topics.find_topics()
    assert page.topics == []
    assert (await two[0].pushing.message(waits.id)).addressed == 2


# --- Who may -----------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_a_private_topic_is_for_whom_a_jwt_names_it(
    two: list[Any], join: Make, again: Make, wait_until: WaitUntil
) -> None:
    client = await join()
    refused = await subscribe(client, "private.alice")
    assert (refused["ok"], refused["code"], refused["field"]) == (False, "not_allowed", "topic")
    client = await again(client, jwt=jwt_of(topics=["private.bob", "public"]))
    assert (await subscribe(client, "private.alice"))["code"] == "not_allowed"
    asked = client.send(Signal.AUTH, {"jwt": jwt_of(topics=["private.alice"])})
    assert json.loads((await client.answer(Signal.AUTH, asked)).body)["ok"]

    assert (await subscribe(client, "private.alice"))["ok"]
    assert (await subscribe(client, "private.bob"))["code"] == "not_allowed"

    # A later JWT, or none, ends nothing; leaving is always allowed.
    client = await again(client, on=1)
    await two[0].push("topic", "private.alice", data=1)
    await wait_until(lambda: client.numbers == [1])
    assert (await unsubscribe(client, "private.alice"))["ok"]
    assert (await subscribe(client, "private.alice"))["code"] == "not_allowed"


@pytest_twisted.ensureDeferred
async def test_a_device_follows_only_so_many_topics(make_node: Make, urls: Any, dial: Make) -> None:
    node = await make_node(urls, max_topics=3)
    node.listen()
    client, guest = await dial(node), await dial(node)
    pair = await client.register()
    await client.connect()
    await guest.connect(jwt=jwt_of())
    for who in (client, guest):
        for topic in "abc":
            assert (await subscribe(who, topic))["ok"]

        refused = await subscribe(who, "d")
        assert (refused["ok"], refused["code"]) == (False, "not_allowed")
        assert (await subscribe(who, "a"))["ok"], "it follows that one already"
        await unsubscribe(who, "b")
        assert (await subscribe(who, "d"))["ok"]

    with pytest.raises(RequestError, match="not_allowed"):
        await node.topics.subscribe("e", pair["token"])
    assert (await node.devices.get(pair["token"])).topics == ["a", "c", "d"]


@pytest.mark.parametrize("topic", ["", ".", "..", "a/b", "a b", "x" * 129, "a\n", 1, None])
@pytest_twisted.ensureDeferred
async def test_a_topic_that_is_no_name_is_invalid(device: Make, topic: Any) -> None:
    client = await device()
    for name in (RequestName.TS, RequestName.TU):
        refused = await ask(client, name, topic)
        assert (refused["ok"], refused["code"], refused["field"]) == (False, "invalid", "topic")


# --- A user without a device -------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_of_a_user_without_a_device_the_subscription_is_the_sessions(
    two: list[Any], dial: Make, wait_until: WaitUntil
) -> None:
    client = await dial(two[0], acks=True)
    await client.connect(jwt=jwt_of(topics=["private.a"]))
    await two[1].push("topic", "private.a", data="before")

    assert await subscribe(client, "private.a") == {"ok": True}
    assert await subscribe(client, "private.a") == {"ok": True}
    for turn, more in enumerate([{}, {"qos": 0}, {"ttl_seconds": 0}, {}]):
        await two[1].push("topic", "private.a", data=turn, **more)
    await wait_until(lambda: sorted(client.numbers) == [0, 1, 2, 3])
    assert client.kinds == ["follow"]
    with pytest.raises(RequestError, match="not_found"):
        await two[0].topics.get_topic("private.a")
    assert (await unsubscribe(client, "private.a"))["ok"]
    await two[1].push("topic", "private.a", data="gone")
    await two[1].push("all", data="end")
    await wait_until(lambda: client.numbers[-1] == "end")
    assert "gone" not in client.numbers
    assert client.kinds == ["follow", "unfollow"]

    await subscribe(client, "private.a")
    client.transport.loseConnection()
    await wait_until(lambda: not two[0].gateway.connections)
    second = await dial(two[1], acks=True)
    await second.connect(jwt=jwt_of())
    await two[1].push("topic", "private.a", data="not followed any more")
    await two[1].push("all", data="end")
    await wait_until(lambda: second.numbers == ["end"])


# --- Listing, the ledger, the rest -------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_topics_are_listed_in_pages_by_name(two: list[Any], join: Make) -> None:
    """Over all servers; a cursor is at most 256 bytes, and holds the longest name."""
    client, other = await join(), await join()
    long = "n" * 120
    names = sorted([*(f"t{n}" for n in range(12)), *(f"{long}{n}" for n in range(6)), "Z", "a"])
    for name in names:
        await two[0].topics.subscribe(name, token_of(client))
    await two[0].topics.subscribe("a", token_of(other))

    for limit in (1, 3, 50):
        found, cursor = [], ""
        while cursor is not None:
            page = await two[1].topics.find_topics(cursor, limit)
            found += page.topics
            cursor = page.cursor
            assert cursor is None or len(cursor) <= 256
        assert [each.topic for each in found] == names
        assert {each.topic: each.devices for each in found}["a"] == 2
    with pytest.raises(RequestError, match="invalid"):
        await two[1].topics.find_topics("~nonsense")
    for name in names:
        await two[0].topics.unsubscribe(name, token_of(client))
    left = await two[1].topics.find_topics()
    assert [(each.topic, each.devices) for each in left.topics] == [("a", 1)]


@pytest_twisted.ensureDeferred
async def test_sessions_are_found_by_topic(two: list[Any], join: Make, dial: Make) -> None:
    client, _ = await join(on=1), await join()
    guest = await dial(two[0])
    session = (await guest.connect(jwt=jwt_of()))["session"]
    await subscribe(client, "news")
    await subscribe(guest, "news")

    page = await two[0].session_queries.find(Filter(topic="news"))

    assert {(row.token, row.user) for row in page.connections} == {
        (token_of(client), None),
        (None, "alice"),
    }
    assert session in {row.session for row in page.connections}
    assert (await two[0].session_queries.find(Filter(topic="other"))).connections == []


@pytest_twisted.ensureDeferred
async def test_the_ledger_counts_the_devices_that_followed(
    two: list[Any], join: Make, wait_until: WaitUntil
) -> None:
    clients = [await join(on=turn % 2) for turn in range(4)]
    for client in clients[:3]:
        await subscribe(client, "news")
    clients[0].transport.loseConnection()
    await wait_until(lambda: len(two[0].gateway.connections) == 1)

    stored = await two[0].push("topic", "news", data=1)
    ephemeral = await two[0].push("topic", "news", data=2, ttl_seconds=0)
    nobody = await two[0].push("topic", "nobody", data=3)

    async def counted() -> bool:
        found = await two[1].pushing.message(stored.id)
        other = await two[1].pushing.message(ephemeral.id)
        return (found.acknowledged, other.acknowledged) == (2, 2)

    await wait_until(counted)
    found = await two[1].pushing.message(stored.id)
    assert (found.addressed, found.stored, found.written) == (3, 3, 2)
    assert bytes(found.to) == b'{"topic":"news"}'
    assert (await two[1].pushing.message(ephemeral.id)).addressed == 3
    assert (nobody.streams, nobody.online) == (1, 0)
    assert (await two[1].pushing.message(nobody.id)).addressed == 0
    with pytest.raises(RequestError, match="not_found"):
        await two[1].pushing.message_devices(stored.id)
    assert await two[1].pushing.cancel(stored.id) == 1
    assert (await two[1].pushing.message(stored.id)).cancelled == 1


@pytest_twisted.ensureDeferred
async def test_a_newer_message_of_a_topic_takes_the_place_of_an_older(
    two: list[Any], join: Make, again: Make, wait_until: WaitUntil
) -> None:
    first = await join()
    await subscribe(first, "score")
    first.transport.loseConnection()
    await wait_until(lambda: not two[0].gateway.connections)
    old = await two[0].push("topic", "score", data="0:0", collapse="s")
    await two[0].push("topic", "score", data="expires", ttl_seconds=1)
    taken_back = await two[0].push("topic", "score", data="cancelled")
    await two[0].push("topic", "score", data="1:0", collapse="s")
    assert await two[0].pushing.cancel(taken_back.id) == 1
    clock = two[0].shards.of("topic:score")
    await clock.command("SET", clock.key("clock"), clock.clock.now_us() + 2_000_000)

    second = await again(first, on=1)

    await wait_until(lambda: second.numbers)
    await two[0].push("topic", "score", data="end")
    await wait_until(lambda: second.numbers[-1] == "end")
    assert second.numbers == ["1:0", "end"]
    assert (await two[0].pushing.message(old.id)).dropped == {"collapsed": 1}


@pytest_twisted.ensureDeferred
async def test_many_subscribe_at_once_and_all_of_them_hear(
    two: list[Any], join: Make, wait_until: WaitUntil
) -> None:
    clients = [await join(on=turn % 2) for turn in range(20)]
    answers = await gatherResults(
        [Deferred.fromCoroutine(subscribe(c, t)) for c in clients for t in ("a", "b", "c")]
    )
    assert answers == [{"ok": True}] * 60

    for topic in "abc":
        await two[0].push("topic", topic, data=topic)

    for client in clients:
        await wait_until(lambda client=client: sorted(client.numbers) == ["a", "b", "c"])
    counts = [each.devices for each in (await two[0].topics.find_topics()).topics]
    assert counts == [20, 20, 20]


@pytest_twisted.ensureDeferred
async def test_what_was_left_undone_on_another_server_is_done_by_whoever_finds_it(
    make_node: Make, make_redis: Callable[..., Any], dial: Make, wait_until: WaitUntil
) -> None:
    """The API that subscribes a device ends between the two servers (rule 13)."""
    from twisted.internet import reactor

    urls = [make_redis().url, make_redis().url]
    node = await make_node(urls)
    node.listen()
    client = await dial(node, acks=True)
    token = (await client.register())["token"]
    home = node.shards.number_of(f"dev:{token}")
    topic = next(f"t{n}" for n in range(100) if node.shards.number_of(f"topic:t{n}") != home)
    broken = Outbox(node.shards)

    async def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    broken.run = killed  # type: ignore[method-assign]
    node.topics._outbox = broken
    with pytest.raises(KeyboardInterrupt):
        await node.topics.subscribe(topic, token)
    with pytest.raises(RequestError, match="not_found"):
        await node.topics.get_topic(topic)
    assert (await node.devices.get(token)).topics == [topic]

    await OutboxRelay(reactor, node.shards[home], Outbox(node.shards)).do_due()
    # It is not due before a second has passed: its clock is set on instead of waiting.
    server = node.shards[home]
    await server.command("SET", server.key("clock"), server.clock.now_us() + 5_000_000)
    await OutboxRelay(reactor, server, Outbox(node.shards)).do_due()

    assert (await node.topics.get_topic(topic)).devices == 1
    await node.push("topic", topic, data=1)
    await client.connect()
    await wait_until(lambda: client.numbers == [1])


# --- Trouble -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["device", "user"])
@pytest_twisted.ensureDeferred
async def test_the_answer_waits_until_the_channel_is_heard(
    device: Make, node: Any, dial: Make, wait_until: WaitUntil, kind: str
) -> None:
    """What is in no log would be lost otherwise. Who goes away meanwhile leaves nothing behind."""
    subscribe, waiting = node.store.channels.subscribe, []

    def slow_to_hear(name: str, handler: Any) -> Deferred[None]:
        if not name.startswith("live:topic:"):
            return subscribe(name, handler)
        confirmed: Deferred[None] = Deferred()
        waiting.append((confirmed, name, handler))
        return confirmed

    clients = []
    for _ in range(2):
        client = await dial(node, acks=True)
        await client.register()
        await client.connect(**({"jwt": jwt_of()} if kind == "user" else {}))
        clients.append(client)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(node.store.channels, "subscribe", slow_to_hear)
        asked = send(clients[0], RequestName.TS, {"topic": "news"})
        send(clients[1], RequestName.TS, {"topic": "other"})
        await wait_until(lambda: len(waiting) == 2)
        await node.push("all", data="meanwhile")
        await wait_until(lambda: clients[0].numbers == ["meanwhile"])
        assert not clients[0].of(Signal.PUB_ACK)
        clients[1].transport.loseConnection()
        await wait_until(lambda: len(node.gateway.connections) == 1)
        next(each for each in waiting if each[1].endswith("other"))[0].callback(None)  # as `drop`
    confirmed, name, handler = next(each for each in waiting if each[1].endswith("news"))
    await subscribe(name, handler)
    confirmed.callback(None)

    assert json.loads((await clients[0].answer(Signal.PUB_ACK, asked)).body) == {"ok": True}
    await node.push("topic", "news", data="qos 0", qos=0)
    await wait_until(lambda: "qos 0" in clients[0].numbers)
    assert set(node.hub.channels) & {"topic:news", "topic:other"} == {"topic:news"}
    stopped = Deferred.fromCoroutine(node.stop_gateway())
    await wait_until(lambda: stopped.called)


@pytest_twisted.ensureDeferred
async def test_redis_away_is_unavailable_and_asked_again_it_holds(
    make_node: Make, make_redis: Make, dial: Make, wait_until: WaitUntil
) -> None:
    redis = make_redis(fsync="always")
    node = await make_node(redis.url)
    node.listen()
    client = await dial(node, acks=True)
    await client.register()
    await client.connect()
    redis.kill()

    refused = await subscribe(client, "news")

    assert (refused["ok"], refused["code"]) == (False, "unavailable")
    assert refused["after"] > 0
    redis.start()
    await wait_until(lambda: not node.shards.problems)
    assert (await subscribe(client, "news"))["ok"]
    await node.push("topic", "news", data=1)
    await wait_until(lambda: client.numbers == [1])


@pytest_twisted.ensureDeferred
async def test_a_record_is_read_once_after_a_change_of_its_own_session(
    make_node: Make, redis_url: str, dial: Make, wait_until: WaitUntil
) -> None:
    """By the answer of the script, or by the notice that comes with it: not by both."""
    node = await make_node(redis_url)
    node.listen()
    client = await dial(node, acks=True)
    await client.register()
    await client.connect()
    [home] = node.shards

    async def reads() -> int:
        stats = (await home.command("INFO", "commandstats")).decode()
        [line] = [line for line in stats.splitlines() if line.startswith("cmdstat_hgetall:")]
        return int(line.removeprefix("cmdstat_hgetall:calls=").partition(",")[0])

    assert (await subscribe(client, "news"))["ok"]
    before = await reads()
    for number in range(10):
        assert (await subscribe(client, f"topic{number}"))["ok"]
        assert (await unsubscribe(client, "news" if number == 0 else f"topic{number - 1}"))["ok"]

    assert 20 <= await reads() - before < 30  # once for each, and once more for a few
    await node.push("topic", "topic9", data=1)
    await wait_until(lambda: client.numbers == [1])
