"""Requests of a key are counted by Redis for all processes, wrong keys by each for itself."""

from __future__ import annotations

import time
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import Clock

from push.access.rate_limits import RefusalCounts
from push.access.request_rates import MAX_ADDRESSES, FailedKeys, Quota, RequestRates
from push.redis.client import RedisClient
from push.redis.connection.errors import StoreUnavailable
from push.redis.shards import Shards
from push.wire.errors import LimitPolicy, RequestError

KEY = "a" * 64


class Process:
    """A process that counts; its clock stands still, so that a refusal lasts."""

    def __init__(self, store: RedisClient, per_second: int) -> None:
        self.clock = Clock()
        self.refusals = RefusalCounts()
        self.refused: RequestError | None = None
        self.rates = RequestRates(self.clock, Shards([store]), per_second, self.refusals)

    async def take(self, key: str = KEY) -> bool:
        try:
            await self.rates.take(key)
        except RequestError as error:
            self.refused = error
            return False
        return True


@pytest.fixture
def make_process(store: RedisClient) -> Any:
    return lambda per_second: Process(store, per_second)


@pytest_twisted.ensureDeferred
async def test_several_processes_share_the_quota_of_a_key(make_process: Any) -> None:
    per_second = 20
    one, other = make_process(per_second), make_process(per_second)
    began = time.monotonic()

    taken = [await process.take() for _ in range(500) for process in (one, other)]

    passed_seconds = time.monotonic() - began
    assert per_second <= sum(taken) <= per_second * (1 + passed_seconds) + 1
    assert one.refusals["requests_per_second"] + other.refusals["requests_per_second"] == (
        len(taken) - sum(taken)
    )
    assert await one.take("b" * 64), "another key has its own"


@pytest_twisted.ensureDeferred
async def test_after_the_time_that_a_refusal_tells_there_is_room(make_process: Any) -> None:
    process = make_process(1)
    assert await process.take()
    while await process.take():  # a slow machine: a second has passed
        pass
    assert not await process.take(), "Redis is not asked: this clock stands still"

    refused = process.refused
    assert (refused.code, refused.after_seconds) == ("rate_limited", 1)
    assert refused.limit == LimitPolicy("requests_per_second", 1, 1)
    process.clock.advance(1)
    while not await process.take():
        process.clock.advance(1)  # and asks again

    assert process.refusals["requests_per_second"] >= 2


@pytest_twisted.ensureDeferred
async def test_redis_is_asked_for_ten_at_a_time_and_once_for_all_who_wait(
    make_process: Any, store: RedisClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = make_process(1000)
    run, calls = store.run, []

    async def counted(*arguments: Any, **options: Any) -> Any:
        calls.append(arguments)
        return await run(*arguments, **options)

    monkeypatch.setattr(store, "run", counted)
    taking = [Deferred.fromCoroutine(process.take()) for _ in range(100)]

    assert all(await gatherResults(taking))
    assert len(calls) == 10


@pytest_twisted.ensureDeferred
async def test_what_was_not_used_within_a_second_is_lost(make_process: Any) -> None:
    process = make_process(1000)
    first = await process.rates.take(KEY)
    second = await process.rates.take(KEY)
    assert isinstance(first, Quota)
    assert second.remaining == first.remaining - 1
    process.clock.advance(1)
    third = await process.rates.take(KEY)
    assert third.remaining != second.remaining - 1


@pytest_twisted.ensureDeferred
async def test_keys_that_are_used_no_more_are_forgotten(make_process: Any) -> None:
    process = make_process(1000)
    for number in range(500):
        assert await process.take(f"{number:064}")
        process.clock.advance(0.1)
    assert len(process.rates._leases) <= 30


@pytest_twisted.ensureDeferred
async def test_what_is_left_and_a_refusal_are_kept_while_other_keys_come(
    make_process: Any,
) -> None:
    process = make_process(1)
    while await process.take():  # this clock stands still, so that the refusal lasts
        pass
    other = make_process(1000)
    before = await other.rates.take("b" * 64)
    for one, key in ((process, "c" * 64), (other, "d" * 64)):
        one.rates._forget_at = 0.0
        assert await one.take(key)
    assert not await process.take()
    assert (await other.rates.take("b" * 64)).remaining == before.remaining - 1


@pytest_twisted.ensureDeferred
async def test_without_redis_and_without_a_limit_nothing_is_counted(
    make_process: Any, store: RedisClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await make_process(0).rates.take(KEY) is None
    process = make_process(1)

    async def fail(*arguments: Any, **options: Any) -> Any:
        raise StoreUnavailable("away")

    monkeypatch.setattr(store, "run", fail)
    assert [await process.take() for _ in range(3)] == [True] * 3
    monkeypatch.undo()
    assert isinstance(await process.rates.take(KEY), Quota)


def note(failed: FailedKeys, ip: str) -> int | None:
    """The seconds that the refusal tells, if it is one."""
    try:
        failed.note(ip)
    except RequestError as refusal:
        return refusal.after_seconds
    return None


def test_an_address_may_try_so_many_wrong_keys_a_minute() -> None:
    clock, refusals = Clock(), RefusalCounts()
    failed = FailedKeys(clock, 2, refusals)

    assert [note(failed, "192.0.2.1") for _ in range(3)] == [None, None, 60]
    assert note(failed, "192.0.2.2") is None
    clock.advance(20)
    assert note(failed, "192.0.2.1") == 40
    clock.advance(40)
    assert note(failed, "192.0.2.1") is None
    assert refusals == {"failed_keys_per_minute": 2}


def test_addresses_are_remembered_up_to_a_number() -> None:
    failed = FailedKeys(Clock(), 1, RefusalCounts())
    note(failed, "first")
    for number in range(MAX_ADDRESSES):
        note(failed, str(number))
    assert note(failed, "first") is None
    assert note(failed, str(MAX_ADDRESSES - 1)) == 60
