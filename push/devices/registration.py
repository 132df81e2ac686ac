"""Registering, finding, binding and forgetting devices."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

import msgspec

from push.access.bans import CheckBan, nobody_is_banned
from push.access.rate_limits import MinuteLimit, RefusalCounts
from push.devices.outbox import Changed, Outbox, record_change_of
from push.devices.readers import NO_READERS, Held, Readers, held_of
from push.devices.record import as_fields, elsewhere_of, optional
from push.redis.client import RedisClient
from push.redis.keyspace import (
    DEVICE_APP,
    DEVICE_BOOT,
    DEVICE_CREATED,
    DEVICE_CURSOR,
    DEVICE_ELSEWHERE,
    DEVICE_LABEL,
    DEVICE_NODE,
    DEVICE_PLATFORM,
    DEVICE_SECRET,
    DEVICE_SEEN,
    DEVICE_SESSION,
    DEVICE_USER,
    USER_DEVICES,
    record_name,
)
from push.redis.scripts import load_script
from push.redis.shards import Shards
from push.runtime.tasks import gather
from push.wire.addresses import counted_ip
from push.wire.api.devices import Device
from push.wire.errors import RequestError
from push.wire.idents import (
    NAME_RULE,
    TOPIC_PREFIX,
    Snowflake,
    device_stream,
    is_name,
    is_token,
    user_stream,
)

NEVER_CONNECTED_SECONDS = 86_400
SECRET_BYTES = 16
MAX_COUNTED = 10_000  # messages in a stream, for a device's backlog

_waiting = load_script("devices", "waiting")
_register = load_script("devices", "register")
_bind = load_script("devices", "bind")
_release = load_script("devices", "release")
_forget = load_script("devices", "forget")


class NewCredentials(msgspec.Struct):
    """What a device registers for: its address, and the proof that it is its own."""

    token: str
    secret: str


class _Forgotten(NamedTuple):
    """A device that was deleted: the session that had it, "" if none had, and what is to be done
    on other servers."""

    session: str
    boot: str
    held: list[Held]
    outbox: list[bytes]


def _forgotten(reply: list[bytes] | None) -> _Forgotten | None:
    """None: there is no such device, or it is not to be deleted now."""
    if reply is None:
        return None
    session, boot, *outbox = reply
    return _Forgotten(session.decode(), boot.decode(), held_of(session, boot), outbox)


def digest_of(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


class Devices:
    """All devices. `close_session(boot, session, code)` ends a session wherever it is.

    `is_live_boot(boot)` tells whether the connector of that boot id is there (rule 17).
    """

    def __init__(
        self,
        shards: Shards,
        outbox: Outbox,
        snowflake: Snowflake,
        is_live_boot: Callable[[str], bool],
        close_session: Callable[[str, str, str], Awaitable[None]],
        *,
        registrations_per_minute: int,
        failed_secrets_per_minute: int,
        check_ban: CheckBan = nobody_is_banned,
        readers: Readers = NO_READERS,
        refusals: RefusalCounts | None = None,
    ) -> None:
        refusals = RefusalCounts() if refusals is None else refusals
        self._shards = shards
        self._outbox = outbox
        self._snowflake = snowflake
        self._is_live_boot = is_live_boot
        self._close_session = close_session
        self.check_ban = check_ban
        self._readers = readers
        self._registrations = MinuteLimit(
            shards,
            "register",
            registrations_per_minute,
            what="registrations from this address",
            limit="registrations_per_minute",
            refusals=refusals,
        )
        self._failed_secrets = MinuteLimit(
            shards,
            "secret",
            failed_secrets_per_minute,
            what="wrong secrets for this token from this address",
            limit="failed_secrets_per_minute",
            refusals=refusals,
        )

    async def register(
        self,
        *,
        platform: str,
        app: str,
        device: str | None = None,
        token: str | None = None,
        secret: str | None = None,
        ip: str,
    ) -> NewCredentials:
        """A new device; or, with a token and its right secret, the same pair again.

        Raises `RequestError`: `banned`, `rate_limited`.
        """
        await self.check_ban(ip=ip)
        if token is not None and secret is not None and await self._is_right(token, secret, ip):
            return NewCredentials(token, secret)
        await self._registrations.take(counted_ip(ip))
        secret = secrets.token_urlsafe(SECRET_BYTES)
        while True:
            token = self._snowflake.next_id()
            home = self._home(token)
            created_ms = home.clock.now_ms()
            written = await home.run(
                _register,
                [],
                [
                    token,
                    digest_of(secret),
                    platform,
                    app,
                    device or "",
                    created_ms,
                    NEVER_CONNECTED_SECONDS,
                ],
                durable=True,
                decode=bool,
            )
            if written:
                return NewCredentials(token, secret)

    async def verify(self, token: str, secret: str, ip: str) -> None:
        """Raises `RequestError`: `unknown_token`, `unauthenticated` (wrong secret), `rate_limited`.

        A right secret is never refused. Only wrong ones are counted, and for their token alone, so
        no client locks out other devices with the same address.
        """
        known = await self._command(token, "HGET", DEVICE_SECRET)
        if known is None:
            raise unknown_token(token)
        if not hmac.compare_digest(known, digest_of(secret).encode()):
            raise await self.wrong_secret(token, ip)

    async def wrong_secret(self, token: str, ip: str) -> RequestError:
        """One more wrong secret for this token from that address: what it is refused with.

        Raises `RequestError` `rate_limited`.
        """
        await self._failed_secrets.take(f"{counted_ip(ip)}:{token}")
        return RequestError("unauthenticated", "the secret is not this token's", field="secret")

    async def get(self, token: str) -> Device:
        """The device, with its session and how many messages wait for it.

        Raises `RequestError` `invalid`, `unknown_token`; and `StoreUnavailable`.
        """
        check_token(token)
        fields = as_fields(await self._command(token, "HGETALL"))
        if not fields:
            raise unknown_token(token)
        online = DEVICE_SESSION in fields and self._is_live_boot(
            fields.get(DEVICE_BOOT, b"").decode()
        )
        return Device(
            token=token,
            platform=fields[DEVICE_PLATFORM].decode(),
            app=fields[DEVICE_APP].decode(),
            device=optional(fields, DEVICE_LABEL),
            user=optional(fields, DEVICE_USER),
            created=int(fields[DEVICE_CREATED]),
            seen=int(fields[DEVICE_SEEN]) if DEVICE_SEEN in fields else None,
            topics=sorted(
                name[2 + len(TOPIC_PREFIX) :]
                for name in fields
                if name.startswith((DEVICE_CURSOR + TOPIC_PREFIX, DEVICE_ELSEWHERE + TOPIC_PREFIX))
            ),
            session=optional(fields, DEVICE_SESSION) if online else None,
            node=optional(fields, DEVICE_NODE) if online else None,
            backlog=await self._backlog(token, fields),
            online=online,
        )

    async def _backlog(self, token: str, fields: dict[str, bytes]) -> int:
        """How many messages wait for a device, on all servers on which it follows streams."""
        numbers = {self._shards.number_of(stream) for stream in elsewhere_of(fields)}
        numbers.add(self._shards.number_of(device_stream(token)))
        arguments: list[str | int] = [token, MAX_COUNTED]
        calls = [self._shards[n].run(_waiting, [], arguments, decode=int) for n in numbers]
        return sum(await gather(calls))

    async def check(self, token: str) -> None:
        """Raises `RequestError` `invalid` or `unknown_token` unless there is such a device."""
        check_token(token)
        if not await self.exists(token):
            raise unknown_token(token)

    async def exists(self, token: str) -> bool:
        return bool(await self._command(token, "EXISTS"))

    async def forget(self, token: str) -> list[str]:
        """Delete a device with all that waits for it; a live session of it is closed.

        Returns the nodes that did not confirm in time.
        """
        check_token(token)
        home = self._home(token)
        forgotten = await home.run(_forget, [], [token], durable=True, decode=_forgotten)
        if forgotten is None:
            raise unknown_token(token)
        if forgotten.session:
            await self._close_session(forgotten.boot, forgotten.session, "kicked")
        await self._outbox.run(home, forgotten.outbox)
        return await self._readers.apply_devices(forgotten.held)

    async def retire(self, token: str) -> bool:
        """Delete a device whose time is over, if it has no session still."""
        home = self._home(token)
        forgotten = await home.run(_forget, [], [token, ""], decode=_forgotten)
        if forgotten is None:
            return False
        await self._outbox.run(home, forgotten.outbox)
        return True

    async def release(self, token: str, boot: str, retention_seconds: int) -> None:
        """The connector `boot` is gone, and with it the session that the device's record names."""
        await self._home(token).run(_release, [], [token, boot, retention_seconds])

    async def bind(self, user: str, token: str) -> list[str]:
        """The device is this user's from now on, replacing another; a live session at once.

        Returns the nodes that did not confirm in time.
        """
        check_user_id(user)
        check_token(token)
        changed = await self._bind(token, user, "")
        if changed.code < 0:
            raise unknown_token(token)
        return await self._readers.apply_devices(changed.held)

    async def end_elsewhere(self, boot: str, session: str) -> None:
        """The session of the connector `boot` has lost its device to another. Returns when it has
        ended there and what it asked for is done; or after 2 s: then that connector reads the
        record before it lets the session do anything. Raises `StoreUnavailable`."""
        await self._readers.apply_devices([Held(session, boot)])

    def is_live_boot(self, boot: str) -> bool:
        """Whether the connector of that boot id is there."""
        return self._is_live_boot(boot)

    async def tokens_of(self, user: str) -> list[str]:
        """The devices that are bound to a user."""
        server = self._shards.of(user_stream(user))
        tokens = await server.command("SMEMBERS", server.key(f"{USER_DEVICES}{user}"))
        return [token.decode() for token in tokens]

    async def unbind_all(self, user: str, tokens: Sequence[str]) -> list[str]:
        """The devices have no user any more, as far as they were this user's.

        Returns the nodes that did not confirm in time.
        """
        held: list[Held] = []
        for token in tokens:
            held += (await self._bind(token, "", user)).held
        return await self._readers.apply_devices(held)

    async def unbind(self, user: str, token: str) -> list[str]:
        """The device has no user any more; `not_found` if it is not this user's.

        Returns the nodes that did not confirm in time.
        """
        check_user_id(user)
        check_token(token)
        changed = await self._bind(token, "", user)
        if changed.code < 0:
            raise unknown_token(token)
        if not changed.code:
            raise RequestError("not_found", f"device {token} is not bound to user {user}")
        return await self._readers.apply_devices(changed.held)

    async def _bind(self, token: str, user: str, expected: str) -> Changed:
        home = self._home(token)
        place = self._outbox.place_of(token, user_stream(user))
        arguments = [token, user, expected, place]
        change = await home.run(_bind, [], arguments, durable=True, decode=record_change_of)
        return await self._outbox.changed(home, change)

    async def _is_right(self, token: str, secret: str, ip: str) -> bool:
        try:
            await self.verify(token, secret, ip)
        except RequestError as refusal:
            if refusal.code == "rate_limited":
                raise
            return False
        return True

    def _home(self, token: str) -> RedisClient:
        return self._shards.of(device_stream(token))

    async def _command(self, token: str, command: str, *arguments: str) -> Any:
        """A command on the device's record."""
        home = self._home(token)
        return await home.command(command, home.key(record_name(token)), *arguments)


def check_token(token: str) -> None:
    """Raises `RequestError` `invalid` for what cannot be a token."""
    if not is_token(token):
        raise RequestError(
            "invalid", "not a token: its form or check character is wrong", field="token"
        )


def check_user_id(user: str) -> None:
    """Raises `RequestError` `invalid` for what cannot be the id of a user."""
    if not is_name(user):
        raise RequestError("invalid", f"a user id is {NAME_RULE}", field="user")


def unknown_token(token: str) -> RequestError:
    return RequestError("unknown_token", f"no device has the token {token[:64]!r}", field="token")
