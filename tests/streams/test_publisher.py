"""One Lua call: offsets that never go back (rule 1), deadlines (rule 10), what is in the log."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from push.redis.client import RedisClient
from push.redis.connection.errors import StoreUnavailable
from push.redis.keyspace import LEDGER_TRACE, message_name
from push.redis.shards import Shards
from push.session.entry import Entry
from push.streams.log import LogReader, WantedPages
from push.streams.message import from_channel
from push.streams.publisher import UNKNOWN_TARGET, Publisher, StreamMessage
from tests.conftest import standing_still
from tests.publishing import publish
from tests.waiting import WaitUntil

MINUTE_US = 60_000_000
Connect = Callable[..., Awaitable[RedisClient]]


async def entries_of(store: RedisClient, stream: str, after: int = 0) -> list[Entry]:
    reading = await LogReader(store).read([WantedPages(stream, after, 1000)])
    return reading.pages[0].entries


def now_us() -> int:
    return int(time.time() * 1_000_000)


@pytest_twisted.ensureDeferred
async def test_rule_1_offsets_ascend_over_all_streams(sender: Any) -> None:
    offsets = []
    for n in range(50):
        offsets.append((await sender.send("all" if n % 2 else "user:u", n=n)).offset)

    assert offsets == sorted(set(offsets))
    assert abs(offsets[-1] - now_us()) < MINUTE_US


@pytest_twisted.ensureDeferred
async def test_rule_1_offsets_do_not_go_back_when_a_log_was_deleted(
    sender: Any, store: RedisClient
) -> None:
    await store.command("SET", store.key("clock"), now_us() + 10 * MINUTE_US)
    before = (await sender.send("all")).offset
    await store.command("DEL", store.key("log:all"))

    after = await sender.send("all")

    assert after.offset > before
    assert [entry.offset for entry in await entries_of(store, "all")] == [after.offset]


@pytest.mark.parametrize("value", [None, 0, 5, "behind"])
@pytest_twisted.ensureDeferred
async def test_rule_1_offsets_do_not_go_back_when_the_stored_clock_was_deleted_or_replaced(
    sender: Any, store: RedisClient, value: object
) -> None:
    """Redis's own time is behind (it was set back), and so is the stored clock: the floor holds."""
    await store.command("SET", store.key("clock"), now_us() + 10 * MINUTE_US)
    before = (await sender.send("all")).offset
    assert before > now_us() + 9 * MINUTE_US
    if value is None:
        await store.command("DEL", store.key("clock"))
    elif value == "behind":
        await store.command("SET", store.key("clock"), before - MINUTE_US)
    else:
        await store.command("SET", store.key("clock"), str(value))

    after = (await sender.send("all")).offset

    assert after > before
    assert await store.last_offset() == after


@pytest_twisted.ensureDeferred
async def test_rule_1_a_stored_clock_that_is_ahead_is_followed(
    sender: Any, store: RedisClient
) -> None:
    ahead = now_us() + 10 * MINUTE_US
    await store.command("SET", store.key("clock"), ahead)

    # A little ahead: the caller's floor runs on while the call is repeated.
    first = (await sender.send("all")).offset
    assert ahead < first < ahead + MINUTE_US
    assert (await sender.send("all")).offset > first


@pytest_twisted.ensureDeferred
async def test_rule_1_offsets_do_not_go_back_after_everything_was_flushed(
    sender: Any, store: RedisClient
) -> None:
    await store.command("SET", store.key("clock"), now_us() + 10 * MINUTE_US)
    before = (await sender.send("all")).offset
    await store.command("FLUSHALL")

    after = (await sender.send("all")).offset

    assert after > before


@pytest_twisted.ensureDeferred
async def test_rule_1_whoever_only_read_knows_the_clock_as_well(
    sender: Any, connect: Connect, redis_url: str, store: RedisClient
) -> None:
    """A connector that heard of an offset by reading gives it as the floor of its own calls."""
    other = await connect(redis_url)
    ahead = now_us() + 10 * MINUTE_US
    await store.command("SET", store.key("clock"), ahead)
    sent = (await sender.send("all")).offset

    reading = await LogReader(other).read([WantedPages("all", 0, 10)])

    assert reading.clock_us == sent > ahead
    assert reading.now_us >= sent
    assert other.clock.now_us() >= sent


@pytest_twisted.ensureDeferred
async def test_an_entry_on_the_channel_is_the_entry_of_the_log(
    sender: Any, store: RedisClient, wait_until: WaitUntil
) -> None:
    heard: list[bytes] = []
    await store.channels.subscribe("live:all", heard.append)
    await sender.send("all", n=1)
    await sender.send("all", n=2, data='"a\\nb c"')
    await wait_until(lambda: len(heard) == 2)

    live = [from_channel("all", payload, 7)[0] for payload in heard]
    assert None not in live
    logged = await entries_of(store, "all")

    for one, other in zip(live, logged, strict=True):
        assert (one.id, one.offset, one.body, one.expires_ms, one.previous) == (
            other.id,
            other.offset,
            other.body,
            other.expires_ms,
            other.previous,
        )
    assert [entry.message_id for entry in live] == [7, 7]
    assert live[0].previous == 0
    assert live[1].previous == live[0].offset


