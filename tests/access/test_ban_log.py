"""How bans are read from a real Redis: only what changed, a page at a time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.task import LoopingCall

from push.access import ban_log
from push.access.ban_log import PAGE, BanLog
from push.access.ban_table import ActiveBan, NewBans
from push.access.bans import Bans
from push.redis import keyspace
from push.redis.client import RedisClient
from push.redis.shared_copy import Lease
from push.runtime.tasks import gather
from push.wire.errors import RequestError

Make = Callable[..., Awaitable[Any]]
AT_ONCE = 250


class Counted:
    """A server, and how many bans and lifts each page had that was read from it."""

    def __init__(self, server: RedisClient) -> None:
        self._server = server
        self.pages: list[tuple[int, int]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._server, name)

    async def run(self, script: Any, *args: Any, **options: Any) -> Any:
        reply = await self._server.run(script, *args, **options)
        if script is ban_log._read and reply:
            self.pages.append((len(reply[3]) // 2, len(reply[5]) // 2))
        return reply

    def taken(self) -> list[tuple[int, int]]:
        taken, self.pages = self.pages, []
        return taken


class World:
    """Bans as one process makes them, and as another one reads them."""

    def __init__(self, server: RedisClient, **options: Any) -> None:
        from twisted.internet import reactor

        self.server = server
        self.bans = Bans(reactor, server, Lease(reactor, server, "boot"), **options)
        self.counted = Counted(server)
        self.log = BanLog(self.counted)  # type: ignore[arg-type]  # it passes everything on

    async def ban(self, *names: str, until: int | None = None) -> None:
        for start in range(0, len(names), AT_ONCE):
            part = names[start : start + AT_ONCE]
            await gather(self.bans.add(ActiveBan("user", name, until)) for name in part)

    async def lift(self, *names: str) -> None:
        for start in range(0, len(names), AT_ONCE):
            await gather(self.bans.lift("user", name) for name in names[start : start + AT_ONCE])

    def known(self, log: BanLog | None = None) -> set[str]:
        return {key.removeprefix("user:") for key in (log or self.log).table._ends_ms}

    async def stored(self) -> set[str]:
        fields = await self.server.command("HKEYS", self.server.key(keyspace.BANS))
        return {field.decode().removeprefix("user:") for field in fields}

    def now_ms(self) -> int:
        return self.bans.now_ms()


@pytest_twisted.async_yield_fixture
async def world(connect: Make, redis_url: str) -> Any:
    world = World(await connect(redis_url))
    yield world
    world.bans.stop()


def names(count: int, letter: str = "n") -> list[str]:
    return [f"{letter}{number}" for number in range(count)]


@pytest_twisted.ensureDeferred
async def test_all_bans_are_read_in_pages_between_which_the_reactor_runs(world: World) -> None:
    count = 2 * PAGE + 10
    await world.ban(*names(count))
    turns = 0

    def turn() -> None:
        nonlocal turns
        turns += 1

    looping = LoopingCall(turn)
    looping.start(0)
    before = turns
    await world.log.read()
    looping.stop()
    assert world.known() == set(names(count))
    assert world.log.new.of_all
    assert world.counted.taken() == [(PAGE, 0), (PAGE, 0), (10, 0)]
    assert turns - before >= 2


@pytest_twisted.ensureDeferred
async def test_afterwards_only_what_changed_is_read(world: World) -> None:
    await world.ban(*names(PAGE + 1))
    await world.log.read()
    world.counted.taken()
    world.log.new = ban_log.NewBans()
    await world.log.read()
    assert world.counted.taken() == [(0, 0)]
    assert not world.log.new.are_there

    await world.ban("n3", "new", until=world.now_ms() + 60_000)
    await world.lift("n4", "n5")
    await world.log.read()

    assert world.counted.taken() == [(2, 2)]
    assert world.known() == {*names(PAGE + 1), "new"} - {"n4", "n5"}
    assert not world.log.new.of_all
    assert [name for name in ("n3", "new", "n4", "n7") if world.log.new.name(None, name)] == [
        "n3",
        "new",
    ]
    assert len(list(world.log.table.matching("", None, "n3"))) == 1


@pytest_twisted.ensureDeferred
async def test_a_ban_that_is_lifted_and_made_again_holds(world: World) -> None:
    await world.ban("anna", "ben")
    await world.log.read()
    for _ in range(3):
        await world.lift("anna", "ben")
        await world.ban("anna")
        await world.log.read()
        assert world.known() == {"anna"}
        await world.ban("ben")
        await world.lift("anna")
        await world.ban("anna")
    await world.log.read()
    assert world.known() == {"anna", "ben"}


@pytest_twisted.ensureDeferred
async def test_many_changes_at_once_are_read_in_pages_too(world: World) -> None:
    await world.ban(*names(PAGE + 20))
    await world.log.read()
    await world.lift(*names(PAGE + 20))
    await world.ban(*names(PAGE + 1, "m"))
    world.counted.taken()
    await world.log.read()
    assert world.counted.taken() == [(PAGE, PAGE), (1, 20)]
    assert world.known() == set(names(PAGE + 1, "m"))


@pytest_twisted.ensureDeferred
async def test_a_process_that_missed_more_lifts_than_are_kept_reads_all(world: World) -> None:
    kept = 10_000
    await world.ban("stays", *names(kept + 5))
    await world.log.read()
    assert len(world.known()) == kept + 6
    await world.lift(*names(kept + 5))
    lifted = await world.server.command("ZCARD", world.server.key(keyspace.LIFTED_BANS))
    assert lifted == kept
    forgotten = world.server.key(keyspace.FORGOTTEN_LIFTS)
    assert 0 < await world.server.command("TTL", forgotten) <= 86_400
    late = BanLog(world.server)
    late.table, late._position = world.log.table, world.log._position

    await late.read()

    assert world.known(late) == {"stays"}
    assert late.new.of_all


@pytest_twisted.ensureDeferred
async def test_a_process_that_read_nothing_for_a_day_reads_all(world: World) -> None:
    """Lifts are kept no longer. It was paused, or Redis could not be reached."""
    await world.ban("anna", "ben")
    await world.log.read()
    await world.lift("anna")
    await world.server.command("DEL", world.server.key(keyspace.LIFTED_BANS))
    day_later_us = world.server.clock.now_us() + 86_401 * 1_000_000
    await world.server.command("SET", world.server.key(keyspace.CLOCK), day_later_us)
    await world.log.read()
    assert world.known() == {"ben"}
    await world.lift("ben")
    lifted = world.server.key(keyspace.LIFTED_BANS)
    assert 0 < await world.server.command("TTL", lifted) <= 86_400


@pytest_twisted.ensureDeferred
async def test_what_an_earlier_version_made_and_lifted_is_seen(world: World) -> None:
    """It writes the hash alone."""
    bans = world.server.key(keyspace.BANS)
    await world.server.command("HSET", bans, "user:old", 0, "user:older", 0)
    await world.log.read()
    assert world.known() == {"old", "older"}
    await world.ban("new")
    await world.server.command("HSET", bans, "user:newer", 0)
    await world.log.read()
    assert world.known() == {"old", "older", "new", "newer"}
    await world.server.command("HDEL", bans, "user:old", "user:new")
    await world.log.read()
    assert world.known() == {"older", "newer"}


@pytest_twisted.ensureDeferred
async def test_bans_that_ended_are_forgotten_here_and_in_redis(world: World) -> None:
    end_ms = world.now_ms() + 60_000
    await world.ban(*names(PAGE + 3), until=end_ms)
    await world.ban("stays")
    await world.ban("later", until=end_ms + 60_000)
    await world.log.read()
    world.server.clock.observe(end_ms * 1000)
    await world.ban("n1", until=end_ms + 60_000)

    await world.log.forget_ended(world.now_ms())

    assert await world.stored() == {"stays", "later", "n1"}
    await world.log.read()
    assert world.known() == {"stays", "later", "n1"}
    assert world.log._doubts == 0


@pytest_twisted.ensureDeferred
async def test_a_table_that_is_not_what_redis_has_is_made_anew(world: World) -> None:
    """As after a fail-over to a replica that lacked the last writes."""
    await world.ban("anna")
    await world.log.read()
    world.log.table.set("user:ghost", 0)
    for _ in range(ban_log.DOUBTS + 1):
        await world.log.read()
    assert world.known() == {"anna"}


@pytest_twisted.ensureDeferred
async def test_a_table_that_is_worn_is_made_anew(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("push.access.ban_table.SPARE_ENDS", 3)
    end_ms = world.now_ms() + 60_000
    await world.log.read()
    for number in range(6):
        await world.ban("anna", until=end_ms + number)
        await world.log.read()
    await world.log.read()
    assert len(world.log.table._by_end) <= 2 + 3
    assert world.known() == {"anna"}


@pytest_twisted.ensureDeferred
async def test_bans_that_sessions_could_not_be_compared_with_are_compared_the_next_time(
    connect: Make, redis_url: str
) -> None:
    judged: list[list[str]] = []
    is_broken = True

    async def judge(new: NewBans) -> None:
        if is_broken and not new.of_all:
            raise ValueError("on purpose")
        judged.append([name for name in ("anna", "ben", "carl") if new.name(None, name)])

    world = World(await connect(redis_url), end_banned=judge)
    await world.bans._apply(await world.bans._read())  # all
    for name in ("anna", "ben"):
        await world.ban(name)
        kicks = await world.bans._read()
        with pytest.raises(ValueError, match="on purpose"):
            await world.bans._apply(kicks)
    is_broken = False
    await world.bans._apply(await world.bans._read())
    await world.bans._apply(await world.bans._read())
    assert judged == [["anna", "ben", "carl"], ["anna", "ben"]]


@pytest_twisted.ensureDeferred
async def test_more_bans_than_there_may_be_are_refused_and_those_that_ended_make_room(
    connect: Make, redis_url: str
) -> None:
    world = World(await connect(redis_url), at_most=2)
    end_ms = world.now_ms() + 60_000
    await world.ban("anna")
    await world.ban("ben", until=end_ms)
    with pytest.raises(RequestError, match="there are 2 bans") as refused:
        await world.ban("carl")
    assert refused.value.code == "not_allowed"
    assert await world.stored() == {"anna", "ben"}
    await world.ban("anna", until=end_ms)  # in place of the one that is there
    await world.bans._log.read()
    world.server.clock.observe(end_ms * 1000)
    await world.ban("carl")
    assert await world.stored() == {"carl"}


@pytest_twisted.ensureDeferred
async def test_bans_are_listed_in_the_order_in_which_they_were_made(world: World) -> None:
    await world.bans.add(ActiveBan("user", "z", None))
    await world.bans.add(ActiveBan("ip", "10.0.0.0/8", None))
    end_ms = world.now_ms() + 60_000
    await world.bans.add(ActiveBan("user", "ends", end_ms))
    await world.bans.add(ActiveBan("token", "t", end_ms + 60_000))
    first, after = await world.bans.page(0, 2)
    assert first == [ActiveBan("user", "z", None), ActiveBan("ip", "10.0.0.0/8", None)]
    assert after is not None
    await world.bans.add(ActiveBan("user", "z", end_ms + 1000))  # to the end
    world.server.clock.observe(end_ms * 1000)
    second, after = await world.bans.page(after, 2)
    assert second == [ActiveBan("token", "t", end_ms + 60_000)]
    assert after is not None
    assert await world.bans.page(after, 2) == ([ActiveBan("user", "z", end_ms + 1000)], None)
