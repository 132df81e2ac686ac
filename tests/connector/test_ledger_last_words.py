"""What is told of a session in its last moments: nothing that happened goes uncounted."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, gatherResults

from push.wire.api.groups import NewGroup
from push.wire.signals import Signal
from tests.connector.ledger_book import Book, Make, WaitUntil, book, token_of

__all__ = ["book"]  # a fixture


@pytest.mark.parametrize("how", ["deleted", "unbound"])
@pytest_twisted.ensureDeferred
async def test_what_was_written_just_before_a_device_went_is_counted_as_written(
    node: Any, book: Book, device: Make, wait_until: WaitUntil, how: str
) -> None:
    client = await device()
    await node.devices.bind("anna", token_of(client))
    await wait_until(lambda: client.kinds == ["follow"])
    sent = await node.push("user", "anna", data=1)
    await wait_until(lambda: client.numbers == [1])
    if how == "deleted":
        await node.devices.forget(token_of(client))
        await book.settles(sent.id, written=1, forgotten=1)
    else:
        await node.devices.unbind("anna", token_of(client))
        await book.settles(sent.id, written=1, unbound=1)


HOWS = {"topic": "unsubscribed", "group": "removed", "user": "unbound", "deleted": "forgotten"}


@pytest.fixture
def leaving(node: Any) -> Make:
    """`await leaving(how, token)`: whom to push to that the device follows, and what ends that."""

    async def make(how: str, token: str) -> tuple[tuple[str, str], Callable[[], Awaitable[Any]]]:
        if how == "group":
            group = (await node.chat.groups.create("olga", NewGroup("g"))).group
            await node.devices.bind("anna", token)
            await node.chat.groups.add(group, ["anna"], None)
            return ("group", group), lambda: node.chat.groups.remove(group, ["anna"], None)
        if how == "user":
            await node.devices.bind("anna", token)
            return ("user", "anna"), lambda: node.devices.unbind("anna", token)
        await node.topics.subscribe("news", token)
        if how == "deleted":
            return ("topic", "news"), lambda: node.devices.forget(token)
        return ("topic", "news"), lambda: node.topics.unsubscribe("news", token)

    return make


def acknowledge(client: Any, data: Any) -> None:
    """The message with this `data`."""
    bodies = [json.loads(frame.body) for frame in client.pushes]
    (place,) = [place for place, body in enumerate(bodies) if body.get("data") == data]
    client.ack(client.pushes[place])


async def read(client: Any) -> None:
    """The connector has read all that the client has sent."""
    await client.answer(Signal.PING, client.send(Signal.PING))


@pytest.mark.parametrize("how", HOWS)
@pytest_twisted.ensureDeferred
async def test_what_was_acknowledged_just_before_a_stream_ended_is_counted(
    node: Any, book: Book, device: Make, leaving: Make, wait_until: WaitUntil, how: str
) -> None:
    """Also what was acknowledged behind one that was not, at which the cursor stands."""
    client = await device()
    to, leave = await leaving(how, token_of(client))
    sent = [(await node.push(*to, data=number)).id for number in range(4)]
    await wait_until(lambda: client.numbers == [*range(4)])
    # When a device is deleted its connection ends, and with it what the cursor has not passed.
    acknowledged = (0, 1) if how == "deleted" else (0, 1, 3)
    for number in acknowledged:
        acknowledge(client, number)
    await read(client)
    await leave()

    for number, id in enumerate(sent):
        if number in acknowledged:
            await book.settles(id, written=1, acknowledged=1)
        else:
            await book.settles(id, written=1, **{HOWS[how]: 1})


@pytest.mark.parametrize("how", ["topic", "group", "user"])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest_twisted.ensureDeferred
async def test_it_replaces_what_was_counted_when_the_message_left_the_log(
    node: Any,
    book: Book,
    device: Make,
    leaving: Make,
    wait_until: WaitUntil,
    how: str,
    when: str,
) -> None:
    """It is cancelled before the stream ends, or between that and the session's last words."""
    client = await device()
    to, leave = await leaving(how, token_of(client))
    sent = [(await node.push(*to, data=number)).id for number in range(2)]
    await wait_until(lambda: client.numbers == [*range(2)])
    acknowledge(client, 1)  # behind one that is not acknowledged: it is not stored
    await read(client)
    if when == "before":
        await node.pushing.cancel(sent[1])
        await leave()
    else:
        await gatherResults(
            [Deferred.fromCoroutine(leave()), Deferred.fromCoroutine(node.pushing.cancel(sent[1]))]
        )

    await book.settles(sent[1], written=1, acknowledged=1)
    await book.settles(sent[0], written=1, **{HOWS[how]: 1})


