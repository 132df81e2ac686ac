"""The delivery ledger: what the scripts count, each device once, nothing that did not happen."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import pytest_twisted

from push.redis.connection.errors import StoreUnavailable
from push.redis.scripts import load_script
from push.session.subscription import EXPIRED, TOO_LARGE, UNACKNOWLEDGED, Subscription

DAY = 86_400

_bind = load_script("devices", "bind")


# --- Counters: messages to everyone -----


@pytest_twisted.ensureDeferred
async def test_a_message_to_all_is_addressed_to_the_devices_that_are_registered_then(
    desk: Any,
) -> None:
    await desk.phone("a")
    await desk.phone("b")
    sent = await desk.push("all")
    await desk.phone("late")

    funnel = await desk.funnel(sent.id)

    assert (funnel.addressed, funnel.stored, funnel.written, funnel.acknowledged) == (2, 2, 0, 0)
    assert msgspec.json.decode(funnel.to) == {"all": True}
    assert funnel.expires - funnel.ts == 3600_000


@pytest_twisted.ensureDeferred
async def test_written_and_acknowledged_count_each_device_once(desk: Any) -> None:
    phones = [await desk.phone(f"t{n}") for n in range(3)]
    sent = await desk.push("all")

    await desk.hand_out("all", *phones)
    assert (await desk.funnel(sent.id)).written == 3
    await desk.hand_out("all", *phones)
    desk.acknowledge("all", phones[0], sent.id)
    desk.acknowledge("all", phones[1], sent.id)
    await desk.funnel(sent.id)
    for phone in phones:
        desk.writer.moved(phone, phone.subscriptions["all"])

    funnel = await desk.funnel(sent.id)
    assert (funnel.written, funnel.acknowledged) == (3, 2)


@pytest.mark.parametrize("stream", ["all", "user:u"])
@pytest_twisted.ensureDeferred
async def test_what_one_device_acknowledged_is_not_counted_for_another_that_never_had_it(
    desk: Any, stream: str
) -> None:
    """A message is cancelled between two hand-outs; both devices' cursors leave in one batch."""
    early, late = await desk.phone("early", user="u"), await desk.phone("late", user="u")
    first = await desk.push(stream)
    gone = await desk.push(stream)
    await desk.hand_out(stream, early)
    await desk.funnel(gone.id)
    assert await desk.cancel(gone.id, stream) == [1, 2]
    last = await desk.push(stream)
    await desk.hand_out(stream, early, late)
    desk.acknowledge(stream, early, first.id, gone.id, last.id)
    desk.acknowledge(stream, late, first.id, last.id)

    funnel = await desk.funnel(gone.id)

    assert (funnel.acknowledged, funnel.cancelled, funnel.written) == (1, 1, 1)
    assert (await desk.funnel(last.id)).acknowledged == 2


@pytest_twisted.ensureDeferred
async def test_what_waits_behind_an_unacknowledged_message_is_not_written_because_another_had_it(
    desk: Any,
) -> None:
    one, other = await desk.phone("one"), await desk.phone("other")
    first, second, third = [await desk.push("all") for _ in range(3)]
    entries = await desk.log("all")
    await desk.hand_out("all", one)
    subscription = other.take("all", entries[:1])
    other.window.skip(subscription, entries[1], TOO_LARGE)
    other.take("all", entries)
    desk.writer.handed(other, subscription)

    assert (await desk.funnel(second.id)).written == 1
    desk.acknowledge("all", other, first.id, third.id)
    funnel = await desk.funnel(second.id)
    assert (funnel.written, funnel.dropped) == (1, {"too_large": 1})
    assert (await desk.funnel(third.id)).written == 2


@pytest_twisted.ensureDeferred
async def test_what_was_too_large_and_then_fits_after_all_counts_as_written(desk: Any) -> None:
    """It was skipped behind an unacknowledged message, and the device came back with more room."""
    phone = await desk.phone("t")
    first, second, third = [await desk.push("all") for _ in range(3)]
    entries = await desk.log("all")
    subscription = phone.take("all", entries[:1])
    phone.window.skip(subscription, entries[1], TOO_LARGE)
    phone.take("all", entries)
    desk.writer.handed(phone, subscription)
    await desk.writer.flush()
    phone.subscriptions["all"] = Subscription("all", subscription.cursor)
    await desk.hand_out("all", phone)
    desk.acknowledge("all", phone, first.id, second.id, third.id)

    for sent in (first, second, third):
        funnel = await desk.funnel(sent.id)
        assert (funnel.written, funnel.acknowledged, funnel.dropped) == (1, 1, {})


