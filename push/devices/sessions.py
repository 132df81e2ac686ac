"""Opening and closing a device's session: who connects, what it follows, who had it before."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any

import msgspec

from push.access.claims import Claims
from push.access.jwt import JwtVerifier
from push.devices.outbox import Outbox
from push.devices.record import as_fields, elsewhere_of, follows_of, optional, since_of
from push.devices.registration import Devices, unknown_token
from push.redis.clock import MICROSECONDS
from push.redis.connection.replies import Argument
from push.redis.keyspace import DEVICE_EPOCH, DEVICE_SESSION, DEVICE_USER
from push.redis.scripts import load_script
from push.redis.shards import Shards
from push.runtime.tasks import gather
from push.session.window import FailedAttempts, Subscription
from push.wire.bodies import ConnectRequest
from push.wire.errors import RequestError
from push.wire.idents import (
    STREAM_ALL,
    device_stream,
    is_name,
    is_offset,
    topic_stream,
    user_stream,
)

GroupsOf = Callable[[str], Awaitable[dict[str, int]]]

_open = load_script("devices", "open")
_record = load_script("devices", "record")
_take = load_script("devices", "take")
_close = load_script("devices", "close")
_check_sessions = load_script("devices", "check_sessions")


class Opened(msgspec.Struct):
    """A session may begin. `before` is the (boot id, session) that had the device, if one had.

    `truncated`: streams of which something unexpired was dropped that the device had not read;
    `topics`: those that its JWT names.
    """

    token: str | None
    user: str | None
    subscriptions: list[Subscription]
    expires_s: int | None
    before: tuple[str, str] | None
    truncated: list[str] = []
    topics: tuple[str, ...] = ()


class FollowRecord(msgspec.Struct):
    """The user of a device and the streams that it follows, as its record has them, with offsets.

    `session`: the one that has the device; None for a user without a device.
    """

    session: str | None
    user: str | None
    subscriptions: list[Subscription]
    since: dict[str, int]


class Sessions:
    """The sessions of one connector, named by its boot id and node.

    A device's home is the server that its token hashes to: there it is decided whose it is. On the
    servers of the other streams that it follows is a part of its record each, which a session takes
    after the record; how often the record was taken tells which session is the later one.
    """

    def __init__(
        self,
        shards: Shards,
        devices: Devices,
        outbox: Outbox,
        verifier: JwtVerifier,
        *,
        boot: str,
        node: str,
        retention_seconds: int,
        attempt_pause_seconds: float,
        groups_of: GroupsOf | None = None,
    ) -> None:
        """`groups_of(user)`: the streams of the groups of a user, and since which offset."""
        self._shards = shards
        self._devices = devices
        self._outbox = outbox
        self._verifier = verifier
        self._boot = boot
        self._node = node
        self._retention_seconds = retention_seconds
        self._attempt_pause_us = int(attempt_pause_seconds * MICROSECONDS)
        self._groups_of = groups_of or _no_groups
        self._several = "1" if len(shards) > 1 else ""

    async def open(self, asked: ConnectRequest, session: str, ip: str) -> Opened:
        """Check credentials and take the device. Raises `RequestError`: `unknown_token`,
        `unauthenticated`, `banned`, `rate_limited`, `unavailable` (a newer connection was
        faster)."""
        await self._devices.check_ban(ip=ip)
        claims = self._verifier.verify(asked.jwt) if asked.jwt is not None else None
        token = await self._token(asked, claims, ip)
        # Before a JWT binds the device. Its user, if it does not, is judged when it is known.
        await self._devices.check_ban(token=token, user=claims.user if claims else None)
        if token is None:
            assert claims is not None
            return await self._open_user(claims, asked.cursors)
        return await self._open_device(token, claims, asked.cursors, session)

    async def _token(self, asked: ConnectRequest, claims: Claims | None, ip: str) -> str | None:
        """The device that connects, proven by its secret or named by the JWT."""
        claimed = claims.token if claims else None
        if asked.token is None:
            return claimed
        if claimed is not None and claimed != asked.token:
            raise RequestError("unauthenticated", "the JWT names another token", field="jwt")
        assert asked.secret is not None
        await self._devices.verify(asked.token, asked.secret, ip)
        return asked.token

    async def _open_device(
        self, token: str, claims: Claims | None, cursors: dict[str, str], session: str
    ) -> Opened:
        number = self._shards.number_of(device_stream(token))
        home = self._shards[number]
        user = claims.user if claims else ""
        place = self._outbox.place_of(token, user_stream(user)) if user else ""
        arguments: list[Argument] = [
            token,
            session,
            self._boot,
            self._node,
            self._retention_seconds,
            user,
            place,
            self._several,
            "-" if claims is None else " ".join(map(topic_stream, filter(is_name, claims.topics))),
            *_places(cursors, lambda stream: self._server_of(token, stream) == number),
        ]
        reply: list[Any] = await home.run(_open, [], arguments)
        if not reply:
            raise unknown_token(token)
        now_us = int(reply[0])
        home.clock.observe(now_us)
        await self._outbox.run(home, reply[5])
        fields = as_fields(reply[3])
        before = (reply[2].decode(), reply[1].decode()) if reply[1] and reply[2] else None
        subscriptions = follows_of(fields, number, now_us, self._attempt_pause_us)
        truncated = [stream.decode() for stream in reply[4]]
        for part in await self._take_parts(token, fields, cursors):
            subscriptions += part.subscriptions
            truncated += part.truncated
        return Opened(
            token=token,
            user=optional(fields, DEVICE_USER),
            subscriptions=subscriptions,
            expires_s=claims.expires_s if claims else None,
            before=before,
            truncated=truncated,
            topics=claims.topics if claims else (),
        )

    def _server_of(self, token: str, stream: str) -> int:
        """Where the device follows `stream`: what everyone follows, every server has."""
        owner = device_stream(token) if stream == STREAM_ALL else stream
        return self._shards.number_of(owner)

    async def _take_parts(
        self, token: str, fields: dict[str, bytes], cursors: dict[str, str]
    ) -> list[_RemotePart]:
        """The session that the record names takes the parts of it that are on other servers."""
        elsewhere = elsewhere_of(fields)
        if not elsewhere:
            return []
        by_server = self._shards.grouped(elsewhere, lambda stream: stream)
        calls = []
        for number, streams in by_server.items():
            owner = fields.get(DEVICE_USER, b"")
            session, epoch = fields[DEVICE_SESSION], fields[DEVICE_EPOCH]
            arguments: list[Argument] = [token, session, epoch, owner, len(streams)]
            for stream in streams:
                arguments += [stream, *elsewhere[stream]]
            places = _places(cursors, streams.__contains__)
            calls.append(self._take(number, streams, arguments + places))
        return await gather(calls)

    async def _take(
        self, number: int, streams: Collection[str], arguments: list[Argument]
    ) -> _RemotePart:
        """Of what the part has of other streams than these the end is not done there yet."""
        server = self._shards[number]
        reply: list[Any] = await server.run(_take, [], arguments)
        if not reply:
            raise RequestError("unavailable", "a newer connection has this token", after_seconds=1)
        now_us = int(reply[0])
        server.clock.observe(now_us)
        fields = as_fields(reply[1])
        all_here = follows_of(fields, number, now_us, self._attempt_pause_us)
        subscriptions = [
            subscription for subscription in all_here if subscription.stream in streams
        ]
        truncated = [stream for stream in map(bytes.decode, reply[2]) if stream in streams]
        return _RemotePart(subscriptions, since_of(fields), truncated)

    async def following(self, token: str, session: str) -> FollowRecord | None:
        """What the device follows now, for `session` if that has it; None if it was deleted."""
        number = self._shards.number_of(device_stream(token))
        home = self._shards[number]
        fields = await home.run(_record, [], [token, self._several], decode=as_fields)
        if not fields:
            return None
        subscriptions = follows_of(fields, number, home.clock.now_us(), self._attempt_pause_us)
        since = since_of(fields)
        holder = optional(fields, DEVICE_SESSION)
        if holder == session:
            for part in await self._take_parts(token, fields, {}):
                subscriptions += part.subscriptions
                since |= part.since
        return FollowRecord(holder, optional(fields, DEVICE_USER), subscriptions, since)

    async def _open_user(self, claims: Claims, cursors: dict[str, str]) -> Opened:
        """A user without a device: nothing is stored, reading begins where the client says, but not
        behind the end of the stream (that is: not beyond the last offset of the server), and not
        before the user came into a group."""
        own = user_stream(claims.user)
        home = self._shards.number_of(own)
        # Before the groups are looked up: what changes them later is read in the own stream.
        end_of = {home: await self._shards[home].last_offset()}
        since = {STREAM_ALL: 0, own: 0, **await self._groups_of(claims.user)}
        shards = {
            stream: home if stream == STREAM_ALL else self._shards.number_of(stream)
            for stream in since
        }
        others = sorted({*shards.values()} - {home})
        ends = await gather(self._shards[number].last_offset() for number in others)
        end_of.update(zip(others, ends, strict=True))
        subscriptions = []
        for stream, number in shards.items():
            place, said = end_of[number], cursors.get(stream)
            if said is not None and is_offset(said):
                place = min(int(said), place)
            subscriptions.append(Subscription(stream, max(place, since[stream]), number))
        return Opened(
            token=None,
            user=claims.user,
            subscriptions=subscriptions,
            expires_s=claims.expires_s,
            before=None,
            topics=claims.topics,
        )

    async def following_of_user(self, user: str) -> FollowRecord:
        """The groups of a user, each from where the user came into it."""
        since = await self._groups_of(user)
        subscriptions = [
            Subscription(stream, offset, self._shards.number_of(stream))
            for stream, offset in since.items()
        ]
        return FollowRecord(None, user, subscriptions, since)

    async def lost(self, held: Sequence[tuple[str, str]]) -> list[int]:
        """Of these (token, session) pairs the places of those that are not the device's any more:
        another connection has it, or it was deleted. Raises `StoreUnavailable`."""
        places = self._shards.grouped(range(len(held)), lambda n: device_stream(held[n][0]))
        found = []
        for number, group in places.items():
            pairs = [part for place in group for part in held[place]]
            lost: list[int] = await self._shards[number].run(_check_sessions, [], pairs)
            found += [group[item - 1] for item in lost]
        return found

    def renew(self, text: str, user: str | None, token: str | None) -> Claims:
        """A JWT for a running session: it must name the same user, and no other device."""
        claims = self._verifier.verify(text)
        if claims.user != user or (claims.token is not None and claims.token != token):
            raise RequestError("not_allowed", "the JWT is for another user or device", field="jwt")
        return claims

    async def end_elsewhere(self, boot: str, session: str) -> None:
        """See `Devices.end_elsewhere`."""
        await self._devices.end_elsewhere(boot, session)

    async def close(self, token: str, session: str, left: Sequence[FailedAttempts]) -> None:
        """The session ended; what it `left` unacknowledged first in each stream is remembered."""
        home = self._shards.number_of(device_stream(token))
        by_server: dict[int, list[Argument]] = {home: []}
        for failed_attempts in left:
            waited_us = int(failed_attempts.waited_seconds * MICROSECONDS)
            by_server.setdefault(failed_attempts.shard, []).extend(
                (
                    failed_attempts.stream,
                    failed_attempts.offset,
                    failed_attempts.attempts,
                    waited_us,
                )
            )
        for number, arguments_of_all in by_server.items():
            retention = self._retention_seconds if number == home else ""
            arguments = [token, session, retention, *arguments_of_all]
            await self._shards[number].run(_close, [], arguments)


async def _no_groups(_user: str) -> dict[str, int]:
    return {}


class _RemotePart(msgspec.Struct):
    """What a session follows on a server that is not its device's home."""

    subscriptions: list[Subscription]
    since: dict[str, int]
    truncated: list[str]


def _places(cursors: dict[str, str], wanted: Callable[[str], bool]) -> list[Argument]:
    """The client's cursors for the streams that are `wanted`, as the scripts take them."""
    places: list[Argument] = []
    for stream, offset in cursors.items():
        if is_offset(offset) and wanted(stream):
            places += [stream, int(offset)]
    return places
