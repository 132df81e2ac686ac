"""Opening and closing a device's session: who connects, what it follows, who had it before."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from push.devices.directory import BINDING, Devices, unknown_token
from push.devices.jwt import Claims, JwtVerifier
from push.devices.records import as_fields, follows_of, optional
from push.session.window import Follow
from push.store.clock import MICROSECONDS
from push.store.scripts import load_script
from push.store.server import RedisServer
from push.streams.names import record_name
from push.streams.publish import APPEND, LEDGER
from push.wire.bodies import ConnectRequest
from push.wire.errors import Refusal
from push.wire.idents import STREAM_ALL, is_offset, user_stream

_open = load_script("push.devices", "open", LEDGER, APPEND, BINDING)
_close = load_script("push.devices", "close")
_held = load_script("push.devices", "held")


class Opened(msgspec.Struct):
    """A session may begin. `before` is the (boot id, session) that had the device, if one had.

    `truncated`: streams of which something unexpired was dropped that the device had not read.
    """

    token: str | None
    user: str | None
    follows: list[Follow]
    expires_s: int | None
    before: tuple[str, str] | None
    truncated: list[str] = []


class Record(msgspec.Struct):
    """What a device's record says of whom and what it follows, and since which offset."""

    user: str | None
    follows: list[Follow]
    since: dict[str, int]


class Sessions:
    """The sessions of one connector, named by its boot id and node."""

    def __init__(
        self,
        server: RedisServer,
        devices: Devices,
        verifier: JwtVerifier,
        *,
        boot: str,
        node: str,
        retention_seconds: int,
        attempt_pause_seconds: float,
    ) -> None:
        self._server = server
        self._devices = devices
        self._verifier = verifier
        self._boot = boot
        self._node = node
        self._retention_seconds = retention_seconds
        self._attempt_pause_us = int(attempt_pause_seconds * MICROSECONDS)

    async def open(self, asked: ConnectRequest, session: str, ip: str) -> Opened:
        """Check credentials and take the device. Raises `Refusal`: `unknown_token`,
        `unauthenticated`, `rate_limited`."""
        claims = self._verifier.verify(asked.jwt) if asked.jwt is not None else None
        token = await self._token(asked, claims, ip)
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
            raise Refusal("unauthenticated", "the JWT names another token", field="jwt")
        assert asked.secret is not None
        await self._devices.verify(asked.token, asked.secret, ip)
        return asked.token

    async def _open_device(
        self, token: str, claims: Claims | None, cursors: dict[str, str], session: str
    ) -> Opened:
        server = self._server
        places: list[str | int] = []
        for stream, offset in cursors.items():
            if is_offset(offset):
                places += [stream, int(offset)]
        reply = await server.run(
            _open,
            [],
            [
                token,
                session,
                self._boot,
                self._node,
                self._retention_seconds,
                claims.user if claims else "",
                *places,
            ],
        )
        if not reply:
            raise unknown_token(token)
        server.clock.observe(int(reply[0]))
        fields = as_fields(reply[4])
        before = (reply[3].decode(), reply[2].decode()) if reply[2] and reply[3] else None
        return Opened(
            token=token,
            user=optional(fields, "u"),
            follows=follows_of(fields),
            expires_s=claims.expires_s if claims else None,
            before=before,
            truncated=[stream.decode() for stream in reply[5]],
        )

    async def following(self, token: str) -> Record | None:
        """What the device follows now; None if it was deleted."""
        reply = await self._server.command("HGETALL", self._server.key(record_name(token)))
        if not reply:
            return None
        fields = as_fields(reply)
        since = {name[2:]: int(value) for name, value in fields.items() if name.startswith("f:")}
        return Record(optional(fields, "u"), follows_of(fields), since)

    async def _open_user(self, claims: Claims, cursors: dict[str, str]) -> Opened:
        """A user without a device: nothing is stored, reading begins where the client says, but not
        behind the end of the stream (that is: not beyond the last offset of the server)."""
        end = await self._server.last_offset()
        cursors = {stream: offset for stream, offset in cursors.items() if is_offset(offset)}
        follows = [
            Follow(stream, min(int(cursors[stream]), end) if stream in cursors else end)
            for stream in (STREAM_ALL, user_stream(claims.user))
        ]
        return Opened(
            token=None, user=claims.user, follows=follows, expires_s=claims.expires_s, before=None
        )

    async def lost(self, held: Sequence[tuple[str, str]]) -> list[int]:
        """Of these (token, session) pairs the places of those that are not the device's any more:
        another connection has it, or it was deleted."""
        lost = await self._server.run(_held, [], [part for pair in held for part in pair])
        return [number - 1 for number in lost]

    def renew(self, text: str, user: str | None, token: str | None) -> Claims:
        """A JWT for a running session: it must name the same user, and no other device."""
        claims = self._verifier.verify(text)
        if claims.user != user or (claims.token is not None and claims.token != token):
            raise Refusal("not_allowed", "the JWT is for another user or device", field="jwt")
        return claims

    async def close(self, token: str, session: str, follows: Sequence[Follow]) -> None:
        """The session ended; a first message that was handed out in vain is remembered."""
        server = self._server
        tried: list[str] = []
        for follow in follows:
            head = follow.pending[0] if follow.pending else None
            in_vain = head is not None and not head.done
            tried += [follow.stream, f"{head.offset} {head.attempts}" if head and in_vain else ""]
        await server.run(
            _close,
            [],
            [token, session, self._retention_seconds, self._attempt_pause_us, *tried],
        )
