"""An error with one session is nothing that the others notice."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, gatherResults

from push.connector.delivery import fanout, turn_writes
from push.connector.delivery.turn_writes import TurnWrites
from push.session.entry import Entry
from tests.conftest import LoggedErrors
from tests.connector.conftest import Client, Node
from tests.waiting import WaitUntil

Make = Callable[..., Awaitable[Client]]
COUNT = 5


async def opened(device: Make, **options: Any) -> list[Client]:
    jobs = [Deferred.fromCoroutine(device(**options)) for _ in range(COUNT)]
    return list(await gatherResults(jobs))


class FailsOnce:
    """As `work`; the first call fails instead."""

    def __init__(self, work: Callable[..., Any]) -> None:
        self.calls = 0
        self._work = work

    def __call__(self, *given: Any) -> Any:
        self.calls += 1
        if self.calls == 1:
            raise ZeroDivisionError
        return self._work(*given)


@pytest_twisted.ensureDeferred
async def test_all_that_fell_behind_are_woken_though_one_cannot_be(
    device: Make,
    node: Node,
    wait_until: WaitUntil,
    monkeypatch: pytest.MonkeyPatch,
    logged_errors: LoggedErrors,
) -> None:
    await opened(device)
    channel = node.hub.channels["all"]
    catch_up = node.gateway.catch_up
    wake = FailsOnce(catch_up.wake)
    monkeypatch.setattr(catch_up, "wake", wake)
    for subscription in channel.followers.values():
        subscription.live = False

    node.gateway.fanout.wake_followers(channel)

    # The one that could not be may be woken again, by what else comes.
    await wait_until(lambda: sum(each.live for each in channel.followers.values()) >= COUNT - 1)
    assert wake.calls >= COUNT
    assert len(logged_errors.flush(ZeroDivisionError)) == 1


@pytest.mark.parametrize("few", [0, 8])
@pytest_twisted.ensureDeferred
async def test_what_was_not_handed_out_for_an_error_is_read_in_the_log(
    device: Make,
    node: Node,
    wait_until: WaitUntil,
    monkeypatch: pytest.MonkeyPatch,
    logged_errors: LoggedErrors,
    few: int,
) -> None:
    """At once, or over several turns: nobody must wait for the next message."""
    monkeypatch.setattr(fanout, "FEW", few)
    monkeypatch.setattr(fanout, "PIECE", 2)
    clients = await opened(device, acks=True)
    policy = node.gateway.delivery_policy
    monkeypatch.setattr(policy, "hand_out_whole", FailsOnce(policy.hand_out_whole))

    await node.push("all", data=0)

    await wait_until(lambda: all(client.numbers == [0] for client in clients))
    assert logged_errors.flush(ZeroDivisionError)


@pytest_twisted.ensureDeferred
async def test_all_are_told_what_ends_their_stream_though_one_cannot_be(
    device: Make,
    node: Node,
    wait_until: WaitUntil,
    monkeypatch: pytest.MonkeyPatch,
    logged_errors: LoggedErrors,
) -> None:
    clients = await opened(device, acks=True)
    channel = node.hub.channels["all"]
    subscriptions = node.gateway.subscriptions
    monkeypatch.setattr(subscriptions, "changed", FailsOnce(subscriptions.changed))
    control = {"op": "removed", "stream": "all", "users": "*"}

    begun = max(each.start_offset for each in channel.followers.values())
    offset = max(channel.last, begun) + 1
    node.hub.apply(channel, Entry("c", channel.last, offset, b"", control=control))

    await wait_until(lambda: sum("unfollow" in each.kinds for each in clients) == COUNT - 1)
    assert logged_errors.flush(ZeroDivisionError)


@pytest_twisted.ensureDeferred
async def test_what_others_get_in_a_turn_is_written_though_one_write_fails(
    device: Make,
    node: Node,
    wait_until: WaitUntil,
    monkeypatch: pytest.MonkeyPatch,
    logged_errors: LoggedErrors,
) -> None:
    clients = await opened(device)
    monkeypatch.setattr(turn_writes, "write_to_all", FailsOnce(turn_writes.write_to_all))
    writes = TurnWrites()
    entries = [Entry(f"m{n}", 0, 0, b'{"id":"m","data":%d}' % n) for n in range(COUNT)]
    for session, entry in zip(node.gateway.sessions.values(), entries, strict=True):
        writes.add([session], entry.encoded(session.codec))

    writes.write()

    await wait_until(lambda: sum(len(each.pushes) for each in clients) == COUNT - 1)
    assert logged_errors.flush(ZeroDivisionError)


@pytest_twisted.ensureDeferred
async def test_all_that_could_not_read_are_tried_again_though_one_cannot_be(
    device: Make,
    node: Node,
    wait_until: WaitUntil,
    monkeypatch: pytest.MonkeyPatch,
    logged_errors: LoggedErrors,
) -> None:
    await opened(device)
    catch_up = node.gateway.catch_up
    wake = FailsOnce(catch_up.wake)
    monkeypatch.setattr(catch_up, "wake", wake)
    for session in node.gateway.sessions.values():
        catch_up._stall(session)

    await wait_until(lambda: wake.calls == COUNT)

    assert logged_errors.flush(ZeroDivisionError)
