"""The sessions of one connector: they are opened and ended, and the record of a device says whose
it is and what it follows."""

from __future__ import annotations

from push.access.claims import Claims
from push.access.jwt import JwtVerifier
from push.devices.follow_record import FollowRecords, GroupsOf
from push.devices.outbox import Outbox
from push.devices.registration import Devices
from push.devices.session_ending import SessionEnding
from push.devices.session_opening import SessionOpening
from push.redis.shards import Shards
from push.wire.errors import RequestError


class Sessions:
    """What a connector asks of the servers for its sessions: their `opening`, their `ending`, and
    the `records` of what they follow. `boot` and `node` name the connector.

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
        redeliver_after_seconds: float,
        groups_of: GroupsOf | None = None,
    ) -> None:
        self._verifier = verifier
        self.records = FollowRecords(shards, redeliver_after_seconds, groups_of)
        self.opening = SessionOpening(
            shards,
            devices,
            outbox,
            verifier,
            self.records,
            boot=boot,
            node=node,
            retention_seconds=retention_seconds,
        )
        self.ending = SessionEnding(shards, retention_seconds)

    async def renew(self, text: str, user: str | None, token: str | None) -> Claims:
        """A JWT for a running session: it must name the same user, and no other device."""
        claims = await self._verifier.verify_by_latest(text)
        if claims.user != user or (claims.token is not None and claims.token != token):
            raise RequestError("not_allowed", "the JWT is for another user or device", field="jwt")
        return claims