@pytest.mark.parametrize(
    ("outcome", "dropped", "expired"),
    [
        (EXPIRED, {}, 1),
        (TOO_LARGE, {"too_large": 1}, 0),
        (UNACKNOWLEDGED, {"unacknowledged": 1}, 0),
    ],
)
@pytest.mark.parametrize("stream", ["all", "dev:t"])
@pytest_twisted.ensureDeferred
async def test_what_a_session_passed_over_is_counted_by_its_reason_and_not_as_written(
    desk: Any, stream: str, outcome: str, dropped: dict[str, int], expired: int
) -> None:
    phone = await desk.phone("t")
    sent = await desk.push(stream)
    subscription = phone.subscriptions[stream]
    phone.window.skip(subscription, (await desk.log(stream))[0], outcome)
    desk.writer.moved(phone, subscription)

    funnel = await desk.funnel(sent.id)

    assert (funnel.written, funnel.acknowledged) == (0, 0)
    assert (funnel.dropped, funnel.expired) == (dropped, expired)


@pytest_twisted.ensureDeferred
async def test_an_acknowledgement_behind_one_that_is_missing_counts_when_the_cursor_passes_it(
    desk: Any,
) -> None:
    phone = await desk.phone("t")
    first, second = await desk.push("all"), await desk.push("all")
    await desk.hand_out("all", phone)

    desk.acknowledge("all", phone, second.id)
    assert (await desk.funnel(second.id)).acknowledged == 0
    desk.acknowledge("all", phone, first.id)

    assert (await desk.funnel(first.id)).acknowledged == 1
    assert (await desk.funnel(second.id)).acknowledged == 1


