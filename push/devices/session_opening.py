"""A session begins: who connects, whether they may, and from where each stream is read."""

from __future__ import annotations

from typing import Any

import msgspec

from push.access.claims import Claims
from push.access.jwt import JwtVerifier
from push.devices.follow_record import FollowRecords, client_cursors
from push.devices.outbox import Outbox
from push.devices.record import as_fields, optional, without_rereads
from push.devices.registration import Devices, unknown_token
from push.redis.connection.replies import Argument
from push.redis.keyspace import DEVICE_EPOCH, DEVICE_USER, record_name
from push.redis.scripts import load_script
from push.redis.shards import Shards
from push.runtime.tasks import gather
from push.session.subscription import Subscription
from push.streams.event_positions import cursors_at
from push.wire.bodies import ConnectRequest
from push.wire.errors import RequestError
from push.wire.event_stream.request import StreamConnect
from push.wire.idents import (
    STREAM_ALL,
    device_stream,
    is_name,
    is_offset,
    topic_stream,
    user_stream,
)

MANY_CURSORS = 100  # more are looked at before they are sent to Redis

_open = load_script("devices", "open")


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


class _Taken(msgspec.Struct):
    """The record of a device, which the session has taken (see `open.lua`)."""

    now_us: int
    before: tuple[str, str] | None
    fields: dict[str, bytes]
    truncated: list[str]
    outbox: list[bytes]


