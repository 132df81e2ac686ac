"""Binding on live sessions: nothing lost, nothing from before the binding (rules 4 and 5)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from push.session.entry import Entry
from tests.waiting import WaitUntil, pause

Make = Callable[..., Awaitable[Any]]


@pytest_twisted.ensureDeferred
async def test_rule_5_a_binding_takes_effect_on_a_live_session_at_once(
    device: Make, node: Any, wait_until: WaitUntil
) -> None:
    client = await device(acks=True)
    token = client._credentials["token"]
    await node.push("user", "alice", data="before")

    await node.devices.bind("alice", token)
    await node.push("user", "alice", data="alice")
    await wait_until(lambda: client.numbers == ["alice"])
    await node.devices.bind("bob", token)
    await node.push("user", "alice", data="not for bob")
    await node.push("user", "bob", data="bob")
    await wait_until(lambda: client.numbers == ["alice", "bob"])
    await node.devices.unbind("bob", token)
    await node.push("user", "bob", data="gone")
    await wait_until(lambda: client.kinds[-1] == "unfollow" and len(client.kinds) == 4)
    await node.push("all", data="end")
    await wait_until(lambda: client.numbers == ["alice", "bob", "end"])

    assert sorted(client.kinds) == ["follow", "follow", "unfollow", "unfollow"]
    assert set(node.hub.channels) == {"all", f"dev:{token}"}

    async def nothing_waits() -> bool:
        return (await node.devices.get(token)).backlog == 0

    await wait_until(nothing_waits)


@pytest_twisted.ensureDeferred
async def test_rule_4_binding_in_mid_stream_loses_nothing_and_brings_nothing_of_before(
    device: Make, node: Any, wait_until: WaitUntil
) -> None:
    """The user's stream never stops; what was published after the answer to `bind` must come."""
    clients = [await device(acks=True) for _ in range(8)]
    sent = 0
    going = True

    async def publish() -> None:
        nonlocal sent
        while going:
            await node.push("user", "alice", data=sent)
            sent += 1

    publishing = Deferred.fromCoroutine(publish())
    bounds = []
    for client in clients:
        await pause(0.02)
        before = sent
        await node.devices.bind("alice", client._credentials["token"])
        bounds.append((before, sent))
    await pause(0.1)
    going = False
    await publishing

    for client, (before, after) in zip(clients, bounds, strict=True):
        await wait_until(lambda client=client: client.numbers[-1:] == [sent - 1])
        assert client.numbers == list(range(client.numbers[0], sent))
        assert before <= client.numbers[0] <= after + 1


@pytest_twisted.ensureDeferred
async def test_rule_5_a_binding_applies_whatever_the_window(
    device: Make, node: Any, wait_until: WaitUntil
) -> None:
    """A device that acknowledges nothing is bound all the same."""
    client = await device(window=1)
    token = client._credentials["token"]
    for n in range(5):
        await node.push("token", token, data=n)
    await wait_until(lambda: client.numbers == [0])

    await node.devices.bind("alice", token)

    await wait_until(lambda: client.kinds == ["follow"])


@pytest_twisted.ensureDeferred
async def test_rule_4_what_came_between_two_bindings_to_one_user_is_not_for_the_device(
    device: Make, node: Any, wait_until: WaitUntil
) -> None:
    """Bound, unbound and bound again before the connector looked at the record."""
    client = await device(acks=True)
    token = client._credentials["token"]
    await node.devices.bind("alice", token)
    await wait_until(lambda: client.kinds == ["follow"])
    (connection,) = node.gateway.connections
    subscriptions = node.gateway.subscriptions
    refresh = subscriptions._refresh_of(connection.device)
    refresh.is_running = True  # as if the record were just being read
    await node.devices.unbind("alice", token)
    connection.blocked = True  # and the session had fallen behind
    await node.push("user", "alice", data="between")
    await node.devices.bind("alice", token)
    await pause(0.05)
    connection.blocked = refresh.is_running = False
    subscriptions.changed(connection.device, Entry("", 0, 0, b"", control={"user": "alice"}))
    await node.push("user", "alice", data="after")
    await wait_until(lambda: "after" in client.numbers)

    assert "between" not in client.numbers


@pytest_twisted.ensureDeferred
async def test_a_binding_of_a_device_that_is_away_holds_when_it_comes(
    device: Make, node: Any, dial: Make, wait_until: WaitUntil
) -> None:
    first = await device()
    pair = first._credentials
    first.transport.loseConnection()
    await wait_until(lambda: not node.gateway.sessions)
    await pause(0.05)
    await node.devices.bind("alice", pair["token"])
    await node.push("user", "alice", data=1)
    second = await dial(node, acks=True)

    accepted = await second.connect(**pair)

    assert accepted["user"] == "alice"
    await wait_until(lambda: second.numbers == [1])


@pytest_twisted.ensureDeferred
async def test_unacknowledged_messages_of_a_user_are_gone_with_the_binding(
    make_node: Make, redis_url: str, device: Make, wait_until: WaitUntil
) -> None:
    node = await make_node(redis_url, limits={"redeliver_after_seconds": 0.3})
    node.listen()
    client = await device(on=node, window=2)
    token = client._credentials["token"]
    await node.devices.bind("alice", token)
    await wait_until(lambda: client.kinds == ["follow"])
    for n in range(4):
        await node.push("user", "alice", data=n)
    await wait_until(lambda: client.numbers == [0, 1])

    await node.devices.unbind("alice", token)
    await wait_until(lambda: "unfollow" in client.kinds)
    seen = len(client.pushes)
    await node.push("all", data="room")

    await wait_until(lambda: "room" in client.numbers)
    await pause(0.7)
    assert client.numbers.count(0) == 1
    assert seen <= len(client.pushes)
    client.ack_all()  # numbers of a stream that is followed no longer
    await node.push("all", data="end")
    await wait_until(lambda: "end" in client.numbers)


@pytest_twisted.ensureDeferred
async def test_a_log_is_not_read_before_its_channel_is_heard(
    device: Make, node: Any, wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An acknowledgement while the subscription is on its way does not make the session live."""
    client = await device(acks=True)
    subscribe, waiting = node.store.channels.subscribe, []

    def slow_to_hear(name: str, handler: Any) -> Deferred[None]:
        if name != "live:user:bob":
            return subscribe(name, handler)
        confirmed: Deferred[None] = Deferred()
        waiting.append((confirmed, name, handler))
        return confirmed

    monkeypatch.setattr(node.store.channels, "subscribe", slow_to_hear)
    await node.devices.bind("bob", client._credentials["token"])
    await wait_until(lambda: waiting)
    for n in range(3):
        await node.push("all", data=n)
        await wait_until(lambda n=n: client.numbers == list(range(n + 1)))
    await pause(0.1)
    await node.push("user", "bob", data="bob")
    confirmed, name, handler = waiting[0]
    await subscribe(name, handler)
    confirmed.callback(None)
    await wait_until(lambda: client.numbers == [0, 1, 2, "bob"])
