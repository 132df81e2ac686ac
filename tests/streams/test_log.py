"""Pages of logs: bounded, complete or not, and what has expired."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest_twisted
from twisted.internet.task import deferLater

from push.redis.client import RedisClient
from push.redis.connection.replies import parsed_info
from push.redis.shards import Shards
from push.streams.log import LogReader, WantedPages, has_expired
from push.streams.publisher import Publisher, StreamMessage


@pytest_twisted.ensureDeferred
async def test_a_log_is_read_page_by_page_without_loss_or_repeat(
    sender: Any, store: RedisClient, ids: Any
) -> None:
    for n in range(100):
        await sender.send("all", n=n, data=f'"{"x" * 100}"')
    reader = LogReader(store)
    for limit, max_bytes in [(1, 10**6), (7, 10**6), (16, 10**6), (64, 500), (10**6, 10**6)]:
        found: list[str] = []
        after = 0
        complete = False
        while not complete:
            reading = await reader.read([WantedPages("all", after, limit)], max_bytes)
            (page,) = reading.pages
            assert len(page.entries) <= limit
            assert page.entries or page.complete
            for entry in page.entries:
                assert entry.previous == after
                after = entry.offset
                found.append(entry.id)
            complete = page.complete
        assert found == ids(0, 99)


@pytest_twisted.ensureDeferred
async def test_redis_makes_no_system_call_for_each_message_of_an_answer(
    sender: Any, store: RedisClient
) -> None:
    """It hands each list of a reply to the kernel by itself, so pages and batches are packed."""
    pid = parsed_info(await store.command("INFO", "server"))["process_id"]

    def writes() -> int:
        """Those of Redis until now, on its sockets and its append-only file."""
        lines = Path(f"/proc/{pid}/io").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("syscw:"))

    before = writes()
    messages = [
        StreamMessage(id=f"m{n}", content="{}", ttl_seconds=60, streams=["all"], stored=True)
        for n in range(100)
    ]
    await Publisher(Shards([store])).publish_all(messages)
    published = writes()
    (page,) = (await LogReader(store).read([WantedPages("all", 0, 100)], 10**6)).pages
    assert len(page.entries) == 100
    assert published - before < 20
    assert writes() - published < 20


@pytest_twisted.ensureDeferred
async def test_a_page_that_ends_at_the_limit_does_not_say_it_is_complete(
    sender: Any, store: RedisClient
) -> None:
    for n in range(16):
        await sender.send("all", n=n)

    reading = await LogReader(store).read([WantedPages("all", 0, 16)])

    assert len(reading.pages[0].entries) == 16
    assert not reading.pages[0].complete


@pytest_twisted.ensureDeferred
async def test_an_answer_is_full_at_its_bytes_over_all_streams(
    sender: Any, store: RedisClient
) -> None:
    for n in range(40):
        await sender.send("all", "user:u", n=n, data=f'"{"x" * 1000}"')

    reading = await LogReader(store).read(
        [WantedPages("all", 0, 100), WantedPages("user:u", 0, 100), WantedPages("none", 0, 100)],
        20_000,
    )

    first, second, third = reading.pages
    assert 0 < len(first.entries) < 40
    assert not first.complete
    assert not second.entries
    assert not second.complete
    assert not third.complete


@pytest_twisted.ensureDeferred
async def test_a_message_larger_than_a_page_comes_all_the_same(
    sender: Any, store: RedisClient
) -> None:
    await sender.send("all", n=1, data=f'"{"x" * 300_000}"')

    reading = await LogReader(store).read([WantedPages("all", 0, 10)])

    assert len(reading.pages[0].entries) == 1


@pytest_twisted.ensureDeferred
async def test_entries_are_found_by_their_offsets(sender: Any, store: RedisClient) -> None:
    offsets = [(await sender.send("all", n=n, data=f'"{"x" * 9000}"')).offset for n in range(60)]
    await store.command("XDEL", store.key("log:all"), f"{offsets[5]}-0")

    wanted = [*offsets, offsets[0] + 1, offsets[-1] + 10]
    found, expired = await LogReader(store).get("all", wanted)

    assert sorted(found) == [offset for offset in offsets if offset != offsets[5]]
    assert found[offsets[7]].id == "m7"
    assert not expired


@pytest_twisted.ensureDeferred
async def test_what_has_expired_is_judged_by_the_servers_clock(
    sender: Any, store: RedisClient
) -> None:
    from twisted.internet import reactor

    short = await sender.send("all", n=1, ttl_seconds=1)
    long = await sender.send("all", n=2)
    await deferLater(reactor, 1.1)
    reader = LogReader(store)

    reading = await reader.read([WantedPages("all", 0, 10)])
    found, expired = await reader.get("all", [short.offset, long.offset])

    assert [has_expired(entry, reading.now_us) for entry in reading.pages[0].entries] == [
        True,
        False,
    ]
    assert sorted(found) == [short.offset, long.offset]
    assert expired == {short.offset}


@pytest_twisted.ensureDeferred
async def test_streams_that_are_ahead_are_found_among_many(sender: Any, store: RedisClient) -> None:
    names = [f"user:u{n}" for n in range(500)]
    last = (await sender.send(*names, n=1)).offset
    await sender.send("user:u7", "user:u499", n=2)
    reader = LogReader(store)

    ahead = await reader.ahead([*[(name, last) for name in names], ("user:none", 0)])

    assert sorted(ahead) == ["user:u499", "user:u7"]
    assert await reader.ahead([]) == []
