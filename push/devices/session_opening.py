"""A session begins: who connects, whether they may, and from where each stream is read."""

from __future__ import annotations

from typing import Any

import msgspec

from push.access.claims import Claims
from push.access.jwt import JwtVerifier
from push.devices.follow_record import FollowRecords, client_cursors
from push.devices.outbox import Outbox
from push.devices.record import as_fields
from push.devices.registration import Devices, digest_of, unknown_token
from push.redis.connection.replies import Argument
from push.redis.joined_calls import JoinedCalls
from push.redis.keyspace import record_name
from push.redis.scripts import load_script
from push.redis.shards import Shards
from push.runtime.tasks import gather, only
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
# One that follows a thousand topics takes milliseconds, and Redis does nothing else meanwhile.
OPENED_TOGETHER = 16

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


class OpeningItem(msgspec.Struct, omit_defaults=True):
    """A session that is to take its device, as open.lua gets it.

    `secret`: the digest of the one that must be the device's; None: a JWT names the device.
    `user`: to bind, with the place of their stream (see lib/bind.lua). `topics`: the streams of
    those that the JWT allows; None: there is no JWT. `cursors`: stream, offset, stream, …
    `told_epoch`: how often the device had been taken then, when it is told to another master.
    """

    token: str
    session: str
    cursors: list[Argument]  # never left out
    secret: str | None = None
    user: str | None = None
    place: str | None = None
    topics: list[str] | None = None
    told_epoch: int = 0
    waited_us: int = -1  # not left out: it is set when it is sent


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
        arguments: list[Argument] = [boot, node, retention_seconds, records.several]

        def calls_of(max_items: int) -> list[JoinedCalls[OpeningItem]]:
            return [
                JoinedCalls(server, _open, *arguments, replayed=_replayed, max_items=max_items)
                for server in shards
            ]

        # What is asked for in one turn of the reactor is one call of each server.
        self._calls, self._alone = calls_of(OPENED_TOGETHER), calls_of(1)

    async def open(self, asked: ConnectRequest, session: str, ip: str) -> Opened:
        """Check credentials and take the device: the record is this session's from now on. Raises
        `RequestError`: `unknown_token`, `unauthenticated`, `banned`, `rate_limited`, `unavailable`
        (a newer connection was faster)."""
        token, claims = await self._check_credentials(asked, ip)
        if token is None:
            assert claims is not None
            return await self._open_user(asked, claims)
        cursors = asked.cursors
        if len(cursors) > MANY_CURSORS or isinstance(asked, StreamConnect):
            cursors = await self._known_cursors(asked, token, claims, ip)
        number = self._shards.number_of(device_stream(token))
        item = self._item_of(asked, token, claims, cursors, session, number)
        # A cursor may pass thousands of messages, each of which is counted.
        calls = self._alone if item.cursors else self._calls
        reply = only(await calls[number].ask([item]))
        if reply[0] == b"unknown":
            raise unknown_token(token)
        if reply[0] == b"wrong":
            raise await self._devices.wrong_secret(token, ip)
        now_us, former, boot, found, dropped, outbox, _epoch = reply
        home = self._shards[number]
        home.clock.observe(int(now_us))
        if outbox:  # what the JWT changes in the record is done before the session begins
            await self._outbox.run(home, outbox)
        # A stream of events reads nothing again that was acknowledged.
        rereads = not isinstance(asked, StreamConnect)
        record = await self._records.taken(
            token, as_fields(found), number, int(now_us), cursors, rereads=rereads
        )
        return Opened(
            token=token,
            user=record.user,
            subscriptions=record.subscriptions,
            expires_s=claims.expires_s if claims else None,
            before=(boot.decode(), former.decode()) if former and boot else None,
            truncated=[*(stream.decode() for stream in dropped), *record.truncated],
            topics=claims.topics if claims else (),
        )

    async def _check_credentials(
        self, asked: ConnectRequest, ip: str
    ) -> tuple[str | None, Claims | None]:
        """The device that connects, by its secret or named by the JWT, and the claims of that.
        Raises `RequestError`."""
        await self._devices.check_ban(ip=ip)
        claims = None
        if asked.jwt is not None:
            claims = await self._verifier.verify_by_latest(asked.jwt)
        token = asked.token
        claimed = claims.token if claims else None
        if token is None:
            token = claimed
        elif claimed is not None and claimed != token:
            raise RequestError("unauthenticated", "the JWT names another token", field="jwt")
        # Before a JWT binds the device. Its user, if it does not, is judged when it is known.
        try:
            await self._devices.check_ban(token=token, user=claims.user if claims else None)
        except RequestError:
            await self._verify(asked, ip)  # only who knows the secret learns of a ban
            raise
        return token, claims

    async def _verify(self, asked: ConnectRequest, ip: str) -> None:
        """The secret, when something is looked up before the script that opens does so."""
        if asked.token is not None and asked.secret is not None:
            await self._devices.verify(asked.token, asked.secret, ip)

    async def _known_cursors(
        self, asked: ConnectRequest, token: str, claims: Claims | None, ip: str
    ) -> dict[str, str]:
        """Where the client says that it is, as far as the device may follow that."""
        if len(asked.cursors) > MANY_CURSORS:
            await self._verify(asked, ip)
            return await self._followed(token, claims, asked.cursors)
        if isinstance(asked, StreamConnect) and asked.last_event_id:
            # The event that the client had last acknowledges what it had.
            await self._verify(asked, ip)
            return await cursors_at(self._shards, token, asked.last_event_id)
        return asked.cursors

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

    def _item_of(
        self,
        asked: ConnectRequest,
        token: str,
        claims: Claims | None,
        cursors: dict[str, str],
        session: str,
        number: int,
    ) -> OpeningItem:
        """What the script on the device's home, server `number`, gets."""
        item = OpeningItem(token, session, [])
        if cursors:
            records = self._records
            item.cursors += client_cursors(
                cursors, lambda stream: records.server_of(token, stream) == number
            )
        if asked.secret is not None:
            item.secret = digest_of(asked.secret)
        if claims is not None:
            item.topics = [topic_stream(topic) for topic in claims.topics if is_name(topic)]
            item.user = claims.user
            item.place = self._outbox.place_of(token, user_stream(claims.user))
        return item

    async def _open_user(self, asked: ConnectRequest, claims: Claims) -> Opened:
        """A user without a device: nothing is stored, and reading begins where the client says.

        But not past the end of the stream (that is: not past the last offset of the server), and
        not before the user joined a group.
        """
        if isinstance(asked, StreamConnect) and asked.by_id:
            detail = "`ack`: id needs a device, and the JWT names none"
            raise RequestError("invalid", detail, field="ack")
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
            position, said = end_of[number], asked.cursors.get(stream)
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


def _replayed(item: OpeningItem, reply: list[Any]) -> OpeningItem | None:
    """What a new master is told; None: the session did not take its device."""
    if reply[0] in (b"unknown", b"wrong", b"late", b"failed"):
        return None
    return msgspec.structs.replace(item, secret=None, told_epoch=reply[-1])
