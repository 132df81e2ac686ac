"""Users: whether they are online, and their devices."""

from __future__ import annotations

from collections.abc import Sequence

from push.devices.registration import Devices, check_user_id
from push.devices.session_queries import Filter, SessionQueries
from push.redis.scripts import load_script
from push.redis.shards import Shards
from push.runtime.tasks import gather
from push.wire.api.devices import User, UserDevice
from push.wire.idents import device_stream

MAX_SESSIONS = 200  # that connectors are asked for at a time

_user = load_script("devices", "user")


class Users:
    """All users."""

    def __init__(self, shards: Shards, devices: Devices, clients: SessionQueries) -> None:
        self._shards = shards
        self._devices = devices
        self._clients = clients

    async def get_user(self, user: str) -> User:
        """Devices by token. Sessions without a device are in no record: unless a device is online,
        connectors are asked for one."""
        check_user_id(user)
        devices = sorted(await self._devices_of(user), key=lambda device: device.token)
        if any(device.online for device in devices):
            return User(user, True, devices, [])
        page = await self._clients.find(Filter(user=user), limit=1)
        return User(user, bool(page.connections), devices, page.silent)

    async def online(self, users: Sequence[str]) -> dict[str, bool]:
        """Whether each user is online. Connectors are asked once for all users without such a
        device."""
        devices = await gather(self._devices_of(user) for user in users)
        found = {
            user: any(device.online for device in of_user)
            for user, of_user in zip(users, devices, strict=True)
        }
        unknown = tuple(user for user, online in found.items() if not online)
        cursor: str | None = "" if unknown else None
        while cursor is not None:
            page = await self._clients.find(Filter(users=unknown), cursor, MAX_SESSIONS)
            found.update((row.user, True) for row in page.connections if row.user is not None)
            cursor = page.cursor
        return found

    async def _devices_of(self, user: str) -> list[UserDevice]:
        homes = self._shards.grouped(await self._devices.tokens_of(user), device_stream)
        calls = [
            self._shards[n].run(_user, [], tokens, decode=self._devices_in)
            for n, tokens in homes.items()
        ]
        return [device for devices in await gather(calls) for device in devices]

    def _devices_in(self, reply: list[list[bytes]]) -> list[UserDevice]:
        return [self._device(row) for row in reply]

    def _device(self, row: list[bytes]) -> UserDevice:
        token, platform, app, session, boot, node, seen = (item.decode() for item in row)
        online = bool(session) and self._devices.is_live_boot(boot)
        return UserDevice(
            token=token,
            platform=platform,
            app=app,
            online=online,
            session=session if online else None,
            node=node if online else None,
            seen=int(seen) if seen else None,
        )
