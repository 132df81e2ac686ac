"""A device follows a group on from where its user joined again, which is done after it was handed
messages from after that place: each message counts once for it."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted

from push.redis.client import RedisClient
from push.redis.scripts import load_script
from push.session.subscription import Subscription

_errand = load_script("devices", "errand")

STREAM = "group:g"


class Member:
    """A device of anna, whose group is on another server than the device: what this one does."""

    def __init__(self, desk: Any, phone: Any) -> None:
        self.desk = desk
        self.phone = phone
        self._store: RedisClient = desk.store
        self._version = 0

    async def join(self, offset: int) -> None:
        """anna is in the group since `offset`; her device does not follow from there yet."""
        await self._store.command("HSET", self._store.key("group:g"), "seq", 1)
        await self._store.command("HSET", self._store.key("members:g"), "anna", f"m 0 0 {offset}")

    async def follow(self, begin: int | str) -> None:
        self._version += 1
        arguments = ["follow", self.phone.token, STREAM, self._version, begin, "anna"]
        assert await self._store.run(_errand, [], arguments)

    async def counts(self, id: str) -> tuple[int, int, int, dict[str, int]]:
        """Addressed, written, acknowledged, dropped."""
        funnel = await self.desk.funnel(id)
        dropped = {reason: count for reason, count in funnel.dropped.items() if count}
        return funnel.addressed, funnel.written, funnel.acknowledged, dropped


@pytest_twisted.async_yield_fixture
async def member(desk: Any) -> Any:
    phone = await desk.phone("t")
    member = Member(desk, phone)
    start = await desk.store.last_offset()
    await member.join(start)
    await member.follow(start)
    phone.subscriptions[STREAM] = Subscription(STREAM, start)
    yield member


@pytest.mark.parametrize("acknowledged", [0, 1, 2])
@pytest.mark.parametrize("begin", ["where they joined", "now"])
@pytest_twisted.ensureDeferred
async def test_what_was_handed_out_after_that_place_is_not_counted_again(
    desk: Any, member: Member, begin: str, acknowledged: int
) -> None:
    """`acknowledged`: how many of them are, before the device follows from there."""
    before = (await desk.push(STREAM)).id
    joined = await desk.store.last_offset()
    await member.join(joined)
    after = [(await desk.push(STREAM)).id for _ in range(2)]
    await desk.hand_out(STREAM, member.phone)
    if acknowledged:
        desk.acknowledge(STREAM, member.phone, before, *after[:acknowledged])
    assert (await member.counts(after[1]))[:2] == (1, 1)

    await member.follow("" if begin == "now" else joined)
    rest = [] if acknowledged else [before]
    desk.acknowledge(STREAM, member.phone, *rest, *after[acknowledged:])
    assert [await member.counts(id) for id in (before, *after)] == [(1, 1, 1, {})] * 3

    last = (await desk.push(STREAM)).id
    await desk.hand_out(STREAM, member.phone)
    desk.acknowledge(STREAM, member.phone, last)
    assert await member.counts(last) == (1, 1, 1, {})