class SessionOpening:
    """Opens the sessions of one connector, named by its boot id and node."""

    def __init__(
        self,
        shards: Shards,
        devices: Devices,
        outbox: Outbox,
        verifier: JwtVerifier,
        records: FollowRecords,
        *,
        boot: str,
        node: str,
        retention_seconds: int,
    ) -> None:
        self._shards = shards
        self._devices = devices
        self._outbox = outbox
        self._verifier = verifier
        self._records = records
        self._boot = boot
        self._node = node
        self._retention_seconds = retention_seconds

    async def open(self, asked: ConnectRequest, session: str, ip: str) -> Opened:
        """See `Sessions.open`."""
        await self._devices.check_ban(ip=ip)
        claims = None
        if asked.jwt is not None:
            claims = await self._verifier.verify_by_latest(asked.jwt)
        token = await self._token(asked, claims, ip)
        # Before a JWT binds the device. Its user, if it does not, is judged when it is known.
        await self._devices.check_ban(token=token, user=claims.user if claims else None)
        if isinstance(asked, StreamConnect):
            return await self._open_stream(asked, token, claims, session)
        if token is None:
            assert claims is not None
            return await self._open_user(claims, asked.cursors)
        return await self._open_device(token, claims, asked.cursors, session)

    async def _open_stream(
        self, asked: StreamConnect, token: str | None, claims: Claims | None, session: str
    ) -> Opened:
        """The event that the client had last acknowledges what it had; nothing is read again."""
        if token is not None:
            cursors = {}
            if asked.last_event_id:
                cursors = await cursors_at(self._shards, token, asked.last_event_id)
            return await self._open_device(token, claims, cursors, session, rereads=False)
        assert claims is not None
        if asked.by_id:
            detail = "`ack`: id needs a device, and the JWT names none"
            raise RequestError("invalid", detail, field="ack")
        return await self._open_user(claims, {})

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
        self,
        token: str,
        claims: Claims | None,
        cursors: dict[str, str],
        session: str,
        *,
        rereads: bool = True,
    ) -> Opened:
        """`rereads`: a cursor behind the stored one reads again from there."""
        if len(cursors) > MANY_CURSORS:
            cursors = await self._followed(token, claims, cursors)
        taken = await self._take_record(token, claims, cursors, session)
        if not rereads:
            taken.fields = without_rereads(taken.fields)
        home = self._shards.number_of(device_stream(token))
        subscriptions = self._records.subscriptions_of(taken.fields, home, taken.now_us)
        truncated = taken.truncated
        for part in await self._records.take_parts(token, taken.fields, cursors, rereads=rereads):
            subscriptions += part.subscriptions
            truncated += part.truncated
        return Opened(
            token=token,
            user=optional(taken.fields, DEVICE_USER),
            subscriptions=subscriptions,
            expires_s=claims.expires_s if claims else None,
            before=taken.before,
            truncated=truncated,
            topics=claims.topics if claims else (),
        )

    async def _followed(
        self, token: str, claims: Claims | None, cursors: dict[str, str]
    ) -> dict[str, str]:
        """The cursors of streams that the device follows, or may as soon as its JWT binds it.

        A frame has room for thousands of others. They cost this one question, and neither
        a hash each here nor a step each of the script that opens the session.
        """
        home = self._shards.of(device_stream(token))
        names = await home.command("HKEYS", home.key(record_name(token)))
        streams = {name.decode().partition(":")[2] for name in names}
        if claims is not None:
            streams.add(user_stream(claims.user))
        return {stream: cursors[stream] for stream in streams & cursors.keys()}

    async def _take_record(
        self, token: str, claims: Claims | None, cursors: dict[str, str], session: str
    ) -> _Taken:
        """The record becomes this session's. What the JWT changes in it is done when it returns."""
        number = self._shards.number_of(device_stream(token))
        home = self._shards[number]
        user = claims.user if claims else ""
        arguments: list[Argument] = [
            token,
            session,
            self._boot,
            self._node,
            self._retention_seconds,
            user,
            self._outbox.place_of(token, user_stream(user)) if user else "",
            self._records.several,
            "-" if claims is None else " ".join(map(topic_stream, filter(is_name, claims.topics))),
        ]
        positions = [
            *client_cursors(
                cursors, lambda stream: self._records.server_of(token, stream) == number
            )
        ]
        reply = await home.retold.run(
            _open,
            [*arguments, "", *positions],
            lambda reply: [*arguments, _epoch(reply), *positions],
        )
        taken = _taken(reply)
        if taken is None:
            raise unknown_token(token)
        home.clock.observe(taken.now_us)
        await self._outbox.run(home, taken.outbox)
        return taken

    async def _open_user(self, claims: Claims, cursors: dict[str, str]) -> Opened:
        """A user without a device: nothing is stored, and reading begins where the client says.

        But not past the end of the stream (that is: not past the last offset of the server), and
        not before the user joined a group.
        """
        own = user_stream(claims.user)
        home = self._shards.number_of(own)
        # Before the groups are looked up: what changes them later is read in the own stream.
        end_of = {home: await self._shards[home].last_offset()}
        since = {STREAM_ALL: 0, own: 0, **await self._records.groups_of(claims.user)}
        shards = {
            stream: home if stream == STREAM_ALL else self._shards.number_of(stream)
            for stream in since
        }
        others = sorted({*shards.values()} - {home})
        ends = await gather(self._shards[number].last_offset() for number in others)
        end_of.update(zip(others, ends, strict=True))
        subscriptions = []
        for stream, number in shards.items():
            position, said = end_of[number], cursors.get(stream)
            if said is not None and is_offset(said):
                position = min(int(said), position)
            subscriptions.append(Subscription(stream, max(position, since[stream]), number))
        return Opened(
            token=None,
            user=claims.user,
            subscriptions=subscriptions,
            expires_s=claims.expires_s,
            before=None,
            topics=claims.topics,
        )


def _epoch(reply: list[Any]) -> bytes:
    """How often the device has been taken, with this time; "0" if there is none."""
    return as_fields(reply[3])[DEVICE_EPOCH] if reply else b"0"


def _taken(reply: list[Any]) -> _Taken | None:
    """None: there is no such device."""
    if not reply:
        return None
    now, session, boot, fields, truncated, outbox = reply
    return _Taken(
        now_us=int(now),
        before=(boot.decode(), session.decode()) if session and boot else None,
        fields=as_fields(fields),
        truncated=[stream.decode() for stream in truncated],
        outbox=outbox,
    )
