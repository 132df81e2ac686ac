"""Calls of one turn that go to Redis as one: how many, in which order, and what becomes of each."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_twisted
from msgspec import structs
from twisted.internet.defer import DeferredList, ensureDeferred
from txredisapi import ResponseError

from push.redis.client import RedisClient
from push.redis.connection.errors import StoreUnavailable
from push.redis.joined_calls import MAX_BYTES, MAX_ITEMS
from push.redis.shards import Shards
from push.runtime.timers import sleep
from push.streams.log import LogReader, WantedPages
from push.streams.publisher import UNKNOWN_TARGET, Published, Publisher, StreamMessage
from tests.conftest import RedisServer
from tests.publishing import publish

HOUR = 3600
Connect = Callable[..., Awaitable[RedisClient]]


@pytest_twisted.async_yield_fixture
async def store(connect: Connect, redis_url: str) -> AsyncIterator[RedisClient]:
    yield await connect(redis_url)


@pytest.fixture
def publisher(store: RedisClient) -> Publisher:
    return Publisher(Shards([store]))


def a_message(
    n: int, stream: str = "all", *, guard: str | None = None, size: int = 0, **more: Any
) -> StreamMessage:
    content = json.dumps({"id": f"m{n}", "data": "x" * size})
    options = {"ttl_seconds": HOUR, "stored": True, "to": '{"all":true}', **more}
    return StreamMessage(id=f"m{n}", content=content, streams=[stream], guard=guard, **options)


async def ids_in(store: RedisClient, stream: str) -> list[str]:
    reading = await LogReader(store).read([WantedPages(stream, 0, 1000)])
    return [entry.id for entry in reading.pages[0].entries]


async def calls_during(store: RedisClient, work: Callable[[], Awaitable[Any]]) -> int:
    """How many scripts the server runs meanwhile."""

    async def calls() -> int:
        for line in (await store.command("INFO", "commandstats")).decode().splitlines():
            if line.startswith("cmdstat_evalsha:"):
                return int(line.partition("calls=")[2].partition(",")[0])
        return 0

    before = await calls()
    await work()
    return await calls() - before


@pytest_twisted.ensureDeferred
async def test_what_several_publish_in_one_turn_is_one_call(
    store: RedisClient, publisher: Publisher
) -> None:
    await publish(publisher, a_message(0))

    async def work() -> None:
        all_at_once = [ensureDeferred(publish(publisher, a_message(n))) for n in range(1, 41)]
        outcomes = await DeferredList(all_at_once, fireOnOneErrback=True)
        offsets = [published.offset for _, published in outcomes]
        assert offsets == sorted(set(offsets))

    assert await calls_during(store, work) == 1
    assert await ids_in(store, "all") == [f"m{n}" for n in range(41)]


@pytest.mark.parametrize(
    ("count", "size", "calls"),
    [
        (MAX_ITEMS, 0, 1),
        (MAX_ITEMS + 1, 0, 2),
        (4, MAX_BYTES // 4 - 1000, 1),
        (5, MAX_BYTES // 4 - 1000, 2),
        (2, MAX_BYTES + 1, 2),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_call_is_bounded_by_items_and_by_bytes(
    store: RedisClient, publisher: Publisher, count: int, size: int, calls: int
) -> None:
    await publish(publisher, a_message(0, "topic:t"))
    messages = [a_message(n, size=size) for n in range(count)]

    assert await calls_during(store, lambda: publisher.publish_all(messages)) == calls
    assert await store.command("XLEN", store.key("log:all")) == count


@pytest_twisted.ensureDeferred
async def test_a_message_to_many_streams_counts_as_many(
    store: RedisClient, publisher: Publisher
) -> None:
    """Else a batch of those to a thousand users each would stop Redis for seconds."""
    await publish(publisher, a_message(0, "topic:t"))
    users = [f"user:u{number}" for number in range(MAX_ITEMS // 4)]
    messages = [structs.replace(a_message(n), streams=users) for n in range(9)]

    assert await calls_during(store, lambda: publisher.publish_all(messages)) == 3
    large = [structs.replace(message, streams=users * 5) for message in messages]
    assert await calls_during(store, lambda: publisher.publish_all(large)) == 9


@pytest_twisted.ensureDeferred
async def test_a_message_that_fails_harms_no_other(
    store: RedisClient, publisher: Publisher
) -> None:
    """The log of one stream is no log: Redis raises in the middle of the script."""
    await store.command("SET", store.key("log:topic:broken"), "no stream")
    once = {"idem": store.key("idem:k"), "digest": "digest"}
    await publish(publisher, a_message(0, **once))
    outcomes = await publisher.publish_all(
        [
            a_message(1),
            a_message(2, "topic:broken"),
            a_message(3, "dev:nobody", guard="device:"),
            a_message(4, **{**once, "digest": "another"}),
            a_message(5, **once),
            a_message(6),
        ]
    )

    kinds = [type(outcome).__name__ for outcome in outcomes]
    mismatch = "IdempotencyMismatch"
    assert kinds == ["Published", "ResponseError", "Published", mismatch, "Published", "Published"]
    failed = outcomes[1]
    assert isinstance(failed, ResponseError)
    assert str(failed).startswith("publish: WRONGTYPE")
    unknown, repeated = outcomes[2], outcomes[4]
    assert isinstance(unknown, Published)
    assert isinstance(repeated, Published)
    assert unknown.connectors == {"dev:nobody": UNKNOWN_TARGET}
    assert repeated.id == "m0"
    assert await ids_in(store, "all") == ["m0", "m1", "m6"]


@pytest_twisted.ensureDeferred
async def test_each_has_the_deadline_of_the_turn_in_which_it_was_asked_for(
    store: RedisClient, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process hangs between two requests for longer than a call may take."""
    hung_seconds = 0.0
    seconds = store.reactor.seconds

    class Hanging:
        def seconds(self) -> float:
            return seconds() + hung_seconds

        def callLater(self, *call: Any, **named: Any) -> Any:
            return reactor.callLater(*call, **named)

    reactor = store.reactor
    monkeypatch.setattr(store, "reactor", Hanging())
    await publish(publisher, a_message(0))
    early = ensureDeferred(publish(publisher, a_message(1)))
    hung_seconds = store.timeout_seconds + 1
    in_time = await publish(publisher, a_message(2))

    with pytest.raises(StoreUnavailable, match="in time"):
        await early
    assert in_time.id == "m2"
    assert await ids_in(store, "all") == ["m0", "m2"]