@pytest.mark.parametrize("stream", ["all", "dev:t", "user:u"])
@pytest_twisted.ensureDeferred
async def test_a_batch_that_is_written_twice_counts_once(
    desk: Any, stream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The call took effect, but its answer was lost."""
    phone = await desk.phone("t", user="u")
    sent = await desk.push(stream)
    await desk.hand_out(stream, phone)
    desk.acknowledge(stream, phone, sent.id)
    run, calls = desk.store.run, []

    async def run_and_lose(*arguments: Any, **options: Any) -> Any:
        reply = await run(*arguments, **options)
        calls.append(arguments)
        if len(calls) == 1:
            raise StoreUnavailable("the answer was lost", unknown=True)
        return reply

    monkeypatch.setattr(desk.store, "run", run_and_lose)
    await desk.writer.flush()
    assert calls
    await desk.writer.flush()
    monkeypatch.undo()

    assert len(calls) == 2
    funnel = await desk.funnel(sent.id)
    assert (funnel.written, funnel.acknowledged) == (1, 1)


@pytest_twisted.ensureDeferred
async def test_what_moved_while_a_batch_failed_is_counted_with_the_next(
    desk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    phone = await desk.phone("t")
    sent = [await desk.push("all") for _ in range(3)]
    await desk.hand_out("all", phone)
    run = desk.store.run

    async def fail(*arguments: Any, **options: Any) -> Any:
        desk.acknowledge("all", phone, sent[1].id)
        raise StoreUnavailable("away", unknown=False)

    desk.acknowledge("all", phone, sent[0].id)
    monkeypatch.setattr(desk.store, "run", fail)
    await desk.writer.flush()
    monkeypatch.setattr(desk.store, "run", run)

    found = [await desk.funnel(one.id) for one in sent]
    assert [funnel.acknowledged for funnel in found] == [1, 1, 0]
    assert [funnel.written for funnel in found] == [1, 1, 1]


@pytest_twisted.ensureDeferred
async def test_a_session_that_lost_its_device_counts_nothing(desk: Any) -> None:
    phone = await desk.phone("t")
    sent = await desk.push("all")
    await desk.hand_out("all", phone)
    await desk.store.command("HSET", desk.store.key("device:t"), "s", "another")
    desk.acknowledge("all", phone, sent.id)

    funnel = await desk.funnel(sent.id)

    assert (funnel.written, funnel.acknowledged) == (0, 0)


@pytest_twisted.ensureDeferred
async def test_what_was_acknowledged_just_before_the_device_was_unbound_counts_so(
    desk: Any,
) -> None:
    """The acknowledgement is on its way to the store, and arrives after the unbinding."""
    phone = await desk.phone("t", user="u")
    await desk.store.command("HSET", desk.store.key("device:t"), "u", "u")
    done, read, unread = [await desk.push("user:u") for _ in range(3)]
    entries = await desk.log("user:u")
    phone.take("user:u", entries[:2])
    desk.acknowledge("user:u", phone, done.id)
    assert (await desk.store.run(_bind, [], ["t", "", "", "alone"]))[0] == 1

    assert await desk.states(done.id) == {"t": "acknowledged"}
    assert await desk.states(read.id) == {"t": "unbound"}
    assert await desk.states(unread.id) == {"t": "unbound"}
    assert not await desk.store.command("HEXISTS", desk.store.key("device:t"), "c:user:u")


# --- Lines: messages to devices and users -----


@pytest_twisted.ensureDeferred
async def test_a_message_to_users_has_a_line_for_each_device_that_they_have_then(desk: Any) -> None:
    one, two = await desk.phone("one", user="u"), await desk.phone("two", user="u")
    await desk.phone("three", user="v")
    sent = await desk.push("user:u", "user:v", "user:nobody", to='{"users":["u","v","nobody"]}')
    await desk.phone("later", user="u")
    await desk.hand_out("user:u", one, two)
    desk.acknowledge("user:u", one, sent.id)

    assert await desk.states(sent.id) == {
        "one": "acknowledged",
        "two": "written",
        "three": "stored",
    }
    assert (await desk.funnel(sent.id)).addressed == 3
    lines = await desk.ledger.devices(sent.id)
    assert [line.user for line in lines] == ["u", "v", "u"]


@pytest_twisted.ensureDeferred
async def test_a_user_without_a_device_is_addressed_in_vain(desk: Any) -> None:
    sent = await desk.push("user:nobody", to='{"user":"nobody"}')

    funnel = await desk.funnel(sent.id)

    assert (funnel.addressed, funnel.stored) == (0, 0)
    assert await desk.cancel(sent.id, "user:nobody") == [1, 0]
    assert await desk.keys() == {f"message:{sent.id}"}


@pytest_twisted.ensureDeferred
async def test_a_thousand_users_with_several_devices_each_are_addressed_and_cancelled_at_once(
    desk: Any,
) -> None:
    users = [f"u{n}" for n in range(1000)]
    for user in users:
        tokens = [f"{user}-{n}" for n in range(12)]
        await desk.store.command("SADD", desk.store.key(f"user-devices:{user}"), *tokens)
    streams = [f"user:{user}" for user in users]
    sent = await desk.push(*streams)

    assert (await desk.funnel(sent.id)).addressed == 12_000
    assert await desk.cancel(sent.id, *streams) == [1, 12_000]
    assert (await desk.funnel(sent.id)).cancelled == 12_000


@pytest_twisted.ensureDeferred
async def test_an_acknowledged_device_has_no_log_and_its_message_is_kept_a_day_longer(
    desk: Any,
) -> None:
    phone = await desk.phone("t")
    sent = await desk.push("dev:t", ttl_seconds=60)
    await desk.hand_out("dev:t", phone)
    desk.acknowledge("dev:t", phone, sent.id)
    await desk.funnel(sent.id)

    assert await desk.keys() == {"device:t", "devices", "expiry", f"message:{sent.id}"}
    left = await desk.store.command("TTL", desk.store.key(f"message:{sent.id}"))
    assert DAY < left <= DAY + 60


@pytest_twisted.ensureDeferred
async def test_nothing_brings_back_what_the_ledger_keeps_no_longer(desk: Any) -> None:
    """A late acknowledgement must not make a record that never expires."""
    phone = await desk.phone("t", user="u")
    sent = {stream: await desk.push(stream) for stream in ("all", "dev:t", "user:u")}
    for stream, published in sent.items():
        await desk.hand_out(stream, phone)
        await desk.store.command("DEL", desk.store.key(f"message:{published.id}"))
        desk.acknowledge(stream, phone, published.id)
    await desk.writer.flush()
    for stream, published in sent.items():
        await desk.cancel(published.id, stream)

    assert not {key for key in await desk.keys() if key.startswith("message:")}
