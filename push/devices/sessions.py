"""The sessions of one connector: they are opened and ended, and the record of a device says whose
it is and what it follows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from push.access.claims import Claims
from push.access.jwt import JwtVerifier
from push.devices.follow_record import FollowRecord, FollowRecords, GroupsOf
from push.devices.outbox import Outbox
from push.devices.registration import Devices
from push.devices.session_ending import EndedSession, SessionEnding
from push.devices.session_opening import Opened, SessionOpening
from push.redis.shards import Shards
from push.wire.bodies import ConnectRequest
from push.wire.errors import RequestError


class Sessions:
    """What a connector asks of the servers for its sessions; `boot` and `node` name the connector.

    The server that a token hashes to decides which session has the device.
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
        self._devices = devices
        self._verifier = verifier
        self._records = FollowRecords(shards, attempt_pause_seconds, groups_of)
        self._opening = SessionOpening(
            shards,
            devices,
            outbox,
            verifier,
            self._records,
            boot=boot,
            node=node,
            retention_seconds=retention_seconds,
        )
        self._ending = SessionEnding(shards, retention_seconds)

    async def open(self, asked: ConnectRequest, session: str, ip: str) -> Opened:
        """Check credentials and take the device. Raises `RequestError`: `unknown_token`,
        `unauthenticated`, `banned`, `rate_limited`, `unavailable` (a newer connection was
        faster)."""
        return await self._opening.open(asked, session, ip)

    async def following(self, token: str, session: str) -> FollowRecord | None:
        """What the device follows now, for `session` if that has it; None if it was deleted."""
        return await self._records.of_device(token, session)

    async def following_of_user(self, user: str) -> FollowRecord:
        """The groups of a user, each from the offset at which they joined it."""
        return await self._records.of_user(user)

    async def renew(self, text: str, user: str | None, token: str | None) -> Claims:
        """A JWT for a running session: it must name the same user, and no other device."""
        claims = await self._verifier.verify_by_latest(text)
        if claims.user != user or (claims.token is not None and claims.token != token):
            raise RequestError("not_allowed", "the JWT is for another user or device", field="jwt")
        return claims

    async def lost(self, held: Sequence[tuple[str, str]]) -> list[int]:
        """Of these (token, session) pairs the indexes of those that no longer have their device:
        another session has it, or it was deleted. Raises `StoreUnavailable`."""
        return await self._ending.lost(held)

    async def end_elsewhere(self, boot: str, session: str) -> None:
        """See `Devices.end_elsewhere`."""
        await self._devices.end_elsewhere(boot, session)

    async def close(self, ended: Iterable[EndedSession]) -> list[EndedSession]:
        """Sessions ended. Returns those of which that could not be stored."""
        return await self._ending.close(ended)
