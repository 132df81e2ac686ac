"""The ledger from end to end: what was acknowledged, and what was so late."""

from __future__ import annotations

import time
from typing import Any

import jwt
import pytest
import pytest_twisted

from push.streams.cursors.writer import CursorWriter
from tests.connector.ledger_book import (
    KINDS,
    Book,
    Make,
    WaitUntil,
    book,
    make_book,
    restless,
    target,
    token_of,
)

__all__ = ["book", "make_book", "restless", "target"]  # fixtures

JWT_SECRET = b"a secret of at least thirty-two bytes"  # as in conftest.py


# --- Acknowledged -----


@KINDS
@pytest_twisted.ensureDeferred
async def test_a_message_that_is_acknowledged_leaves_nothing_in_a_devices_log(
    book: Book, device: Make, target: Make, node: Any, kind: str
) -> None:
    to = await target(kind, await device(acks=True))
    sent = await node.push(*to, data=1, collapse="k")

    await book.settles(sent.id, written=1, acknowledged=1)
    assert await book.keys("log:dev:", "collapse:dev:", "lost:") == []


@KINDS
@pytest_twisted.ensureDeferred
async def test_a_message_is_counted_once_however_often_it_is_sent_and_acknowledged(
    restless: Make,
    make_book: Any,
    device: Make,
    dial: Make,
    wait_until: WaitUntil,
    target: Make,
    kind: str,
) -> None:
    node = await restless()
    book = make_book(node)
    first = await device(on=node)
    to = await target(kind, first, node)
    sent = await node.push(*to, data=1)
    await wait_until(lambda: len(first.numbers) >= 3)
    second = await dial(node)
    await second.connect(**first._credentials)
    await wait_until(lambda: len(second.numbers) >= 2 and first.ended_with == "taken_over")
    second.acks = True
    second.ack_all()
    second.ack_all()

    await book.settles(sent.id, written=1, acknowledged=1)
    other = await node.push(*to, data=2)
    await book.settles(other.id, written=1, acknowledged=1)
    assert (await book.funnel(sent.id))["acknowledged"] == 1


