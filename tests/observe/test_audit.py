"""The audit trail in Redis: pages, bounds, and how many refusals are noted."""

from __future__ import annotations

import tracemalloc
from collections.abc import Hashable
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import Clock

from push.observe import audit as audit_module
from push.observe.audit import AuditTrail, Refusals
from push.redis.connection.errors import StoreUnavailable
from push.redis.shards import Shards
from push.wire.errors import RequestError
from tests.waiting import WaitUntil


def trail_of(shards: Shards) -> AuditTrail:
    from twisted.internet import reactor

    return AuditTrail(reactor, shards.first, shards.first.clock)  # type: ignore[arg-type]  # of zope


async def targets(trail: AuditTrail, limit: int = 3, **wanted: Any) -> list[str]:
    """Through all pages."""
    found: list[str] = []
    cursor = ""
    while True:
        page = await trail.page(wanted.get("since", 0), wanted.get("key"), cursor, limit)
        assert len(page.audit) <= limit
        found += [entry.target for entry in page.audit]
        if page.cursor is None:
            return found
        cursor = page.cursor


@pytest_twisted.ensureDeferred
async def test_pages_go_through_all_parts_and_none_is_listed_twice(shards: Shards) -> None:
    trail = trail_of(shards)
    for number in range(10):
        admin = number % 2 == 0
        trail.note(f"key{number % 3}", "192.0.2.1", "PUT /x", str(number), 204, is_admin=admin)
        if number % 5 == 0:
            trail.note_refused(None, f"192.0.2.{number}", "GET /x", f"refused{number}", 401)
        await trail.store_all()
    expected = {*map(str, range(10)), "refused0", "refused5"}
    for limit in (1, 3, 5, 12, 50):
        found = await targets(trail, limit)
        assert len(found) == len(expected)
        assert set(found) == expected
    page = await trail.page(0, None, "", 50)
    times = [entry.ts for entry in page.audit]
    assert times == sorted(times, reverse=True)
    assert await targets(trail, key="key1") == ["7", "4", "1"]
    with pytest.raises(RequestError, match="cursor"):
        await trail.page(0, None, "nonsense", 10)


@pytest_twisted.ensureDeferred
async def test_much_of_one_part_drives_out_nothing_of_another(
    shards: Shards, monkeypatch: Any
) -> None:
    monkeypatch.setattr(audit_module, "MAX_OF_A_PART", 5)
    trail = trail_of(shards)
    trail.note("admin", "192.0.2.1", "DELETE /x", "act", 204, is_admin=True)
    for number in range(40):
        trail.note("backend", "192.0.2.1", "PUT /x", f"write{number}", 204, is_admin=False)
    await trail.store_all()
    assert await targets(trail) == [*(f"write{n}" for n in range(39, 34, -1)), "act"]
    key = shards.first.key("audit:writes")
    assert 0 < await shards.first.command("TTL", key) <= 90 * 86_400


@pytest_twisted.ensureDeferred
async def test_only_what_is_later_is_listed(shards: Shards) -> None:
    trail = trail_of(shards)
    trail.note("admin", "192.0.2.1", "DELETE /x", "act", 204, is_admin=True)
    await trail.store_all()
    entry = (await trail.page(0, None, "", 10)).audit[0]
    assert await targets(trail, since=entry.ts - 1000) == ["act"]
    assert await targets(trail, since=entry.ts + 60_000) == []


@pytest_twisted.ensureDeferred
async def test_pages_that_wait_for_their_turn_keep_nothing_of_what_they_have_read(
    shards: Shards, wait_until: WaitUntil, monkeypatch: Any
) -> None:
    trail = trail_of(shards)
    for number in range(audit_module.READ_AT_A_TIME + 100):
        trail.note("backend", "192.0.2.1", "PUT /x", f"{number:0200}", 204, is_admin=False)
    await trail.store_all()
    calls = shards.first.patient_calls
    run, waiting = calls.run, dict[Hashable, Deferred[None]]()

    async def run_after_the_others(owner: Hashable, kind: Hashable, call: Any) -> Any:
        """Each page waits before its second turn."""
        if owner in begun:
            waiting[owner] = Deferred()
            await waiting[owner]
        begun.add(owner)
        return await run(owner, kind, call)

    begun = set[Hashable]()
    monkeypatch.setattr(calls, "run", run_after_the_others)
    pages = 20
    tracemalloc.start()
    try:
        before_bytes, _ = tracemalloc.get_traced_memory()
        read = [
            Deferred.fromCoroutine(trail.page(0, "nobody", "", 10, number))
            for number in range(pages)
        ]
        await wait_until(lambda: len(waiting) == pages)
        kept_bytes = tracemalloc.get_traced_memory()[0] - before_bytes
    finally:
        tracemalloc.stop()
    for turn in waiting.values():
        turn.callback(None)
    assert [page.audit for page in await gatherResults(read)] == [[]] * pages
    assert kept_bytes < pages * 20_000


@pytest_twisted.ensureDeferred
async def test_what_redis_has_written_without_an_answer_is_not_written_again(
    shards: Shards, monkeypatch: Any, wait_until: WaitUntil, log_lines: list[str]
) -> None:
    monkeypatch.setattr(audit_module, "RETRY_SECONDS", 0.01)
    store = shards.first
    trail = trail_of(shards)
    answered = store.run
    unanswered = 5

    async def run(*arguments: Any, **options: Any) -> Any:
        """The first calls are carried out, and their answers are lost."""
        nonlocal unanswered
        answer = await answered(*arguments, **options)
        if unanswered:
            unanswered -= 1
            raise StoreUnavailable("connection lost", unknown=True)
        return answer

    monkeypatch.setattr(store, "run", run)
    for target in ("one", "two"):
        trail.note("admin", "192.0.2.1", "DELETE /x", target, 204, is_admin=True)
    trail.note("backend", "192.0.2.1", "PUT /x", "write", 204, is_admin=False)
    await trail.store_all()
    trail.note("admin", "192.0.2.1", "DELETE /x", "three", 204, is_admin=True)
    await wait_until(lambda: not unanswered)
    await trail.store_all()
    assert sorted(await targets(trail)) == ["one", "three", "two", "write"]
    assert sum("audit trail waits" in line for line in log_lines) == 1


def test_some_refusals_of_each_address_and_minute_are_noted() -> None:
    clock = Clock()
    refusals = Refusals(clock)  # type: ignore[arg-type]  # of zope
    noted = [refusals.may_note("2001:db8::1") for _ in range(50)]
    assert noted.count(True) == 10
    assert not refusals.may_note("2001:db8::2")  # of the same network
    assert refusals.may_note("192.0.2.1")
    noted = [refusals.may_note(f"198.51.100.{n}") for n in range(200)]
    assert noted.count(True) == 100 - 11
    clock.advance(60)
    assert refusals.may_note("2001:db8::1")