@pytest_twisted.ensureDeferred
async def test_what_is_not_stored_moves_no_offset(
    sender: Any, store: RedisClient, wait_until: WaitUntil
) -> None:
    heard: list[bytes] = []
    await store.channels.subscribe("live:all", heard.append)
    last = (await sender.send("all", n=1)).offset

    published = await sender.send("all", n=2, stored=False)
    await wait_until(lambda: len(heard) == 2)

    assert published.offset == 0
    assert published.connectors == {"all": 1}
    live = from_channel("all", heard[1], 7)[0]
    assert live is not None
    assert (live.offset, live.message_id) == (0, 0)
    assert await store.last_offset() == last
    assert len(await entries_of(store, "all")) == 1


@pytest_twisted.ensureDeferred
async def test_a_stream_whose_guard_is_missing_is_left_out(sender: Any, store: RedisClient) -> None:
    published = await sender.send("dev:x", guard="device:")

    assert published.connectors == {"dev:x": UNKNOWN_TARGET}
    assert not await store.command("EXISTS", store.key("log:dev:x"))


@pytest_twisted.ensureDeferred
async def test_rule_10_a_publish_whose_deadline_has_passed_does_nothing(
    connect: Connect, make_redis: Callable[..., Any], wait_until: WaitUntil
) -> None:
    """Redis stands still for longer than the caller waits, then runs what waited for it."""
    redis = make_redis()
    store = await connect(redis.url)
    publisher = Publisher(Shards([store]))

    def publish_number(n: int) -> Deferred[Any]:
        return Deferred.fromCoroutine(
            publish(
                publisher,
                StreamMessage(
                    id=f"m{n}",
                    content='{"id":"m"}',
                    ttl_seconds=60,
                    streams=["all"],
                    stored=True,
                ),
            )
        )

    await publish_number(1)
    with standing_still(redis, store), pytest.raises(StoreUnavailable) as caught:
        await publish_number(2)
    await wait_until(lambda: store.problem is None)
    await publish_number(3)

    assert caught.value.unknown
    assert [entry.id for entry in await entries_of(store, "all")] == ["m1", "m3"]


@pytest_twisted.ensureDeferred
async def test_rule_10_a_server_whose_time_leapt_forward_still_takes_messages(
    sender: Any, store: RedisClient
) -> None:
    """What looks like a passed deadline is a clock that we did not know yet."""
    ahead = now_us() + 10 * MINUTE_US
    await store.command("SET", store.key("clock"), ahead)

    published = await sender.send("all", n=1)

    assert published.offset > ahead
    assert len(await entries_of(store, "all")) == 1


@pytest_twisted.ensureDeferred
async def test_a_thousand_streams_are_one_call(sender: Any, store: RedisClient) -> None:
    names = [f"user:u{n}" for n in range(1000)]

    published = await sender.send(*names, n=1)

    assert list(published.connectors) == names
    for name in (names[0], names[999]):
        assert [entry.offset for entry in await entries_of(store, name)] == [published.offset]


@pytest.mark.parametrize("stored", [True, False], ids=["stored", "live only"])
@pytest_twisted.ensureDeferred
async def test_a_trace_is_on_the_channel_and_in_the_ledger_and_not_in_what_devices_get(
    store: RedisClient, wait_until: WaitUntil, stored: bool
) -> None:
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    heard: list[bytes] = []
    await store.channels.subscribe("live:user:anna", heard.append)
    publisher = Publisher(Shards([store]))
    for id, of in (("m1", trace), ("m2", None)):
        content = f'{{"id":"{id}","data":1}}'
        await publish(
            publisher,
            StreamMessage(
                id=id,
                content=content,
                ttl_seconds=60,
                streams=["user:anna"],
                stored=stored,
                to='{"user":"anna"}',
                trace=of,
            ),
        )
    await wait_until(lambda: len(heard) == 2)

    first, second = (from_channel("user:anna", payload, 7)[0] for payload in heard)
    assert first is not None
    assert second is not None
    assert (first.trace, second.trace) == (trace, "")
    assert trace.encode() not in first.body
    kept = [
        await store.command("HGET", store.key(message_name(id)), LEDGER_TRACE)
        for id in ("m1", "m2")
    ]
    assert kept == [trace.encode(), None]
    assert [entry.trace for entry in await entries_of(store, "user:anna")] == [""] * 2 * stored