@pytest_twisted.ensureDeferred
async def test_what_is_asked_for_without_a_server_is_refused_to_each(
    store: RedisClient, publisher: Publisher
) -> None:
    await store.stop()
    outcomes = await publisher.publish_all([a_message(1), a_message(2)])

    assert [type(outcome) for outcome in outcomes] == [StoreUnavailable] * 2
    assert outcomes[0] is not outcomes[1]


@pytest.mark.parametrize(("count", "calls"), [(5, 2), (MAX_ITEMS + 5, 3)])
@pytest_twisted.ensureDeferred
async def test_what_is_asked_for_during_a_call_waits_for_its_answer_unless_it_fills_a_call(
    make_redis: Callable[[], RedisServer], connect: Connect, count: int, calls: int
) -> None:
    """Redis hangs meanwhile, for less than a call may take."""
    redis = make_redis()
    store = await connect(redis.url, timeout_seconds=60)
    publisher = Publisher(Shards([store]))
    await publish(publisher, a_message(0))

    async def work() -> None:
        redis.pause()
        all_asked = []
        for n in range(count + 1):
            all_asked.append(ensureDeferred(publish(publisher, a_message(1 + n))))
            await sleep(store.reactor, 0)
        redis.resume()
        await DeferredList(all_asked, fireOnOneErrback=True)

    assert await calls_during(store, work) == calls
    assert await store.command("XLEN", store.key("log:all")) == count + 2


@pytest_twisted.ensureDeferred
async def test_what_cannot_be_sent_fails_and_the_rest_of_its_turn_does_not(
    store: RedisClient, publisher: Publisher
) -> None:
    """Else all who asked in that turn would wait for ever."""
    messages = [a_message(n) for n in range(3)]
    messages[1] = structs.replace(messages[1], content='"\ud800"')  # it has no bytes

    outcomes = await DeferredList(
        [ensureDeferred(publish(publisher, each)) for each in messages], consumeErrors=True
    )

    assert [succeeded for succeeded, _ in outcomes] == [True, False, True]
    assert outcomes[1][1].check(UnicodeEncodeError)
    assert await ids_in(store, "all") == ["m0", "m2"]
