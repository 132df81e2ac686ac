"""What is told of a session in its last moments: nothing that happened goes uncounted."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted

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
