"""How messages end in the ledger: taken out of a log, too many, or never in one."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import pytest_twisted

from push.redis.keyspace import ENTRY_ONLINE
from push.redis.scripts import load_script
from push.redis.shards import Shards
from push.streams.publisher import Publisher, Retention

DAY = 86_400

# --- Taking out -----


@pytest.mark.parametrize("stream", ["all", "dev:t", "user:u"])
@pytest_twisted.ensureDeferred
async def test_a_cancelled_message_that_is_acknowledged_after_all_counts_so(
    desk: Any, stream: str
) -> None:
    phone = await desk.phone("t", user="u")
    sent = await desk.push(stream)
    await desk.hand_out(stream, phone)

    assert await desk.cancel(sent.id, stream) == [1, 1]
    assert (await desk.funnel(sent.id)).cancelled == 1
    assert await desk.cancel(sent.id, stream) == [1, 0]
    desk.acknowledge(stream, phone, sent.id)

    funnel = await desk.funnel(sent.id)
    assert (funnel.acknowledged, funnel.cancelled, funnel.written) == (1, 0, 1)


@pytest_twisted.ensureDeferred
async def test_an_unknown_message_is_not_cancelled(desk: Any) -> None:
    assert await desk.cancel("m99", "all") == [0, 0]


@pytest_twisted.ensureDeferred
async def test_what_was_acknowledged_is_not_cancelled(desk: Any) -> None:
    one, other = await desk.phone("one"), await desk.phone("other")
    sent = await desk.push("all")
    await desk.hand_out("all", one, other)
    desk.acknowledge("all", one, sent.id)
    await desk.writer.flush()

    assert await desk.cancel(sent.id, "all") == [1, 1]
    funnel = await desk.funnel(sent.id)
    assert (funnel.acknowledged, funnel.cancelled) == (1, 1)


@pytest.mark.parametrize("stream", ["all", "dev:t", "user:u"])
@pytest_twisted.ensureDeferred
async def test_a_newer_message_takes_the_place_of_one_with_its_collapse_key(
    desk: Any, stream: str
) -> None:
    await desk.phone("t", user="u")
    first = await desk.push(stream, collapse="k")
    other = await desk.push(stream, collapse="other")
    second = await desk.push(stream, collapse="k")

    assert [entry.id for entry in await desk.log(stream)] == [other.id, second.id]
    assert (await desk.funnel(first.id)).dropped == {"collapsed": 1}
    assert (await desk.funnel(second.id)).dropped == {}


@pytest_twisted.ensureDeferred
async def test_what_was_acknowledged_is_not_collapsed(desk: Any) -> None:
    one, other = await desk.phone("one"), await desk.phone("other")
    first = await desk.push("all", collapse="k")
    await desk.hand_out("all", one)
    desk.acknowledge("all", one, first.id)
    await desk.writer.flush()
    second = await desk.push("all", collapse="k")
    await desk.hand_out("all", one, other)
    for phone in (one, other):
        desk.acknowledge("all", phone, second.id)

    funnel = await desk.funnel(first.id)
    assert (funnel.acknowledged, funnel.dropped) == (1, {"collapsed": 1})
    assert (await desk.funnel(second.id)).acknowledged == 2


@pytest_twisted.ensureDeferred
async def test_collapse_keys_of_a_device_do_not_outlive_their_messages(desk: Any) -> None:
    """The log never is empty: the newest message always is unacknowledged."""
    phone = await desk.phone("t")
    before = await desk.push("dev:t", collapse="k0")
    for n in range(1, 5):
        newest = await desk.push("dev:t", collapse=f"k{n}")
        await desk.hand_out("dev:t", phone)
        desk.acknowledge("dev:t", phone, before.id)
        await desk.writer.flush()
        before = newest

    assert await desk.store.command("HKEYS", desk.store.key("collapse:dev:t")) == [b"k4"]


@pytest.mark.parametrize(
    ("stream", "limit", "reason"),
    [
        ("dev:t", "device_max_messages", "backlog"),
        ("user:u", "shared_max_messages", "retention"),
        ("all", "shared_max_messages", "retention"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_the_oldest_of_too_many_are_dropped_and_who_had_not_read_them_can_see_it(
    make_desk: Any, stream: str, limit: str, reason: str
) -> None:
    desk = make_desk(**{limit: 3})
    phone = await desk.phone("t", user="u")
    sent = [await desk.push(stream, collapse="k" if n == 1 else None) for n in range(5)]

    found = [await desk.funnel(published.id) for published in sent]

    assert [funnel.dropped for funnel in found] == [{reason: 1}] * 2 + [{}] * 3
    lost = await desk.store.command("GET", desk.store.key(f"lost:{stream}"))
    assert int(lost) == sent[1].offset
    assert 0 < await desk.store.command("TTL", desk.store.key(f"lost:{stream}")) <= 30 * DAY
    assert not await desk.store.command("HLEN", desk.store.key(f"collapse:{stream}"))
    await desk.hand_out(stream, phone)
    for published in sent[2:]:
        desk.acknowledge(stream, phone, published.id)
    assert [(await desk.funnel(p.id)).acknowledged for p in sent] == [0, 0, 1, 1, 1]


@pytest_twisted.ensureDeferred
async def test_a_log_that_is_far_over_a_lowered_limit_is_shortened_at_once(
    desk: Any,
) -> None:
    await desk.phone("t")
    sent = [await desk.push("dev:t") for _ in range(350)]
    desk.publisher = Publisher(Shards([desk.store]), Retention(device_max_messages=1))
    newest = await desk.push("dev:t")

    assert [entry.offset for entry in await desk.log("dev:t")] == [newest.offset]
    assert (await desk.funnel(sent[0].id)).dropped == {"backlog": 1}
    assert (await desk.funnel(sent[-1].id)).dropped == {"backlog": 1}


# --- What is in no log -----

_count_ephemeral = load_script("streams", "count_ephemeral")


@pytest_twisted.ensureDeferred
async def test_counts_of_fleeting_messages_are_added_and_lines_settled_once(desk: Any) -> None:
    await desk.phone("a")
    await desk.phone("b")
    to_all = await desk.push("all", ttl_seconds=0, stored=False, field=ENTRY_ONLINE)
    to_one = await desk.push("dev:a", ttl_seconds=0, stored=False, field=ENTRY_ONLINE)
    items = [
        [to_all.id, "", "w", 2, ""],
        [to_all.id, "", "a", 1, ""],
        [to_one.id, "a", "w", 1, "dev:a"],
        [to_one.id, "a", "a", 1, "dev:a"],
        [to_one.id, "a", "a", 1, "dev:a"],
        ["unknown", "", "w", 1, ""],
        ["unknown", "a", "a", 1, "dev:a"],
    ]
    await desk.store.run(_count_ephemeral, [], [msgspec.msgpack.encode(items)])

    all_, one = await desk.funnel(to_all.id), await desk.funnel(to_one.id)

    assert (all_.addressed, all_.stored, all_.written, all_.acknowledged) == (2, 0, 2, 1)
    assert (one.addressed, one.stored, one.written, one.acknowledged) == (1, 0, 1, 1)
    assert not await desk.store.command("EXISTS", desk.store.key("message:unknown"))


@pytest_twisted.ensureDeferred
async def test_a_session_that_was_reached_is_counted_though_its_device_was_not_yet_the_users(
    desk: Any,
) -> None:
    for token in ("a", "b", "c"):
        await desk.phone(token)
    await desk.store.command("SADD", desk.store.key("user-devices:anna"), "a")
    fleeting = await desk.push("user:anna", ttl_seconds=0, stored=False)
    stored = await desk.push("user:anna")
    reached = [("a", "w"), ("b", "w"), ("c", "d:congested"), ("b", "w")]
    items = [[sent.id, *each, 1, "user:anna"] for each in reached for sent in (fleeting, stored)]
    await desk.store.run(_count_ephemeral, [], [msgspec.msgpack.encode(items)])

    found = await desk.funnel(fleeting.id)
    assert (found.addressed, found.written, found.dropped) == (3, 2, {"congested": 1})
    lines = await desk.ledger.devices(fleeting.id)
    assert [(line.token, line.user) for line in lines] == [(t, "anna") for t in ("a", "b", "c")]
    assert (await desk.funnel(stored.id)).addressed == 1


@pytest_twisted.ensureDeferred
async def test_a_fleeting_message_came_too_late_for_those_who_were_not_there(desk: Any) -> None:
    await desk.phone("a")
    sent = await desk.push("all", ttl_seconds=0, stored=False, field=ENTRY_ONLINE)

    assert (await desk.funnel(sent.id)).expired == 0
    await desk.pass_time(6)
    assert (await desk.funnel(sent.id)).expired == 1