@pytest.mark.parametrize("how", ["topic", "group", "user"])
@pytest_twisted.ensureDeferred
async def test_it_is_counted_once_however_often_a_stream_ends_and_begins(
    node: Any, book: Book, device: Make, leaving: Make, wait_until: WaitUntil, how: str
) -> None:
    client = await device()
    token = token_of(client)
    to, leave = await leaving(how, token)

    async def come_back() -> None:
        if how == "topic":
            await node.topics.subscribe("news", token)
        elif how == "group":
            await node.chat.groups.add(to[1], ["anna"], None)
        else:
            await node.devices.bind("anna", token)

    kept, dropped = [], []
    for number in range(4):
        kept.append((await node.push(*to, data=[number, "kept"])).id)
        dropped.append((await node.push(*to, data=[number, "dropped"])).id)
        await wait_until(lambda number=number: [number, "dropped"] in client.numbers)
        acknowledge(client, [number, "kept"])
        await read(client)
        await leave()
        await come_back()

    for id in kept:
        await book.settles(id, written=1, acknowledged=1)
    for id in dropped:
        await book.settles(id, written=1, **{HOWS[how]: 1})


@pytest_twisted.ensureDeferred
async def test_what_was_acknowledged_just_before_a_take_over_is_counted(
    node: Any, book: Book, device: Make, dial: Make, wait_until: WaitUntil
) -> None:
    first = await device()
    sent = await node.push("token", token_of(first), data=1)
    await wait_until(lambda: first.numbers == [1])
    first.ack_all()
    second = await dial(node)
    await second.connect(**first._credentials)

    await book.settles(sent.id, written=1, acknowledged=1)


@pytest_twisted.ensureDeferred
async def test_what_was_dropped_is_not_found_in_a_connectors_memory(
    make_node: Make, redis_url: str, device: Make, dial: Make, wait_until: WaitUntil
) -> None:
    """Others of the stream are online, so that its latest messages are kept in memory."""
    node = await make_node(redis_url, retention={"shared_max_messages": 6})
    node.listen()
    away = await device(on=node)
    others = [await device(acks=True, on=node) for _ in range(4)]
    away.transport.loseConnection()
    await wait_until(lambda: len(node.gateway.sessions) == 4)
    for n in range(10):
        await node.push("all", data=n)
    await wait_until(lambda: all(len(other.numbers) == 10 for other in others))

    back = await dial(node, acks=True)
    accepted = await back.connect(**away._credentials)

    await wait_until(lambda: len(back.numbers) >= 6)
    assert accepted["truncated"] == ["all"]
    assert back.kinds == ["truncated"]
    assert back.numbers == [4, 5, 6, 7, 8, 9]


@pytest_twisted.ensureDeferred
async def test_a_backlog_is_what_waits_in_all_streams_of_a_device(
    node: Any, device: Make, wait_until: WaitUntil
) -> None:
    client = await device()
    token = token_of(client)
    await node.devices.bind("anna", token)
    client.transport.loseConnection()
    await wait_until(lambda: not node.gateway.sessions)
    for target in (("all",), ("user", "anna"), ("token", token), ("token", token)):
        await node.push(*target, data=1)
    assert (await node.devices.get(token)).backlog == 4
