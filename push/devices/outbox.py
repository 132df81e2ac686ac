"""What has to be done on a second server (architecture, rule 13).

The script that changes a record writes down, in the same step, what is to be done on the servers of
the streams concerned. The caller does that before it answers; if it cannot, a relay does it
later. Doing it twice, or late, changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from twisted.logger import Logger

from push.devices.readers import Held, held_of
from push.redis import keyspace
from push.redis.client import RedisClient
from push.redis.connection.errors import StoreUnavailable
from push.redis.keyspace import record_name
from push.redis.periodic import PeriodicTask
from push.redis.scripts import load_script
from push.redis.shards import Shards
from push.redis.work_queue import WorkQueue
from push.runtime.ports import Clock
from push.wire.idents import USER_PREFIX, device_stream

log = Logger()

LOOK_SECONDS = 1.0
ERRANDS_PER_LOOK = 100

REMOVED = keyspace.DROPPED_REMOVED


_change = load_script("devices", "change")
_errand = load_script("devices", "errand")
QUEUE = WorkQueue("errands", claimed_ms=10_000, pause_ms=1000)


class SubscriptionChange:
    """A stream that a device is to follow, or no longer.

    `begin`: where following begins, '' = now; `code`: what becomes of what waits. `ended`: not if
    following began after that offset; the end of an earlier one is done twice, or late.
    """

    def __init__(
        self, stream: str, *, begin: str = "", code: str | None = None, ended: str = ""
    ) -> None:
        self.stream = stream
        self.verb = "follow" if code is None else "unfollow"
        self.detail = begin if code is None else f"{code} {ended}"


class Changed(NamedTuple):
    """What a script did to a device's record. `code`: -1: there is no such device; 0: there was
    nothing to change; 1: changed. `held`: the session that has the device, if one has; it is told
    at the offset `told_at` of the device's own stream, after which the record is as it was changed
    to. 0: it is not told, or only some time after that."""

    code: int
    held: list[Held]
    told_at: int = 0


class RecordChange(NamedTuple):
    """What a script answers that changes a device's record (see `Changed`), and the errands that it
    wrote down."""

    code: int
    held: list[Held]
    told_at: int
    outbox: list[bytes]


def record_change_of(reply: Sequence[Any]) -> RecordChange:
    code, *more = reply
    held = held_of(*more[:2]) if more else []
    return RecordChange(int(code), held, int(more[2]) if code > 0 else 0, more[3:])


class Outbox:
    """Changes what devices follow, wherever their streams are."""

    def __init__(self, shards: Shards) -> None:
        self._shards = shards

    def place_of(self, token: str, stream: str) -> str:
        """Where `stream` is, as seen from the device's home (see lib/bind.lua)."""
        if len(self._shards) == 1:
            return "alone"
        home = self._shards.number_of(device_stream(token))
        return "here" if self._shards.number_of(stream) == home else "away"

    async def change(
        self, token: str, changes: Iterable[SubscriptionChange], user: str = ""
    ) -> Changed:
        """A device begins or ceases to follow; only if it is bound to `user`, when one is given."""
        arguments: list[str] = [token, user]
        for change in changes:
            here = self.place_of(token, change.stream) != "away"
            arguments += [change.verb, change.stream, "1" if here else "0", change.detail]
        home = self._shards.of(device_stream(token))
        done = await home.run(_change, [], arguments, durable=True, decode=record_change_of)
        return await self.changed(home, done)

    async def changed(self, home: RedisClient, change: RecordChange) -> Changed:
        """What a script of `home` did, once the errands that it wrote down are done."""
        await self.run(home, change.outbox)
        return Changed(change.code, change.held, 0 if change.outbox else change.told_at)

    async def run(self, home: RedisClient, outbox: Sequence[bytes]) -> None:
        """Do what a script of `home` has written down."""
        for text in outbox:
            await self._do(text.decode())
            await home.command("ZREM", home.key(keyspace.ERRANDS), text)

    async def _do(self, text: str) -> None:
        verb, token, stream, *details = text.split(" ")
        if verb == "enlist":
            await self._enlist(token, stream)
        else:
            server = self._shards.of(stream)
            await server.run(_errand, [], [verb, token, stream, *details], durable=True)

    async def _enlist(self, token: str, stream: str) -> None:
        """A device that was bound to a user follows what all devices of that user follow."""
        user = stream.removeprefix(USER_PREFIX)
        server = self._shards.of(stream)
        if not await server.command(
            "SISMEMBER", server.key(f"{keyspace.USER_DEVICES}{user}"), token
        ):
            # Its errand to follow the user is still to come, and a user that joins a group in
            # between would not find this device.
            home = self._shards.of(device_stream(token))
            said = await home.command(
                "HGET", home.key(record_name(token)), keyspace.DEVICE_ELSEWHERE + stream
            )
            if not said:
                return  # the user has it no longer
            details = said.decode().split(" ")
            await server.run(_errand, [], ["follow", token, stream, *details, user], durable=True)
        streams = await server.command("SMEMBERS", server.key(f"{keyspace.USER_STREAMS}{user}"))
        if not streams:
            return
        await self.change(token, [SubscriptionChange(name.decode()) for name in streams], user)
        # A user that left meanwhile saw only the devices that were bound before this one.
        left = set(streams) - set(
            await server.command("SMEMBERS", server.key(f"{keyspace.USER_STREAMS}{user}"))
        )
        if left:
            await self.change(
                token, [SubscriptionChange(name.decode(), code=REMOVED) for name in left]
            )


class OutboxRelay(PeriodicTask):
    """Does the errands of one server that were left undone."""

    def __init__(self, reactor: Clock, server: RedisClient, outbox: Outbox) -> None:
        super().__init__(
            reactor, server, LOOK_SECONDS, "Work for another Redis server was not done"
        )
        self._outbox = outbox

    async def do_due(self) -> None:
        async for due in QUEUE.claim_all(self._server, ERRANDS_PER_LOOK):
            for text in due:
                try:
                    await self._outbox.run(self._server, [text])
                except StoreUnavailable as error:
                    log.debug(
                        "Work for another Redis server is not done yet; tried again: {reason}",
                        reason=error.reason,
                        event="devices.errand_postponed",
                    )
