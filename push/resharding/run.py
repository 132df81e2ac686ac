"""`reshard`: from one list of servers to another, while no daemon runs.

1. Every server is marked with what is being done: from now on daemons refuse it.
2. Errands for a second server are done by the old list.
3. What is to be elsewhere, or to be otherwise, is prepared beside what is (see staging.py).
4. Every server is marked as prepared: from now on the run only goes forward.
5. On every server what was prepared takes its place, and what belongs elsewhere is deleted.
6. Every server gets its new number; those that have left the list keep nothing.

Broken off, the same again completes it: before 4. it begins again at 2., after that it goes on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from push.devices.outbox import Outbox
from push.redis import keyspace
from push.redis.client import RedisClient
from push.redis.scripts import load_script
from push.redis.shards import Shards
from push.resharding import connecting
from push.resharding.copying import Copying, Report
from push.resharding.kinds import UnknownKind
from push.resharding.layout import Layout
from push.resharding.plan import (
    NotResharded,
    Phase,
    ReshardPlan,
    Shard,
    Standing,
    mark,
    read_shard,
    standing,
)
from push.resharding.staging import Staging, delete_keys, forget_prepared, take_over
from push.resharding.webhooks import fill_outboxes
from push.runtime.ports import Clock
from push.runtime.tasks import gather

ERRANDS_PER_CALL = 100

_raise_clock = load_script("resharding", "raise_clock")


class ReshardOutcome(msgspec.Struct, rename={"old": "from", "new": "to"}):
    """What was done, or would be (`dry_run`): by address, how many keys are made or changed there,
    and how many go from there. `done_before`: the servers were as they shall be."""

    old: list[str]
    new: list[str]
    dry_run: bool = False
    done_before: bool = False
    devices: int = 0
    arriving: dict[str, int] = {}
    leaving: dict[str, int] = {}


class Resharding:
    """One run, on servers that are connected. `report` is called with the progress."""

    def __init__(
        self, reactor: Clock, layout: Layout, old: list[str], new: list[str], report: Report
    ):
        self._reactor = reactor
        self._layout = layout
        self._servers = layout.servers
        self._old_names = old
        self._new_names = new
        self._report = report

    async def run(self, *, dry: bool = False) -> ReshardOutcome:
        """Raises `NotResharded` and `StoreUnavailable`."""
        stand = await self._look()
        outcome = ReshardOutcome(self._old_names, self._new_names, dry, stand.done)
        if stand.done:
            return outcome
        await connecting.check_nobody(self._servers)
        if dry:
            if stand.phase != "take":
                await self._prepare(outcome)
            return outcome
        if stand.phase is None:
            await self._check_chat()
        if stand.phase != "take":
            await self._mark_all(stand.deployment, "prepare")
            await connecting.check_nobody(self._servers)  # nobody came in just before that
            await self._do_errands()
            await fill_outboxes(self._servers[place] for place in self._layout.old)
            await self._prepare(outcome)
        # Also those that have it already: a finished server must not be the only one with it.
        await self._mark_all(stand.deployment, "take")
        await self._take(stand.deployment)
        await self._empty_leaving()
        return outcome

    async def abandon(self) -> None:
        """Give up what was broken off before anything was changed. Raises `NotResharded`."""
        stand = await self._look()
        if stand.phase is None:
            raise NotResharded("nothing was broken off: there is nothing to give up")
        if stand.phase == "take":
            raise NotResharded("it is too late to give it up: run it again without --abandon")
        await connecting.check_nobody(self._servers)
        for place in self._layout.coming:
            await delete_keys(self._servers[place], "*")
        for number, place in enumerate(self._layout.old):
            server = self._servers[place]
            await forget_prepared(server)
            await mark(server, stand.deployment, number, len(self._layout.old), None)

    async def _look(self) -> Standing:
        """Raises `NotResharded` when it cannot be done."""
        shards = await self._shards()
        plan = ReshardPlan(self._old_names, self._new_names, "prepare")
        stand = standing(self._layout, shards, plan)
        for place in self._layout.coming:
            server = self._servers[place]
            if shards[place] is None and await connecting.has_keys(server):
                raise NotResharded(
                    f"Redis at {server.address} has keys {server.key('*')}: delete them, or name "
                    "another server"
                )
        return stand

    async def _shards(self) -> dict[int, Shard | None]:
        return {place: await read_shard(server) for place, server in enumerate(self._servers)}

    async def _mark_all(self, deployment: str, phase: Phase) -> None:
        """All but those that are finished."""
        layout, plan = self._layout, ReshardPlan(self._old_names, self._new_names, phase)
        shards = await self._shards()
        for number, place in enumerate(layout.old):
            if phase == "prepare" or _is_moving(shards[place]):
                await mark(self._servers[place], deployment, number, len(layout.old), plan)
        for number, place in enumerate(layout.new):
            if place in layout.coming and (phase == "prepare" or _is_moving(shards[place])):
                await mark(self._servers[place], deployment, number, len(layout.new), plan)

    async def _check_chat(self) -> None:
        """Only daemons can do what waits in chat: it takes their settings."""
        for place in self._layout.old:
            server = self._servers[place]
            if int(await server.command("ZCARD", server.key(keyspace.CHAT_ERRANDS))):
                raise NotResharded(
                    f"at Redis at {server.address} messages wait to be copied to users: start the "
                    "daemons until they have done it, stop them, and run the same again"
                )

    async def _do_errands(self) -> None:
        """What one server has still to do on another, as the old list has it."""
        shards = Shards([self._servers[place] for place in self._layout.old])
        outbox = Outbox(shards)
        found = True
        while found:  # one may lead to another
            found = False
            for server in shards:
                key = server.key(keyspace.ERRANDS)
                while texts := await server.command("ZRANGE", key, 0, ERRANDS_PER_CALL - 1):
                    found = True
                    await outbox.run(server, texts)

    async def _prepare(self, outcome: ReshardOutcome) -> None:
        if not outcome.dry_run:
            for server in self._servers:
                await forget_prepared(server)
        clock = max(await gather(_clock(server) for server in self._servers))
        staging = Staging(self._servers, dry=outcome.dry_run)
        copying = Copying(self._layout, staging, clock, self._report)
        try:
            await copying.run()
        except UnknownKind as error:
            raise NotResharded(
                f"the key {error} is of a kind that this version does not know: use the pushctl "
                "of the version that the daemons have"
            ) from None
        outcome.devices = copying.devices
        outcome.arriving = self._by_name(staging.arriving)
        outcome.leaving = self._by_name(staging.leaving)
        if outcome.dry_run:
            return
        for server in self._servers:
            await server.run(_raise_clock, [], [copying.everyone.clock])
        await self._check_prepared()
        await self._be_sure()
        self._report("all is prepared and takes its place")

    async def _be_sure(self) -> None:
        """Nothing that was written until now is lost, whatever happens to a server from now on."""
        for server in self._servers:
            await server.run(_raise_clock, [], [0], durable=True)  # and all that was written before
        await connecting.wait_written(self._reactor, self._servers)
        for place in self._layout.renewed:
            address = self._servers[place].address
            raise NotResharded(
                f"the connection to Redis at {address} was lost meanwhile: run the same again"
            )

    async def _check_prepared(self) -> None:
        """A last look before anything is deleted: every device has a place."""
        before = await self._count_devices(self._layout.old, "devices")
        after = await self._count_devices(self._layout.new, f"{keyspace.ARRIVING}devices")
        if before != after:
            raise NotResharded(f"of {before} devices {after} would be left; nothing was changed")

    async def _count_devices(self, places: Sequence[int], name: str) -> int:
        servers = [self._servers[place] for place in places]
        found = await gather(server.command("ZCARD", server.key(name)) for server in servers)
        return sum(map(int, found))

    async def _take(self, deployment: str) -> None:
        """All that was prepared takes its place; only then is a server finished."""
        new, shards = self._layout.new, await self._shards()
        for place in new:
            if _is_moving(shards[place]):
                await take_over(self._servers[place])
        await self._be_sure()
        for number, place in enumerate(new):
            await mark(self._servers[place], deployment, number, len(new), None)

    async def _empty_leaving(self) -> None:
        for place in self._layout.leaving:
            server = self._servers[place]
            await delete_keys(server, "*", but="shard")
            await delete_keys(server, "*")

    def _by_name(self, counts: Mapping[int, int]) -> dict[str, int]:
        return {str(self._servers[place].address): counts[place] for place in sorted(counts)}


def _is_moving(shard: Shard | None) -> bool:
    return shard is not None and shard.plan is not None


async def _clock(server: RedisClient) -> int:
    """The highest of the server's time and the offsets that it gave."""
    seconds, microseconds = await server.command("TIME")
    return max(int(seconds) * 1_000_000 + int(microseconds), await server.last_offset())
