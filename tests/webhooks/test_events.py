"""Which events there are, and what they say."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec
import pytest_twisted

from push.redis.keyspace import LEDGER_TRACE, message_name
from push.wire.api.groups import GroupChanges, MemberChange, NewGroup
from push.wire.api.operate.webhooks import WEBHOOK_TYPES
from tests.connector.conftest import Client, Dial, Node
from tests.waiting import WaitUntil
from tests.webhooks.conftest import MakeWorld, Receiver, World, say

DEVICE = ("device.online", "device.offline")
MESSAGE = ("message.acknowledged", "message.expired", "message.dropped")


async def register(world: World) -> dict[str, str]:
    pair = await world.node.devices.register(platform="p", app="a", ip="1.2.3.4")
    return {"token": pair.token, "secret": pair.secret}


async def connect(world: World, dial: Dial, pair: dict[str, str], *, acks: bool = True) -> Client:
    if not world.node.ports:
        world.node.listen()
    client = await dial(world.node, acks=acks)
    accepted = await client.connect(**pair)
    assert accepted["session"]
    return client


async def leave(client: Client, wait_until: WaitUntil) -> None:
    client.transport.loseConnection()
    await wait_until(lambda: client.closed)


def kinds(receiver: Receiver) -> list[str]:
    return [event["type"] for event in receiver.events]


# Devices


@pytest_twisted.ensureDeferred
async def test_a_device_comes_online_and_goes_offline(
    world: World, receiver: Receiver, dial: Dial, wait_until: WaitUntil
) -> None:
    pair = await register(world)
    await world.node.devices.bind("anna", pair["token"])
    client = await connect(world, dial, pair)
    await wait_until(lambda: kinds(receiver) == ["device.online"])
    await leave(client, wait_until)
    await wait_until(lambda: kinds(receiver) == ["device.online", "device.offline"])
    online, offline = receiver.events
    assert (online["seq"], offline["seq"]) == (1, 2)
    assert online["source"] == offline["source"] == f"device:{pair['token']}"
    assert (
        online["data"].items()
        >= {
            "token": pair["token"],
            "user": "anna",
            "node": "node",
        }.items()
    )
    assert offline["data"]["user"] == "anna"
    await connect(world, dial, pair)
    await wait_until(lambda: len(receiver.received) == 3)
    assert receiver.events[2]["seq"] == 3


@pytest_twisted.ensureDeferred
async def test_a_device_that_is_back_within_the_grace_time_was_online_all_the_time(
    make_world: MakeWorld, receiver: Receiver, dial: Dial, wait_until: WaitUntil
) -> None:
    world = await make_world(types=DEVICE, offline_after_seconds=3600)
    world.deliver()
    pair, other = await register(world), await register(world)
    for _ in range(3):
        client = await connect(world, dial, pair)
        await leave(client, wait_until)
        await wait_until(lambda: offline_queue(world, 1))
    client = await connect(world, dial, pair)
    await wait_until(lambda: offline_queue(world, 0))
    await connect(world, dial, pair)  # takes the session over
    await wait_until(lambda: client.closed)
    await connect(world, dial, other)
    await wait_until(lambda: len(receiver.received) == 2)
    assert [event["data"]["token"] for event in receiver.events] == [pair["token"], other["token"]]


async def offline_queue(world: World, count: int) -> bool:
    store = world.node.store
    return bool(await store.command("ZCARD", store.key("webhook-offline")) == count)


@pytest_twisted.ensureDeferred
async def test_the_devices_of_a_connector_that_was_killed_are_told_offline(
    make_world: MakeWorld, receiver: Receiver, dial: Dial, wait_until: WaitUntil
) -> None:
    world = await make_world(types=DEVICE)
    pairs = [await register(world) for _ in range(3)]
    for pair in pairs:
        await connect(world, dial, pair)
    world.node.boots.discard(world.node.boot)  # as the registry sees it
    service = world.deliver()
    service._presence[0]._may_live = lambda boot: False
    await wait_until(lambda: len(receiver.of("device.offline")) == 3)
    told = {event["data"]["token"] for event in receiver.of("device.offline")}
    assert told == {pair["token"] for pair in pairs}


@pytest_twisted.ensureDeferred
async def test_the_devices_of_a_connector_that_was_only_paused_are_told_online_again(
    make_world: MakeWorld, receiver: Receiver, dial: Dial, wait_until: WaitUntil
) -> None:
    world = await make_world(types=DEVICE)
    pairs = [await register(world) for _ in range(3)]
    clients = [await connect(world, dial, pair) for pair in pairs]
    service = world.deliver()
    is_live = service._presence[0]._may_live
    service._presence[0]._may_live = lambda boot: False
    await wait_until(lambda: len(receiver.of("device.offline")) == 3)
    await leave(clients[2], wait_until)  # meanwhile
    await world.node.gateway.until_ended_are_done()

    service._presence[0]._may_live = is_live

    await wait_until(lambda: len(receiver.of("device.online")) == 5)
    for pair in pairs:
        told = [e["type"] for e in receiver.events if e["data"]["token"] == pair["token"]]
        is_back = pair is not pairs[2]
        assert told == ["device.online", "device.offline", *["device.online"] * is_back]
    await leave(clients[0], wait_until)
    await wait_until(lambda: len(receiver.of("device.offline")) == 4)


@pytest_twisted.ensureDeferred
async def test_sessions_that_were_there_before_somebody_asked_are_watched_too(
    make_world: MakeWorld, receiver: Receiver, dial: Dial, wait_until: WaitUntil
) -> None:
    world = await make_world(types=("chat.message",))
    pair = await register(world)
    await connect(world, dial, pair)
    await world.webhooks.store.change(
        "config-test",
        lambda found: found and msgspec.structs.replace(found, types=list(DEVICE)),
    )
    world.settings = msgspec.structs.replace(
        world.settings,
        endpoints=(msgspec.structs.replace(world.settings.endpoints[0], types=DEVICE),),
    )
    world.webhooks.store._settings = world.settings
    service = world.deliver()
    online = world.node.store.key("webhook-online")
    await wait_until(lambda: world.node.store.command("ZCARD", online))
    service._presence[0]._may_live = lambda boot: False
    await wait_until(lambda: kinds(receiver) == ["device.offline"])


@pytest_twisted.ensureDeferred
async def test_a_device_that_is_deleted_while_it_is_online_is_told_offline(
    world: World, receiver: Receiver, dial: Dial, wait_until: WaitUntil
) -> None:
    pair = await register(world)
    await connect(world, dial, pair)
    await world.node.devices.forget(pair["token"])
    await wait_until(lambda: kinds(receiver) == ["device.online", "device.offline"])


@pytest_twisted.ensureDeferred
async def test_of_states_only_the_last_is_tried_again(
    make_world: MakeWorld, receiver: Receiver, dial: Dial, wait_until: WaitUntil
) -> None:
    world = await make_world(types=DEVICE, retries_seconds=(2,) * 7)
    world.deliver()
    receiver.answer = 500
    pair = await register(world)
    for told in ({1, 2}, {1, 2, 3, 4}):
        client = await connect(world, dial, pair)
        await leave(client, wait_until)
        # One that connects again before it is told offline was online all the time.
        await wait_until(lambda told=told: {event["seq"] for event in receiver.events} >= told)
    receiver.answer = 204
    await wait_until(lambda: nothing_waits(world))
    delivered = [event["seq"] for event in receiver.events]
    assert delivered[-1] == 4
    assert delivered.count(4) >= 2
    assert (await world.endpoint()).lost == 0


async def nothing_waits(world: World) -> bool:
    return bool((await world.endpoint()).waiting == 0)


# Messages


@pytest_twisted.ensureDeferred
async def test_what_became_of_a_message_to_devices_and_users_is_told_for_each_device(
    make_world: MakeWorld, receiver: Receiver, dial: Dial, wait_until: WaitUntil
) -> None:
    world = await make_world(types=MESSAGE)
    world.deliver()
    first, second = await register(world), await register(world)
    for pair in (first, second):
        await world.node.devices.bind("anna", pair["token"])
        await connect(world, dial, pair)
    sent = await world.node.push("user", "anna", data=1)
    await wait_until(lambda: len(receiver.received) == 2)
    assert [event["type"] for event in receiver.events] == ["message.acknowledged"] * 2
    assert [event["seq"] for event in receiver.events] == [1, 2]
    assert {event["source"] for event in receiver.events} == {f"message:{sent.id}"}
    tokens = {first["token"], second["token"]}
    assert {event["data"]["token"] for event in receiver.events} == tokens
    assert (
        receiver.events[0]["data"].items()
        >= {
            "message": sent.id,
            "user": "anna",
            "reason": None,
        }.items()
    )
    sent = await world.node.push("token", first["token"], data=2)
    await wait_until(lambda: len(receiver.received) == 3)
    assert receiver.events[2]["data"] == {
        "message": sent.id,
        "token": first["token"],
        "user": None,
        "reason": None,
    }


@pytest_twisted.ensureDeferred
async def test_the_trace_of_a_message_goes_with_its_events(
    make_world: MakeWorld, receiver: Receiver, dial: Dial, wait_until: WaitUntil
) -> None:
    world = await make_world(types=MESSAGE)
    world.deliver()
    pair = await register(world)
    other = await world.node.push("token", pair["token"], data=1)
    sent = await world.node.push("token", pair["token"], data=2)
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    key = world.node.store.key(message_name(sent.id))
    await world.node.store.command("HSET", key, LEDGER_TRACE, trace)
    await connect(world, dial, pair)
    await wait_until(lambda: len(receiver.received) == 2)
    # Two messages are two sources: their events may overtake each other.
    traces = {
        one.json()["data"]["message"]: one.headers.get("traceparent") for one in receiver.received
    }
    assert traces == {other.id: None, sent.id: trace}


@pytest_twisted.ensureDeferred
async def test_messages_to_topics_and_to_everyone_have_no_events(
    make_world: MakeWorld, receiver: Receiver, dial: Dial, wait_until: WaitUntil
) -> None:
    world = await make_world(types=MESSAGE)
    world.deliver()
    pair = await register(world)
    await world.node.topics.subscribe("news", pair["token"])
    client = await connect(world, dial, pair)
    await world.node.push("all", data=1)
    await world.node.push("topic", "news", data=2)
    await wait_until(lambda: len(client.pushes) == 2)
    last = await world.node.push("token", pair["token"], data=3)
    await wait_until(lambda: receiver.received)
    assert [event["data"]["message"] for event in receiver.events] == [last.id]


@pytest_twisted.ensureDeferred
async def test_expiry_and_drops_are_told_with_the_reason(
    make_world: MakeWorld, receiver: Receiver, wait_until: WaitUntil
) -> None:
    world = await make_world(types=MESSAGE)
    world.deliver()
    pair = await register(world)
    await world.node.push("token", pair["token"], data=1, collapse="score")
    newer = await world.node.push("token", pair["token"], data=2, collapse="score", ttl_seconds=1)
    gone = await world.node.push("token", pair["token"], data=3)
    assert await world.node.pushing.cancel(gone.id) == 1
    await wait_until(lambda: len(receiver.received) == 2)
    dropped, expired = receiver.events
    assert (dropped["type"], dropped["data"]["reason"]) == ("message.dropped", "collapsed")
    assert (expired["type"], expired["data"]["message"]) == ("message.expired", newer.id)
    await world.node.push("token", pair["token"], data=4)
    await world.node.devices.forget(pair["token"])
    await wait_until(lambda: len(receiver.received) == 3)
    assert receiver.events[2]["data"]["reason"] == "forgotten"


# Chat


@pytest_twisted.ensureDeferred
async def test_messages_in_groups_and_of_devices_are_told(
    make_world: MakeWorld, receiver: Receiver, dial: Dial, wait_until: WaitUntil
) -> None:
    world = await make_world(types=("chat.message",))
    world.deliver()
    pair = await register(world)
    await world.node.devices.bind("anna", pair["token"])
    client = await connect(world, dial, pair)
    group = (await world.node.chat.groups.create("anna", NewGroup("g", members=["bob"]))).group
    answer = await client.ask("MS", to={"group": group}, data={"text": "hi"}, mentions=["bob"])
    assert answer["ok"]
    again = await client.ask("MS", to={"user": "bob"}, data=1, client_id="same")
    assert again == await client.ask("MS", to={"user": "bob"}, data=1, client_id="same")
    await wait_until(lambda: len(receiver.received) == 2)
    # In any order: only the events of one source go one after the other.
    told_of = {each["source"]: each for each in receiver.events}
    assert told_of.keys() == {f"conversation:group:{group}", "conversation:chat:anna,bob"}
    told = told_of[f"conversation:group:{group}"]
    assert told["data"]["conversation"] == f"group:{group}"
    assert (told["data"]["data"], told["data"]["mentions"]) == ({"text": "hi"}, ["bob"])
    assert told["seq"] == told["data"]["seq"] == answer["seq"]


@pytest_twisted.ensureDeferred
async def test_every_change_of_a_group_is_told_once(
    make_world: MakeWorld, receiver: Receiver, wait_until: WaitUntil
) -> None:
    world = await make_world(types=("group.changed",))
    world.deliver()
    groups = world.node.chat.groups
    group = (await groups.create("anna", NewGroup("g", members=["bob"]))).group
    await groups.add(group, ["carol", "dave"], "anna")
    await groups.change(group, GroupChanges(name="new"), None)
    await groups.change(group, GroupChanges(member=MemberChange(user="bob", role="admin")), "anna")
    await groups.remove(group, ["carol"], "bob")
    await groups.leave(group, "dave")
    await groups.dismiss(group, "anna")
    await wait_until(lambda: len(receiver.received) == 7)
    told = [(event["data"]["event"], event["data"]["by"]) for event in receiver.events]
    assert told == [
        ("created", "anna"),
        ("added", "anna"),
        ("changed", None),
        ("role", "anna"),
        ("removed", "bob"),
        ("left", "dave"),
        ("dismissed", "anna"),
    ]
    assert [event["seq"] for event in receiver.events] == list(range(1, 8))
    assert {event["source"] for event in receiver.events} == {f"group:{group}"}
    assert receiver.events[1]["data"]["users"] == ["carol", "dave"]


# Nobody


@pytest_twisted.ensureDeferred
async def test_where_nobody_wants_an_event_nothing_is_written(
    make_node: Callable[..., Awaitable[Node]], redis_url: str, dial: Dial, wait_until: WaitUntil
) -> None:
    node = await make_node(redis_url)
    node.listen()
    client = await dial(node, acks=True)
    pair = await client.register()
    await client.connect()
    await node.push("token", pair["token"], data=1)
    await node.chat.groups.create("anna", NewGroup("g", members=["bob"]))
    await wait_until(lambda: client.numbers == [1])
    await leave(client, wait_until)
    await wait_until(lambda: offline(node, pair["token"]))
    keys = [key.decode() for key in await node.store.command("KEYS", "*")]
    assert [key for key in keys if "webhook" in key] == []
    assert {"w", "q"} & (await node.record(pair["token"])).keys() == set()


async def offline(node: Node, token: str) -> bool:
    return "s" not in await node.record(token)


@pytest_twisted.ensureDeferred
async def test_an_endpoint_gets_only_the_types_that_it_wants(
    make_world: MakeWorld, receiver: Receiver, wait_until: WaitUntil
) -> None:
    world = await make_world(types=("group.changed",))
    world.deliver()
    await say(world, "hello")
    await world.node.chat.groups.create("anna", NewGroup("g", members=["bob"]))
    await wait_until(lambda: receiver.received)
    assert kinds(receiver) == ["group.changed"]


def test_the_types_are_those_of_the_contract() -> None:
    wanted = {*DEVICE, *MESSAGE, "chat.message", "group.changed"}
    assert set(WEBHOOK_TYPES) == wanted
