"""Several Redis servers, each with the outbox of what is decided there; what is kept, and for how
long."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted
from msgspec.structs import replace

from push.daemons.metrics.webhooks import OutboxCollector
from push.webhooks import outbox
from push.webhooks.outbox import AttemptOutcome, ServerOutbox
from push.wire.api.operate.webhooks import ReplayBody
from tests.connector.conftest import Dial
from tests.waiting import WaitUntil
from tests.webhooks.conftest import MakeWorld, Receiver, World, say


async def all_attempts(world: World, limit: int) -> list[Any]:
    found: list[Any] = []
    place = None
    while True:
        page, place = await world.webhooks.attempts("config-test", place, limit)
        found += page
        if place is None:
            return found


@pytest_twisted.ensureDeferred
async def test_events_of_all_servers_are_delivered_and_attempts_are_one_list(
    make_redis: Any, make_world: MakeWorld, receiver: Receiver, wait_until: WaitUntil
) -> None:
    urls = [make_redis().url for _ in range(3)]
    world = await make_world(urls=urls, types=("chat.message",))
    world.deliver()
    for number in range(24):
        await say(world, number, to=f"user{number % 8}")
    await wait_until(lambda: len(receiver.received) == 24)
    by_source: dict[str, list[int]] = {}
    for event in receiver.events:
        by_source.setdefault(event["source"], []).append(event["seq"])
    assert list(by_source.values()) == [[1, 2, 3]] * 8
    servers = {one.id.rpartition("_")[2] for one in receiver.received}
    assert len(servers) > 1

    attempts = await all_attempts(world, 5)
    assert len(attempts) == len({one.event for one in attempts}) == 24
    times = [int(one.id.removeprefix("att_")) for one in attempts]
    assert times == sorted(times, reverse=True)
    assert await world.webhooks.replay("config-test", ReplayBody()) == 24
    await wait_until(lambda: len(receiver.received) == 48)
    await wait_until(lambda: nothing_waits(world))


async def nothing_waits(world: World) -> bool:
    return bool((await world.endpoint()).waiting == 0)


@pytest_twisted.ensureDeferred
async def test_the_parts_of_a_message_on_several_servers_are_sources_of_their_own(
    make_redis: Any,
    make_world: MakeWorld,
    receiver: Receiver,
    dial: Dial,
    wait_until: WaitUntil,
) -> None:
    """Each counts from 1: so no event looks like a repeat of another."""
    urls = [make_redis().url for _ in range(3)]
    world = await make_world(urls=urls, types=("message.acknowledged",))
    world.deliver()
    world.node.listen()
    tokens = []
    for _ in range(6):
        pair = await world.node.devices.register(platform="p", app="a", ip="1.2.3.4")
        client = await dial(world.node, acks=True)
        await client.connect(token=pair.token, secret=pair.secret)
        tokens.append(pair.token)
    sent = await world.node.push("tokens", *tokens, data=1)
    await wait_until(lambda: len(receiver.received) == 6)
    assert {event["data"]["token"] for event in receiver.events} == set(tokens)
    pairs = {(event["source"], event["seq"]) for event in receiver.events}
    assert len(pairs) == 6
    assert all(source.partition("@")[0] == f"message:{sent.id}" for source, _ in pairs)


@pytest_twisted.ensureDeferred
async def test_what_is_a_week_old_goes_but_not_what_waits(
    make_world: MakeWorld,
    receiver: Receiver,
    wait_until: WaitUntil,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = await make_world(types=("chat.message",), retries_seconds=(2, 2, 2))
    receiver.answers = [204, 500]
    world.deliver()
    await say(world, "done")
    await wait_until(lambda: nothing_waits(world))
    await say(world, "waits")
    await wait_until(lambda: len(receiver.received) == 2)
    server = world.node.store
    monkeypatch.setattr(outbox, "KEEP_SECONDS", 0)
    await wait_until(lambda: attempts_are(world, 2))
    await ServerOutbox(server).trim(["config-test"], 3600)
    assert await attempts_are(world, 0)
    assert await server.command("HLEN", server.key("webhook-events")) == 1
    assert await world.webhooks.replay("config-test", ReplayBody()) == 0
    await wait_until(lambda: len(receiver.received) == 3)
    await wait_until(lambda: nothing_waits(world))
    assert receiver.events[2]["data"]["data"] == "waits"
    assert await server.command("EXISTS", server.key("webhook-events")) == 0


async def attempts_are(world: World, count: int) -> bool:
    return len(await all_attempts(world, 50)) == count


@pytest_twisted.ensureDeferred
async def test_nothing_of_an_endpoint_stays_when_it_is_deleted(
    make_world: MakeWorld, receiver: Receiver, wait_until: WaitUntil
) -> None:
    world = await make_world(types=("chat.message",), max_waiting=3)
    receiver.answer = 500
    world.deliver()
    for number in range(5):
        await say(world, number)
    await wait_until(lambda: len(receiver.received) >= 3)
    await world.services[0].stopService()
    await world.webhooks.store.change("config-test", lambda _: None)
    await ServerOutbox(world.node.store).forget("config-test")
    keys = [key.decode() for key in await world.node.store.command("KEYS", "*webhook*")]
    left = {"push:webhook-endpoints", "push:webhook-wanted", "push:webhook-log"}
    assert set(keys) <= left | {"push:webhook-events", "push:webhook-inbox"}


async def kept_of(world: World, id: str) -> list[str]:
    """What is kept for an endpoint. (A lease runs out by itself.)"""
    server = world.node.store
    keys = [key.decode() for key in await server.command("KEYS", server.key(f"webhook-*:{id}"))]
    fields = await server.command("HKEYS", server.key("webhook-lost"))
    return [key for key in keys if "-lease:" not in key] + [one.decode() for one in fields]


@pytest_twisted.ensureDeferred
async def test_what_is_decided_or_ends_after_a_deletion_makes_nothing_of_the_endpoint_again(
    make_world: MakeWorld,
) -> None:
    world = await make_world(types=("chat.message",), max_waiting=3)
    box = ServerOutbox(world.node.store)
    await say(world, 1)
    claimed = await box.claim("config-test", "me", 10_000, 10, 3600)
    assert claimed is not None
    (event,) = claimed.events
    for number in range(5):
        await say(world, number)  # nobody has put them into the outbox when it is deleted
    await world.webhooks.store.change("config-test", lambda _: None)
    await box.forget("config-test")
    assert await kept_of(world, "config-test") == []
    await box.finish("config-test", event, AttemptOutcome("again", 500, "", 1, 1, 60_000))
    assert await box.claim("config-test", "me", 10_000, 10, 3600) is None
    assert await kept_of(world, "config-test") == []
    server = world.node.store
    assert await server.command("EXISTS", server.key("webhook-inbox")) == 0
    assert await server.command("HKEYS", server.key("webhook-events")) == [event.id.encode()]


@pytest_twisted.ensureDeferred
async def test_what_was_left_of_a_deleted_endpoint_is_found_later(make_world: MakeWorld) -> None:
    """Whoever deleted it was killed, or the configuration has it no longer."""
    world = await make_world(types=("chat.message",))
    box, store = ServerOutbox(world.node.store), world.webhooks.store
    await say(world, 1)
    await box.claim("config-test", "me", 10_000, 10, 3600)
    kept = await store.get("config-test")
    await store.change("config-test", lambda _: None)
    await store.change("other", lambda _: replace(kept, id="other"))
    assert await kept_of(world, "config-test")
    await box.forget_gone()
    assert await kept_of(world, "config-test") == []
    # One that is there again keeps what it has.
    await store.change("other", lambda _: None)
    await store.change("other", lambda _: replace(kept, id="other"))
    await say(world, 2)
    await box.claim("other", "me", 10_000, 10, 3600)
    await box.forget_gone()
    assert await box.waiting(["other"]) == [1]


@pytest_twisted.ensureDeferred
async def test_what_waits_for_too_long_is_never_handed_out_however_much_of_it_there_is(
    make_world: MakeWorld,
) -> None:
    world = await make_world(types=("chat.message",))
    box = ServerOutbox(world.node.store)
    for number in range(250):
        await say(world, number, to=f"user{number % 9}")
    await box.claim("config-test", "me", 10_000, 1, 3600)
    await box.claim("config-test", "me", 10_000, 1, 3600)
    claimed = await box.claim("config-test", "me", 10_000, 200, 0)
    assert claimed is not None
    assert (claimed.events, claimed.expired, claimed.waiting) == ([], 100, 150)
    assert claimed.next_ms is not None  # there is more to give up
    seconds, us = await world.node.store.command("TIME")
    assert claimed.next_ms <= int(seconds) * 1000 + int(us) // 1000
    # Also while nobody delivers, as for an endpoint that is disabled.
    await box.trim(["config-test"], 0)
    assert await box.waiting(["config-test"]) == [0]
    assert await box.lost(["config-test"]) == [250]


@pytest_twisted.ensureDeferred
async def test_a_replayed_event_waits_from_its_replay_on(
    make_world: MakeWorld, receiver: Receiver, wait_until: WaitUntil
) -> None:
    world = await make_world(types=("chat.message",), max_age_seconds=1)
    box, clock = ServerOutbox(world.node.store), world.webhooks.store
    said = await say(world, 1)
    await wait_until(lambda: clock.now_ms() > said.ts + 1000)
    claimed = await box.claim("config-test", "me", 10_000, 10, 1)
    assert claimed is not None
    assert claimed.expired == 1
    assert await world.webhooks.replay("config-test", ReplayBody(only_failed=True)) == 1
    server = world.node.store
    (_, since_us) = await server.command(
        "ZRANGE", server.key("webhook-waiting:config-test"), 0, -1, "WITHSCORES"
    )
    assert int(since_us) >= (said.ts + 1000) * 1000


@pytest_twisted.ensureDeferred
async def test_all_servers_have_one_time_since_when_somebody_wants_states(
    make_redis: Any, make_world: MakeWorld
) -> None:
    """What a device was told goes with it to another server, and still fits there."""
    urls = [make_redis().url for _ in range(3)]
    world = await make_world(urls=urls, types=("device.online",))
    store = world.webhooks.store

    async def since() -> set[bytes | None]:
        return {
            await server.command("HGET", server.key("webhook-wanted"), "presence")
            for server in world.node.shards
        }

    first = await since()
    assert len(first) == 1
    assert first != {None}
    await store.change("config-test", lambda found: found and replace(found, description="x"))
    assert await since() == first
    await store.change("config-test", lambda found: found and found.switched(False))
    assert await since() == {None}
    await store.change("config-test", lambda found: found and found.switched(True))
    second = await since()
    assert len(second) == 1
    assert second != first
    kept = await store.get("config-test")
    await store.change("config-test", lambda _: replace(kept, types=["chat.message"]))
    assert await since() == {None}


@pytest_twisted.ensureDeferred
async def test_losses_and_what_nobody_delivers_are_metrics_of_every_api(
    make_redis: Any, make_world: MakeWorld
) -> None:
    """Whatever the reason of a loss is, and where there is no daemon that delivers."""
    urls = [make_redis().url for _ in range(3)]
    world = await make_world(urls=urls, types=("chat.message",), max_waiting=4)
    collector = OutboxCollector(world.node.reactor, world.node.shards, world.webhooks.store)

    def samples() -> dict[tuple[str, str], float]:
        return {
            (sample.name, sample.labels.get("endpoint", "")): sample.value
            for family in collector.collect()
            for sample in family.samples
        }

    assert samples() == {}
    await collector.read()
    assert samples() == {
        ("push_webhook_lost_total", "config-test"): 0,
        ("push_webhook_inbox_events", ""): 0,
    }
    for number in range(40):
        await say(world, number, to=f"user{number % 8}")
    await collector.read()
    found = samples()
    waiting = found["push_webhook_inbox_events", ""]
    assert 0 < waiting <= 12
    assert found["push_webhook_lost_total", "config-test"] == 40 - waiting


@pytest_twisted.ensureDeferred
async def test_a_large_event_is_kept_for_replays_only_if_it_was_lost(
    make_world: MakeWorld,
) -> None:
    world = await make_world(types=("chat.message",))
    box, server = ServerOutbox(world.node.store), world.node.store
    for text in ("x" * 9000, "y" * 9000, "small"):
        await say(world, text)
    claimed = await box.claim("config-test", "me", 10_000, 10, 3600)
    assert claimed is not None
    done, lost = AttemptOutcome("done", 200, "", 1), AttemptOutcome("lost", 500, "", 1)
    for event, outcome in zip(claimed.events, (done, lost, done), strict=True):
        await box.finish("config-test", event, outcome)
    kept = {key.decode() for key in await server.command("HKEYS", server.key("webhook-events"))}
    assert kept == {event.id for event in claimed.events[1:]}
    assert await world.webhooks.replay("config-test", ReplayBody(only_failed=True)) == 1
    assert await world.webhooks.replay("config-test", ReplayBody()) == 2
