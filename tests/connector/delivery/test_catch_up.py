"""Sessions that are behind are woken by all that may help, and get nothing that is outdated."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from push.session.subscription import Subscription
from push.streams.log import LogReading
from push.wire.api.groups import NewGroup
from tests.waiting import WaitUntil

Make = Callable[..., Awaitable[Any]]


class HeldPages:
    """What sessions of a node read in logs waits, as behind others in turns, until it is let go."""

    def __init__(self, node: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reads = 0  # whose pages wait
        self._let_go: Deferred[None] | None = Deferred()
        [subscription] = _of(node, "all")
        pages = node.gateway.streams.servers[subscription.shard].pages
        read = pages.read

        async def held(wanted: Sequence[Any]) -> LogReading:
            reading: LogReading = await read(wanted)
            if self._let_go is not None:
                self.reads += 1
                await self._let_go
            return reading

        monkeypatch.setattr(pages, "read", held)

    def let_go(self) -> None:
        assert self._let_go is not None
        waiting, self._let_go = self._let_go, None
        waiting.callback(None)


def _of(node: Any, stream: str) -> list[Subscription]:
    """Of the one session of a node."""
    [session] = node.gateway.sessions.values()
    return [each for each in session.subscriptions.values() if each.stream == stream]


@pytest_twisted.ensureDeferred
async def test_a_page_that_had_to_wait_is_not_handed_to_a_session_that_is_in_doubt_since(
    device: Make, node: Any, wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its record may say that it is not to have it."""
    client = await device(acks=True)
    [session] = node.gateway.sessions.values()
    [subscription] = _of(node, "all")
    await wait_until(lambda: subscription.live)  # it has read what there was
    subscription.live = False
    await node.push("all", data="page")
    await wait_until(lambda: node.hub.channels["all"].handed > subscription.position)
    pages = HeldPages(node, monkeypatch)
    node.gateway.catch_up.wake(session)
    await wait_until(lambda: pages.reads)

    unread: Deferred[None] = Deferred()
    with monkeypatch.context() as slow:
        slow.setattr(node.gateway.subscriptions, "refreshed", lambda _device: unread)
        settled = node.gateway.freshness._doubt(session)
        pages.let_go()
        assert (client.numbers, subscription.live) == ([], False)
        await node.push("all", data="more")
        assert (client.numbers, subscription.live) == ([], False)
    unread.callback(None)
    await settled

    await wait_until(lambda: client.numbers == ["page", "more"])


@pytest.mark.parametrize("loses_connection", [False, True])
@pytest_twisted.ensureDeferred
async def test_what_a_channel_loses_while_a_page_waits_is_read(
    device: Make,
    node: Any,
    wait_until: WaitUntil,
    monkeypatch: pytest.MonkeyPatch,
    *,
    loses_connection: bool,
) -> None:
    """Nobody is live then, so the channel is not repaired: the session must read once more."""
    client = await device(acks=True)
    [session] = node.gateway.sessions.values()
    [subscription] = _of(node, "all")
    channel = node.hub.channels["all"]
    await wait_until(lambda: subscription.live)  # it has read what there was
    subscription.live = False
    await node.push("all", data="page")
    await wait_until(lambda: channel.handed > subscription.position)
    channel.known = not loses_connection  # an unknown one is not swept
    pages = HeldPages(node, monkeypatch)
    node.gateway.catch_up.wake(session)
    await wait_until(lambda: pages.reads)

    server = node.gateway.streams.servers[subscription.shard].server
    handlers = server.channels.handlers
    [name] = [name for name, handler in handlers.items() if handler == channel.receiver]
    announced: list[bytes] = []
    handlers[name] = announced.append
    await node.push("all", data="lost")
    await wait_until(lambda: announced)
    handlers[name] = channel.receiver
    if loses_connection:
        losses = server.channels.losses
        server.rebuild("a test cuts the connection")
        await wait_until(lambda: server.channels.losses > losses and server.is_subscribed)
    await node.hub._loss_check._sweeps.run()
    assert not channel.known
    pages.let_go()

    await wait_until(lambda: client.numbers == ["page", "lost"])


@pytest_twisted.ensureDeferred
async def test_a_stream_whose_channel_is_confirmed_does_not_wait_for_another(
    device: Make, node: Any, wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As while the server of the other is unreachable."""
    client = await device(acks=True)
    [session] = node.gateway.sessions.values()
    [first] = _of(node, "all")
    hub = node.gateway.streams.servers[first.shard].hub
    follow = hub.follow

    def follow_late(stream: str, *more: Any) -> Deferred[None]:
        confirmed: Deferred[None] = follow(stream, *more)
        return Deferred() if stream == "topic:away" else confirmed

    monkeypatch.setattr(hub, "follow", follow_late)
    end = await node.gateway.streams.servers[first.shard].server.last_offset()
    made = [Subscription(f"topic:{name}", end, first.shard) for name in ("away", "here")]
    added = Deferred.fromCoroutine(node.gateway.subscriptions.add(session, made))
    for number in range(3):
        await node.push("topic", "here", data=number)

    await wait_until(lambda: client.numbers == [0, 1, 2])
    assert not added.called
    assert client.kinds == ["follow"]


@pytest.mark.parametrize("is_live", [True, False])
@pytest_twisted.ensureDeferred
async def test_what_came_before_the_end_of_a_stream_is_written_before_the_device_is_told_of_the_end(
    device: Make, node: Any, wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch, is_live: bool
) -> None:
    client = await device(acks=True)
    await node.devices.bind("ann", client._credentials["token"])
    group = (await node.chat.groups.create("olga", NewGroup("g", members=["ann"]))).group
    stream = f"group:{group}"
    await wait_until(lambda: [each.live for each in _of(node, stream)] == [True])
    [subscription] = _of(node, stream)
    [session], channel = node.gateway.sessions.values(), node.hub.channels[stream]
    with monkeypatch.context() as slow:
        # Her record says so, too: it is not read yet. What the channel brings comes in one turn.
        read_again: Deferred[None] = Deferred()
        slow.setattr(node.gateway.subscriptions, "refreshed", lambda *_: read_again)
        slow.setattr(node.gateway.subscriptions, "request_refresh", lambda *_: None)
        slow.setattr(node.hub, "_may_hand_on", lambda server: False)
        subscription.live = is_live
        for number in range(3):
            await node.push("group", group, data=number)
        removed = Deferred.fromCoroutine(node.chat.groups.remove(group, ["ann"], None))
        await wait_until(lambda: any(entry.control for entry in node.hub.pending[channel]))
        if is_live:
            slow.setattr(node.hub, "_may_hand_on", lambda server: True)
        else:
            node.gateway.catch_up.wake(session)
        await wait_until(lambda: stream not in session.subscriptions)
        read_again.callback(None)
    await removed

    def of_the_group() -> list[Any]:
        return [
            each.get("kind", each["data"]) for each in client.bodies if each["stream"] == stream
        ]

    await wait_until(lambda: len(of_the_group()) == 5)
    assert of_the_group() == ["follow", 0, 1, 2, "unfollow"]