@pytest_twisted.ensureDeferred
async def test_what_was_acknowledged_before_a_take_over_and_again_after_it_counts_once(
    book: Book,
    node: Any,
    device: Make,
    dial: Make,
    wait_until: WaitUntil,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The cursor of the first session never is stored: the second gets the messages again."""
    first = await device(acks=True)
    with monkeypatch.context() as patch:
        patch.setattr(CursorWriter, "moved", lambda *_: None)
        sent = [await node.push("all", data=n) for n in range(3)]
        await wait_until(lambda: len(first.numbers) == 3)
        second = await dial(node, acks=True)
        await second.connect(**first._credentials)
        await wait_until(lambda: first.closed)
    await wait_until(lambda: len(second.numbers) == 3)
    last = await node.push("all", data=3)

    for published in [*sent, last]:
        await book.settles(published.id, written=1, acknowledged=1)


@pytest_twisted.ensureDeferred
async def test_a_cursor_of_the_client_that_is_ahead_acknowledges_what_is_behind_it(
    book: Book, node: Any, device: Make, dial: Make, wait_until: WaitUntil
) -> None:
    first = await device()
    token = token_of(first)
    sent = [await node.push(*to, data=0) for to in (("all",), ("token", token)) for _ in range(2)]
    await wait_until(lambda: len(first.numbers) == 4)
    await book.settles(sent[0].id, written=1)
    first.transport.loseConnection()
    await wait_until(lambda: not node.gateway.sessions)
    unseen = await node.push("token", token, data=0)
    seen, _ = [body["offset"] for body in first.bodies if body["stream"] == "all"]
    ahead = {"all": seen, f"dev:{token}": "9" * 16}
    second = await dial(node)
    await second.connect(**first._credentials, cursors=ahead)

    for published in (sent[0], sent[2], sent[3], unseen):
        await book.settles(published.id, written=1, acknowledged=1)
    await book.settles(sent[1].id, written=1)
    assert await book.keys("log:dev:") == []


@pytest_twisted.ensureDeferred
async def test_a_cursor_of_the_client_that_is_behind_counts_nothing_again(
    book: Book, node: Any, device: Make, dial: Make, wait_until: WaitUntil
) -> None:
    first = await device(acks=True)
    sent = await node.push("all", data=0)
    await book.settles(sent.id, written=1, acknowledged=1)
    first.transport.loseConnection()
    await wait_until(lambda: not node.gateway.sessions)
    second = await dial(node, acks=True)
    await second.connect(**first._credentials, cursors={"all": "0"})
    await wait_until(lambda: second.numbers == [0])
    later = await node.push("all", data=1)

    await book.settles(later.id, written=1, acknowledged=1)
    await book.settles(sent.id, written=1, acknowledged=1)


@pytest_twisted.ensureDeferred
async def test_a_user_without_a_device_is_not_in_the_ledger(
    book: Book, node: Any, device: Make, dial: Make, wait_until: WaitUntil
) -> None:
    claims = {"sub": "anna", "aud": "push", "exp": int(time.time()) + 600}
    guest = await dial(node, acks=True)
    await guest.connect(jwt=jwt.encode(claims, JWT_SECRET, "HS256"))
    await device(acks=True)
    sent = [await node.push("all", data=n) for n in range(3)]
    ephemeral = await node.push("all", data=3, qos=0)
    await wait_until(lambda: len(guest.numbers) == 4)

    for published in sent:
        await book.settles(published.id, written=1, acknowledged=1)
    await book.settles(ephemeral.id, written=1)
    (connection,) = [c for c in node.gateway.connections if c.device.token is None]
    assert [subscription.ended for subscription in connection.device.subscriptions.values()] == [
        (),
        (),
    ]


# --- Late -----


async def take_out(how: str, book: Book, node: Any, id: str, to: tuple[str, ...]) -> None:
    if how == "cancelled":
        assert await node.pushing.cancel(id) == 1
    elif how == "collapsed":
        await node.push(*to, data=2, collapse="k")
    else:
        await book.pass_time(61)
        await book.sweep()


HOW = pytest.mark.parametrize("how", ["cancelled", "collapsed", "expired"])


@KINDS
@HOW
@pytest_twisted.ensureDeferred
async def test_what_left_the_log_and_is_acknowledged_after_all_counts_as_acknowledged(
    book: Book,
    node: Any,
    device: Make,
    wait_until: WaitUntil,
    target: Make,
    kind: str,
    how: str,
) -> None:
    client = await device()
    to = await target(kind, client)
    sent = await node.push(*to, data=1, collapse="k", ttl_seconds=60)
    await wait_until(lambda: client.numbers == [1])
    await book.settles(sent.id, written=1)
    await take_out(how, book, node, sent.id, to)
    await book.settles(sent.id, written=1, **{how: 1})
    client.ack_all()

    await book.settles(sent.id, written=1, acknowledged=1)


@KINDS
@HOW
@pytest_twisted.ensureDeferred
async def test_what_was_gone_when_it_was_to_be_sent_again_still_can_be_acknowledged(
    restless: Make,
    make_book: Any,
    device: Make,
    wait_until: WaitUntil,
    target: Make,
    kind: str,
    how: str,
) -> None:
    node = await restless()
    book = make_book(node)
    client = await device(on=node)
    to = await target(kind, client, node)
    sent = await node.push(*to, data=1, collapse="k", ttl_seconds=60)
    await wait_until(lambda: 1 in client.numbers)
    await book.settles(sent.id, written=1)
    (connection,) = node.gateway.connections
    (delivery,) = connection.protocol.window.outstanding.values()
    await take_out(how, book, node, sent.id, to)
    await wait_until(lambda: delivery.done)
    await node.gateway.streams.cursors.flush()
    await book.settles(sent.id, written=1, **{how: 1})
    client.ack_all()
    client.ack_all()

    await book.settles(sent.id, written=1, acknowledged=1)


@KINDS
@pytest_twisted.ensureDeferred
async def test_what_was_given_up_and_is_acknowledged_after_all_counts_as_acknowledged(
    restless: Make,
    make_book: Any,
    device: Make,
    wait_until: WaitUntil,
    target: Make,
    kind: str,
) -> None:
    node = await restless(max_deliveries=2)
    book = make_book(node)
    client = await device(on=node)
    to = await target(kind, client, node)
    sent = await node.push(*to, data=1)
    await book.settles(sent.id, written=1, unacknowledged=1)
    assert client.numbers == [1, 1]
    client.ack_all()

    await book.settles(sent.id, written=1, acknowledged=1)
    client.acks = True
    after = await node.push(*to, data=2)
    await book.settles(after.id, written=1, acknowledged=1)
    await book.settles(sent.id, written=1, acknowledged=1)


@KINDS
@pytest_twisted.ensureDeferred
async def test_what_expired_between_two_copies_counts_before_the_sweeper_comes(
    restless: Make,
    make_book: Any,
    device: Make,
    wait_until: WaitUntil,
    target: Make,
    kind: str,
) -> None:
    """The cursor passes it, and takes it from a device's own log."""
    node = await restless()
    book = make_book(node)
    client = await device(on=node)
    to = await target(kind, client, node)
    sent = await node.push(*to, data=1, ttl_seconds=60)
    await wait_until(lambda: client.numbers)
    await book.settles(sent.id, written=1)
    (connection,) = node.gateway.connections
    await book.pass_time(61)
    await wait_until(lambda: connection.protocol.window.used == 0)
    await book.settles(sent.id, written=1, expired=1)
    await book.sweep()

    assert await book.funnel(sent.id) == {"addressed": 1, "written": 1, "expired": 1}
    assert await book.keys("log:") == []


@KINDS
@pytest_twisted.ensureDeferred
async def test_what_expired_in_a_gap_of_the_channel_counts_before_the_sweeper_comes(
    book: Book,
    make_node: Make,
    redis_url: str,
    node: Any,
    device: Make,
    wait_until: WaitUntil,
    target: Make,
    kind: str,
) -> None:
    silent = await make_node(redis_url)
    silent.store._channel_prefix = b"nobody-listens:"
    client = await device(acks=True)
    to = await target(kind, client)
    before = await node.push(*to, data=1)
    await book.settles(before.id, written=1, acknowledged=1)
    unheard = await silent.push(*to, data=2, ttl_seconds=60)
    await book.pass_time(61)
    after = await node.push(*to, data=3)
    await wait_until(lambda: client.numbers == [1, 3])

    await book.settles(after.id, written=1, acknowledged=1)
    await book.sweep()
    assert await book.funnel(unheard.id) == {"addressed": 1, "expired": 1}


@KINDS
@pytest_twisted.ensureDeferred
async def test_what_expired_before_it_was_read_counts_as_expired_and_not_as_written(
    book: Book,
    node: Any,
    device: Make,
    dial: Make,
    wait_until: WaitUntil,
    target: Make,
    kind: str,
) -> None:
    first = await device()
    to = await target(kind, first)
    first.transport.loseConnection()
    await wait_until(lambda: not node.gateway.sessions)
    old = await node.push(*to, data=1, ttl_seconds=60)
    new = await node.push(*to, data=2)
    await book.pass_time(61)
    second = await dial(node, acks=True)
    await second.connect(**first._credentials)

    await book.settles(new.id, written=1, acknowledged=1)
    await book.settles(old.id, expired=1)
    await book.sweep()
    await book.settles(old.id, expired=1)
    assert second.numbers == [2]
