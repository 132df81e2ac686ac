"""Devices that were offline for too long are forgotten (protocol.md, "SUB: register").

A sorted set holds when each device is to be forgotten; connecting and leaving put it off. A device
that is online is not forgotten, however long it stays; if its connector died with its session, the
time that it is offline begins when that is noticed.
"""

from __future__ import annotations

from collections.abc import Callable

from push.devices.registration import Devices
from push.redis.client import RedisClient
from push.redis.periodic import PeriodicTask
from push.redis.scripts import load_script
from push.runtime.ports import Clock

LOOK_SECONDS = 60.0
LOOK_AGAIN_SECONDS = 3600  # at one that is online, or whose forgetting was interrupted
DEVICES_PER_LOOK = 100

_claim_retired = load_script("devices", "claim_retired")


class DeviceExpiry(PeriodicTask):
    """Forgets the devices of one server. `may_live(boot)`: that connector may be there."""

    def __init__(
        self,
        reactor: Clock,
        server: RedisClient,
        devices: Devices,
        may_live: Callable[[str], bool],
        retention_seconds: int,
    ) -> None:
        super().__init__(reactor, server, LOOK_SECONDS, "Devices could not be forgotten")
        self._devices = devices
        self._may_live = may_live
        self._retention_seconds = retention_seconds

    async def do_due(self) -> None:
        await self.look()

    async def look(self) -> int:
        """Forget all whose time is over; returns how many that were."""
        forgotten = 0
        while True:
            arguments = [DEVICES_PER_LOOK, LOOK_AGAIN_SECONDS]
            due: list[list[bytes]] = await self._server.run(_claim_retired, [], arguments)
            for token, boot in due:
                if not boot:
                    forgotten += await self._devices.retire(token.decode())
                elif not self._may_live(boot.decode()):
                    await self._devices.release(
                        token.decode(), boot.decode(), self._retention_seconds
                    )
            if len(due) < DEVICES_PER_LOOK:
                return forgotten
