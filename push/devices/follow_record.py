"""What a device or a user follows, read from all servers that have a part of it.

A device's home is the server that its token hashes to. On the servers of the other streams that it
follows is a part of its record each, which a session takes after the record; how often the record
was taken tells which session is the later one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterator
from typing import Any

import msgspec

from push.devices.record import as_fields, elsewhere_of, optional, since_of
from push.redis.clock import MICROSECONDS
from push.redis.connection.replies import Argument
from push.redis.keyspace import (
    DEVICE_ATTEMPTS,
    DEVICE_CURSOR,
    DEVICE_ELSEWHERE,
    DEVICE_EPOCH,
    DEVICE_REREAD,
    DEVICE_SESSION,
    DEVICE_USER,
    record_name,
)
from push.redis.scripts import load_script
from push.redis.shards import Shards
from push.runtime.tasks import gather
from push.session.subscription import Subscription
from push.wire.errors import RequestError
from push.wire.idents import STREAM_ALL, device_stream, is_offset
from push.wire.signals import TAKEN_OVER_REASON

# The streams of the groups of a user, and since which offset they are in each.
GroupsOf = Callable[[str], Awaitable[dict[str, int]]]

_end_old_groups = load_script("devices", "end_old_groups")
_take = load_script("devices", "take")


class FollowRecord(msgspec.Struct):
    """The user of a device and the streams that it follows, as its record has them, with offsets.

    `session`: the one that has the device; None for a user without a device. `truncated`: streams
    on other servers of which something unexpired was dropped that the device had not read.
    """

    session: str | None
    user: str | None
    subscriptions: list[Subscription]
    since: dict[str, int]
    truncated: list[str] = []


class RemotePart(msgspec.Struct):
    """What a session follows on a server that is not its device's home.

    `truncated`: streams of which something unexpired was dropped that the device had not read.
    """

    subscriptions: list[Subscription]
    since: dict[str, int]
    truncated: list[str]


class FollowRecords:
    """`redeliver_after_seconds`: how long after the last copy of a message, or the device's last
    progress, the next copy counts as an attempt."""

    def __init__(
        self, shards: Shards, redeliver_after_seconds: float, groups_of: GroupsOf | None = None
    ) -> None:
        self._shards = shards
        self._redeliver_after_us = int(redeliver_after_seconds * MICROSECONDS)
        self.groups_of = groups_of or _no_groups
        self.several = "1" if len(shards) > 1 else ""  # as the scripts take it

    async def of_device(self, token: str, session: str) -> FollowRecord | None:
        """What the device follows now, for `session` if that has it; None if it was deleted."""
        number = self._shards.number_of(device_stream(token))
        home = self._shards[number]
        await home.replayed.replay()  # a new master may not know of the session yet
        if self.several:
            await home.run(_end_old_groups, [], [token])
        # Of a device with a hundred topics a script needs six times as long to give that back.
        fields = as_fields(await home.command("HGETALL", home.key(record_name(token))))
        if not fields:
            return None
        if optional(fields, DEVICE_SESSION) != session:  # the parts elsewhere are not its own
            kept = [name for name in fields if not name.startswith(DEVICE_ELSEWHERE)]
            fields = {name: fields[name] for name in kept}
        record = await self.taken(token, fields, number, home.clock.now_us(), {})
        record.since = since_of(fields) | record.since
        return record

    async def of_user(self, user: str) -> FollowRecord:
        """The groups of a user, each from the offset at which they joined it."""
        since = await self.groups_of(user)
        subscriptions = [
            Subscription(stream, offset, self._shards.number_of(stream))
            for stream, offset in since.items()
        ]
        return FollowRecord(None, user, subscriptions, since)

    async def taken(
        self,
        token: str,
        fields: dict[str, bytes],
        number: int,
        now_us: int,
        cursors: dict[str, str],
        *,
        rereads: bool = True,
    ) -> FollowRecord:
        """The record with these fields, at home on server `number`, once its session has taken the
        parts of it that are on other servers. `since` is of those. `rereads`: see `take_parts`."""
        record = FollowRecord(
            optional(fields, DEVICE_SESSION),
            optional(fields, DEVICE_USER),
            self._subscriptions_of(fields, number, now_us, rereads=rereads),
            {},
        )
        elsewhere = elsewhere_of(fields)
        if elsewhere:
            for part in await self.take_parts(token, fields, elsewhere, cursors, rereads=rereads):
                record.subscriptions += part.subscriptions
                record.since |= part.since
                record.truncated += part.truncated
        return record

    def _subscriptions_of(
        self, fields: dict[str, bytes], number: int, now_us: int, *, rereads: bool = True
    ) -> list[Subscription]:
        """What the part of a record on server `number` says that its device follows there: the
        streams in which it has a cursor. `rereads`: see `take_parts`."""
        subscriptions = []
        for name, cursor in fields.items():
            if not name.startswith(DEVICE_CURSOR):
                continue
            stream = name[2:]
            begin = fields.get(DEVICE_REREAD + stream, cursor) if rereads else cursor
            subscription = Subscription(stream, int(begin), number)
            failed_attempts = fields.get(DEVICE_ATTEMPTS + stream)
            if failed_attempts is not None:
                offset, attempts, since_us = map(int, failed_attempts.split(b" "))
                if offset > subscription.position:
                    counts = now_us - since_us >= self._redeliver_after_us
                    subscription.failed_offset = offset
                    subscription.failed_attempts = attempts if counts else attempts - 1
            subscriptions.append(subscription)
        return subscriptions

    def server_of(self, token: str, stream: str) -> int:
        """Where the device follows `stream`: what everyone follows, every server has."""
        owner = device_stream(token) if stream == STREAM_ALL else stream
        return self._shards.number_of(owner)

    async def take_parts(
        self,
        token: str,
        fields: dict[str, bytes],
        elsewhere: dict[str, tuple[str, str]],
        cursors: dict[str, str],
        *,
        rereads: bool = True,
    ) -> list[RemotePart]:
        """The session that the record names takes the parts of it that are on other servers: of the
        streams `elsewhere` (see `elsewhere_of`).

        `rereads`: a cursor of the client that is before the stored one reads again from there.
        """
        by_server = self._shards.grouped(elsewhere, lambda stream: stream)
        calls = []
        for number, streams in by_server.items():
            owner = fields.get(DEVICE_USER, b"")
            session, epoch = fields[DEVICE_SESSION], fields[DEVICE_EPOCH]
            arguments: list[Argument] = [token, session, epoch, owner, len(streams)]
            for stream in streams:
                arguments += [stream, *elsewhere[stream]]
            positions = client_cursors(cursors, streams.__contains__)
            arguments += positions
            calls.append(self._take(number, streams, arguments, rereads=rereads))
        return await gather(calls)

    async def _take(
        self,
        number: int,
        streams: Collection[str],
        arguments: list[Argument],
        *,
        rereads: bool,
    ) -> RemotePart:
        """The part may still have other streams than these: their end has not reached it yet."""
        server = self._shards[number]
        reply = _taken(await server.run(_take, [], arguments, replay=arguments))
        if reply is None:
            raise RequestError("unavailable", TAKEN_OVER_REASON, after_seconds=1)
        now_us, fields, truncated = reply
        server.clock.observe(now_us)
        followed = self._subscriptions_of(fields, number, now_us, rereads=rereads)
        subscriptions = [each for each in followed if each.stream in streams]
        return RemotePart(
            subscriptions, since_of(fields), [stream for stream in truncated if stream in streams]
        )


def _taken(reply: list[Any]) -> tuple[int, dict[str, bytes], list[str]] | None:
    """The time, the part's fields and its truncated streams; None: a newer session has it."""
    if not reply:
        return None
    return int(reply[0]), as_fields(reply[1]), [stream.decode() for stream in reply[2]]


def client_cursors(cursors: dict[str, str], is_wanted: Callable[[str], bool]) -> Iterator[Argument]:
    """A client's cursors for the streams that are wanted, as the scripts take them: stream, offset,
    stream, …"""
    for stream, offset in cursors.items():
        if is_offset(offset) and is_wanted(stream):
            yield stream
            yield int(offset)


async def _no_groups(_user: str) -> dict[str, int]:
    return {}
