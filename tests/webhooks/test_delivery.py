"""Events reach endpoints: signed, in order; and what becomes of those that do not."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from push.runtime.owner_queue import PacedTurns
from push.webhooks.outbox import ServerOutbox
from push.webhooks.worker import EVENTS_PER_LOOK
from push.wire.api.operate.webhooks import ReplayBody, WebhookChange
from push.wire.errors import RequestError
from tests.waiting import WaitUntil
from tests.webhooks.conftest import HANG, MakeWorld, Receiver, World, say

CHAT = ("chat.message",)
SOON = (1,) * 7  # seconds between attempts
NEVER = (86_400,)


def texts(receiver: Receiver) -> list[Any]:
    return [event["data"]["data"] for event in receiver.of("chat.message")]


@pytest_twisted.ensureDeferred
async def test_an_event_is_signed_and_has_the_form_of_the_specification(
    world: World, wait_until: WaitUntil
) -> None:
    before = time.time()
    sent = await say(world, "Grüße ✓")
    (received,) = await wait_until(lambda: world.receiver.received)
    world.verify(received)
    body = received.json()
    assert list(body) == ["type", "timestamp", "seq", "source", "data"]
    assert body["type"] == "chat.message"
    assert body["source"] == "conversation:chat:anna,bob"
    assert body["seq"] == sent.seq == 1
    assert body["data"]["id"] == sent.id
    assert body["data"]["data"] == "Grüße ✓"
    assert (body["data"]["from"], body["data"]["conversation"]) == ("anna", "user:bob")
    assert body["data"]["ts"] == sent.ts
    decided = datetime.fromisoformat(body["timestamp"])
    assert decided.utcoffset() is not None
    assert abs(decided.timestamp() - before) < 300
    assert "." not in received.id
    assert received.headers["content-type"] == "application/json"
    assert received.headers["user-agent"].startswith("push-universe/")


@pytest_twisted.ensureDeferred
async def test_an_attempt_that_succeeds_is_no_line_of_the_log(
    world: World, receiver: Receiver, wait_until: WaitUntil, log_lines: list[str]
) -> None:
    await say(world, 1)
    await wait_until(lambda: texts(receiver) == [1])
    await world.stop()  # of connections that are kept, too
    assert [line for line in log_lines if "factory" in line.lower()] == []


@pytest_twisted.ensureDeferred
async def test_events_of_a_source_come_in_order_and_all_of_them(
    world: World, wait_until: WaitUntil
) -> None:
    many = 2 * EVENTS_PER_LOOK + 30
    for number in range(many):
        await say(world, number, to=f"user{number % 7}")
    await wait_until(lambda: len(world.receiver.received) == many)
    by_source: dict[str, list[int]] = {}
    for event in world.receiver.events:
        by_source.setdefault(event["source"], []).append(event["seq"])
    assert all(seqs == list(range(1, len(seqs) + 1)) for seqs in by_source.values())
    assert len({one.id for one in world.receiver.received}) == many


@pytest_twisted.ensureDeferred
async def test_an_event_is_tried_again_under_the_same_id_until_the_endpoint_has_it(
    make_world: MakeWorld, receiver: Receiver, wait_until: WaitUntil
) -> None:
    world = await make_world(types=CHAT, retries_seconds=SOON)
    receiver.answers = [500, (302, {"Location": receiver.url}), 404, 204]
    world.deliver()
    await say(world, "hello")
    await wait_until(lambda: len(receiver.received) == 4)
    assert len({one.id for one in receiver.received}) == 1
    assert len({one.body for one in receiver.received}) == 1
    for one in receiver.received:
        world.verify(one)
    endpoint = await wait_until(lambda: ended(world))
    assert (endpoint.state, endpoint.failing_since, endpoint.lost) == ("ok", None, 0)
    page, more = await world.webhooks.attempts("config-test", None, 50)
    assert more is None
    assert [attempt.status for attempt in page] == [204, 404, 302, 500]
    assert {attempt.event for attempt in page} == {receiver.received[0].id}
    assert [attempt.next is None for attempt in page] == [True, False, False, False]


async def ended(world: World, id: str = "config-test") -> Any:
    """The endpoint, once nothing waits for it and its last attempt is noted."""
    endpoint = await world.endpoint(id)
    return endpoint if endpoint.waiting == 0 and endpoint.failing_since is None else None


@pytest_twisted.ensureDeferred
async def test_while_one_event_is_retried_others_of_its_source_are_not_held_up(
    make_world: MakeWorld, receiver: Receiver, wait_until: WaitUntil
) -> None:
    world = await make_world(types=CHAT, retries_seconds=NEVER)
    receiver.answers = [503]
    world.deliver()
    for number in range(3):
        await say(world, number)
    await wait_until(lambda: len(receiver.received) == 3)
    assert texts(receiver) == [0, 1, 2]
    await wait_until(lambda: waiting(world, 1))


async def waiting(world: World, count: int) -> bool:
    return bool((await world.endpoint()).waiting == count)


@pytest_twisted.ensureDeferred
async def test_an_endpoint_that_hangs_is_given_up_on_in_time_and_says_so(
    make_world: MakeWorld, receiver: Receiver, wait_until: WaitUntil
) -> None:
    world = await make_world(types=CHAT, retries_seconds=NEVER, timeout_seconds=0.2)
    receiver.answer = HANG
    world.deliver()
    await say(world, "hello")
    attempts = await wait_until(lambda: attempts_of(world))
    assert attempts[0].error == "no answer within 0.2 s"
    await wait_until(lambda: failing(world))


async def attempts_of(world: World) -> list[Any]:
    page, _ = await world.webhooks.attempts("config-test", None, 200)
    return list(page)


@pytest_twisted.ensureDeferred
async def test_a_source_that_hangs_does_not_hold_up_the_others(
    make_world: MakeWorld, receiver: Receiver, wait_until: WaitUntil
) -> None:
    world = await make_world(types=CHAT)
    receiver.answers = [HANG]
    world.deliver()
    await say(world, "first", to="bob")
    await wait_until(lambda: receiver.hanging)
    await say(world, "behind it", to="bob")
    for number in range(5):
        await say(world, number, to="carol")
    await wait_until(lambda: len(receiver.received) == 6)
    assert texts(receiver) == ["first", 0, 1, 2, 3, 4]


@pytest_twisted.ensureDeferred
async def test_while_an_endpoint_fails_its_events_are_tried_at_a_rate(
    make_world: MakeWorld, receiver: Receiver, wait_until: WaitUntil
) -> None:
    """After a success all of them come at once."""
    world = await make_world(types=CHAT, retries_seconds=NEVER)
    receiver.answers = [503, 503, 503, HANG]
    relay = world.deliver().relay
    turns = relay.shared.failing_turns = PacedTurns(world.node.reactor, 1 / 3600, 3)
    await say(world, "first", to="bob")
    await wait_until(lambda: failing(world))
    await wait_until(lambda: all(one.endpoint.failing_since for one in relay._workers.values()))
    for number in range(8):
        await say(world, number, to=f"user{number}")
    (worker,) = relay._workers.values()
    await wait_until(lambda: turns._waiting.waiting_of(worker) == 5)
    assert len(receiver.received) == 4
    (hanging,) = receiver.hanging
    hanging.setResponseCode(204)
    hanging.finish()
    await wait_until(lambda: len(receiver.received) == 9)
    await wait_until(lambda: waiting(world, 3))  # until they are retried


@pytest_twisted.ensureDeferred
async def test_a_stop_waits_for_no_turn_of_an_endpoint_that_fails(
    make_world: MakeWorld, receiver: Receiver, wait_until: WaitUntil
) -> None:
    world = await make_world(types=CHAT, retries_seconds=NEVER)
    receiver.answer = 503
    service = world.deliver()
    turns = service.relay.shared.failing_turns = PacedTurns(world.node.reactor, 1 / 3600, 1)
    await say(world, "first")
    await wait_until(lambda: failing(world))
    for number in range(3):
        await say(world, number, to=f"user{number}")
    await wait_until(lambda: turns._waiting.waiting)
    (worker,) = service.relay._workers.values()
    worker._tasks.cancel = never  # it does not come to that
    await service.stopService()
    assert len(receiver.received) <= 2


def never() -> None:
    raise AssertionError("what waited for a turn was cancelled")


@pytest_twisted.ensureDeferred
async def test_after_the_last_attempt_an_event_is_lost_and_counted_and_can_be_replayed(
    make_world: MakeWorld, receiver: Receiver, wait_until: WaitUntil
) -> None:
    world = await make_world(types=CHAT, retries_seconds=(1,))
    receiver.answers = [500, 500]
    service = world.deliver()
    await say(world, "hello")
    await wait_until(lambda: lost(world, 1))
    assert len(receiver.received) == 2
    await wait_until(lambda: service.relay.shared.counts == {"again": 1, "lost": 1})
    await say(world, "good")
    await wait_until(lambda: len(receiver.received) == 3)
    assert await world.webhooks.replay("config-test", ReplayBody(only_failed=True)) == 1
    await wait_until(lambda: len(receiver.received) == 4)
    assert receiver.received[3].id == receiver.received[0].id
    await wait_until(lambda: waiting(world, 0))
    assert await world.webhooks.replay("config-test", ReplayBody(only_failed=True)) == 0


async def lost(world: World, count: int) -> bool:
    return bool((await world.endpoint()).lost == count)


@pytest_twisted.ensureDeferred
async def test_replay_takes_what_was_decided_in_a_time_and_of_a_type(
    world: World, receiver: Receiver, wait_until: WaitUntil
) -> None:
    first = await say(world, 1)
    while world.webhooks.store.now_ms() <= first.ts:
        await world.webhooks.get("config-test")
    second = await say(world, 2)
    await wait_until(lambda: len(receiver.received) == 2)
    replay = world.webhooks.replay
    assert await replay("config-test", ReplayBody(since=second.ts, until=second.ts)) == 1
    assert await replay("config-test", ReplayBody(until=first.ts - 1)) == 0
    assert await replay("config-test", ReplayBody(type="group.changed")) == 0
    await wait_until(lambda: len(receiver.received) == 3)
    assert texts(receiver)[-1] == 2
    assert await replay("config-test", ReplayBody()) == 2


@pytest_twisted.ensureDeferred
async def test_an_event_that_is_replayed_during_an_attempt_is_sent_again(
    world: World, receiver: Receiver, wait_until: WaitUntil
) -> None:
    """The endpoint has the event, but its answer is not stored yet."""
    receiver.answers = [HANG]
    await say(world, 1)
    (request,) = await wait_until(lambda: receiver.hanging)
    assert await world.webhooks.replay("config-test", ReplayBody()) == 1
    (worker,) = world.services[0].relay._workers.values()
    await worker._looks.run()
    assert len(receiver.received) == 1
    request.setResponseCode(204)
    request.finish()
    await wait_until(lambda: len(receiver.received) == 2)
    assert texts(receiver) == [1, 1]
    await wait_until(lambda: waiting(world, 0))
    assert [each.next for each in await attempts_of(world)] == [None, None]


@pytest_twisted.ensureDeferred
async def test_a_busy_endpoint_that_names_a_time_is_left_alone_until_then(
    make_world: MakeWorld, receiver: Receiver, wait_until: WaitUntil
) -> None:
    world = await make_world(types=CHAT, retries_seconds=SOON)
    receiver.answers = [(429, {"Retry-After": "3600"})]
    world.deliver()
    await say(world, 1)
    (attempt,) = await wait_until(lambda: attempts_of(world))
    assert attempt.next - attempt.ts >= 3_599_000
    for number in range(2, 5):
        await say(world, number, to=f"user{number}")
    # A look that comes after the events finds that they wait.
    await wait_until(lambda: waiting(world, 4))
    first = world.services[0].relay
    for worker in first._workers.values():
        await worker._looks.run()
    assert len(receiver.received) == 1
    # Another process knows it as well.
    await world.services[0].stopService()
    world.deliver()
    await wait_until(lambda: world.services[1].relay.waiting() == {"config-test": 4})
    assert len(receiver.received) == 1


@pytest_twisted.ensureDeferred
async def test_a_look_before_the_pause_is_stored_begins_nothing(
    make_world: MakeWorld,
    receiver: Receiver,
    wait_until: WaitUntil,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = await make_world(types=CHAT, retries_seconds=SOON)
    receiver.answers = [(429, {"Retry-After": "3600"})]
    stored: Deferred[None] = Deferred()
    finish = ServerOutbox.finish

    async def finish_late(outbox: ServerOutbox, *arguments: Any) -> Any:
        finishing.append(arguments)
        await stored
        return await finish(outbox, *arguments)

    finishing: list[Any] = []
    monkeypatch.setattr(ServerOutbox, "finish", finish_late)
    service = world.deliver()
    await say(world, 1)
    await wait_until(lambda: finishing)
    (worker,) = service.relay._workers.values()
    for number in range(2, 5):
        await say(world, number, to=f"user{number}")
        await worker._looks.run()
    assert worker.waiting == 4
    stored.callback(None)
    await wait_until(lambda: attempts_of(world))
    await worker._looks.run()
    assert len(receiver.received) == 1


@pytest_twisted.ensureDeferred
async def test_an_endpoint_that_is_gone_is_disabled_at_once_and_gets_what_waited_when_it_is_back(
    make_world: MakeWorld, receiver: Receiver, wait_until: WaitUntil
) -> None:
    world = await make_world(types=CHAT, retries_seconds=SOON)
    receiver.answers = [410]
    world.deliver()
    await say(world, 1)
    endpoint = await wait_until(lambda: disabled(world))
    assert (endpoint.enabled, endpoint.disabled_reason) == (False, "it answered 410 Gone")
    attempts, _ = await world.webhooks.attempts("config-test", None, 10)
    assert [(attempt.status, attempt.next) for attempt in attempts] == [(410, None)]
    await say(world, 2)
    with pytest.raises(RequestError, match="disabled"):
        await world.webhooks.replay("config-test", ReplayBody())
    assert (await world.webhooks.change("config-test", WebhookChange(enabled=True))).state == "ok"
    await say(world, 3)
    await wait_until(lambda: sorted(texts(receiver)) == [1, 1, 3])


async def disabled(world: World, id: str = "config-test") -> Any:
    endpoint = await world.endpoint(id)
    return endpoint if endpoint.state == "disabled" else None


@pytest_twisted.ensureDeferred
async def test_failures_for_days_disable_an_endpoint(
    make_world: MakeWorld, receiver: Receiver, wait_until: WaitUntil, log_lines: list[str]
) -> None:
    world = await make_world(types=CHAT, retries_seconds=SOON, disable_after_seconds=1)
    receiver.answer = 500
    world.deliver()
    await say(world, 1)
    endpoint = await wait_until(lambda: disabled(world))
    assert "every attempt failed" in endpoint.disabled_reason
    assert [line for line in log_lines if "Webhook config-test fails: status 500" in line]
    assert [line for line in log_lines if "Webhook config-test is disabled" in line]


@pytest_twisted.ensureDeferred
async def test_a_receiver_that_was_away_misses_nothing(
    make_world: MakeWorld, receiver: Receiver, wait_until: WaitUntil
) -> None:
    world = await make_world(types=CHAT, retries_seconds=SOON)
    world.deliver()
    await say(world, 0)
    await wait_until(lambda: len(receiver.received) == 1)
    await receiver.stop()
    for number in range(1, 30):
        await say(world, number, to=f"user{number % 3}")
    await wait_until(lambda: failing(world))
    receiver.start()
    await wait_until(lambda: sorted(texts(receiver)) == list(range(30)))
    await wait_until(lambda: ended(world))


async def failing(world: World) -> bool:
    return bool((await world.endpoint()).state == "failing")


@pytest_twisted.ensureDeferred
async def test_too_many_that_wait_lose_the_oldest_and_the_loss_is_counted(
    make_world: MakeWorld, receiver: Receiver, wait_until: WaitUntil
) -> None:
    world = await make_world(types=CHAT, max_waiting=5)
    for number in range(12):
        await say(world, number)
    assert (await world.endpoint()).lost == 7
    world.deliver()
    await wait_until(lambda: len(receiver.received) == 5)
    assert texts(receiver) == [7, 8, 9, 10, 11]
    receiver.answer = 500
    for number in range(12, 20):
        await say(world, number)
    await wait_until(lambda: lost(world, 10))
    assert await waiting(world, 5)


@pytest_twisted.ensureDeferred
async def test_an_event_that_is_too_old_is_lost_and_counted(
    make_world: MakeWorld, receiver: Receiver, wait_until: WaitUntil
) -> None:
    world = await make_world(types=CHAT, max_age_seconds=1, retries_seconds=NEVER)
    receiver.answer = 500
    service = world.deliver()
    await say(world, 1)
    await wait_until(lambda: lost(world, 1))
    assert await waiting(world, 0)
    await wait_until(lambda: service.relay.shared.counts["lost"] == 1)


@pytest_twisted.ensureDeferred
async def test_two_processes_deliver_each_event_once_and_another_takes_over_from_one_that_ends(
    make_world: MakeWorld, receiver: Receiver, wait_until: WaitUntil
) -> None:
    world = await make_world(types=CHAT)
    first, second = world.deliver(), world.deliver()
    for number in range(40):
        await say(world, number, to=f"user{number % 5}")
    await wait_until(lambda: len(receiver.received) == 40)
    assert len({one.id for one in receiver.received}) == 40
    done = [service.relay.shared.counts["done"] for service in (first, second)]
    await (first if done[0] else second).stopService()
    await say(world, "after")
    await wait_until(lambda: len(receiver.received) == 41)


@pytest_twisted.ensureDeferred
async def test_rotation_signs_with_both_secrets_until_the_old_one_ends(
    make_world: MakeWorld, receiver: Receiver, wait_until: WaitUntil
) -> None:
    world = await make_world(types=CHAT)
    store = world.webhooks.store
    world.deliver()
    await store.change(
        "config-test", lambda found: found and found.with_secret(NEW, store.now_ms())
    )
    await say(world, 1)
    (received,) = await wait_until(lambda: receiver.received)
    assert len(received.headers["webhook-signature"].split(" ")) == 2
    world.verify(received, NEW, world.secret)
    endpoint = await store.get("config-test")
    assert endpoint.valid_secrets(store.now_ms()) == [NEW, world.secret]
    assert endpoint.valid_secrets(store.now_ms() + 86_400_000) == [NEW]


NEW = "whsec_" + "B" * 43 + "="
