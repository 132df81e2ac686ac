"""Users: who is there, with which devices; and leaving nothing of one behind."""

from __future__ import annotations

import msgspec

from push.devices.asked import Filter
from push.devices.clients import Clients
from push.devices.directory import BINDING, Devices, check_user
from push.store.scripts import load_script
from push.store.server import RedisServer
from push.streams.names import channel_name
from push.streams.publish import APPEND, LEDGER
from push.wire.errors import Refusal
from push.wire.idents import user_stream

_user = load_script("push.devices", "user")
_erase = load_script("push.devices", "erase", LEDGER, APPEND, BINDING)


class UserDevice(msgspec.Struct):
    """A device of a user; `session` and `node` while it is online. `seen`: ms since 1970 UTC."""

    token: str
    platform: str
    app: str
    online: bool
    session: str | None
    node: str | None
    seen: int | None


class User(msgspec.Struct):
    """A user: online with one of the devices, or with a JWT alone. `silent`: nodes that were asked
    for such sessions and did not answer."""

    user: str
    online: bool
    devices: list[UserDevice]
    silent: list[str]


class Users:
    """All users."""

    def __init__(self, server: RedisServer, devices: Devices, clients: Clients) -> None:
        self._server = server
        self._devices = devices
        self._clients = clients

    async def get_user(self, user: str) -> User:
        """Devices by token. Sessions without a device are in no record: unless a device is online,
        connectors are asked for one."""
        check_user(user)
        rows = await self._server.run(_user, [], [user])
        devices = sorted(map(self._device, rows), key=lambda device: device.token)
        if any(device.online for device in devices):
            return User(user, True, devices, [])
        page = await self._clients.find(Filter(user=user), limit=1)
        return User(user, bool(page.sessions), devices, page.silent)

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

    async def erase(self, user: str) -> None:
        """Unbind all devices, which keep their sessions, and delete what waits for the user.

        Raises `Refusal` `not_found` when there was neither.
        """
        check_user(user)
        found = 0
        for row in await self._server.run(_user, [], [user]):
            found += await self._devices.unbind_if(user, row[0].decode())
        channel = self._server.channel(channel_name(user_stream(user)))
        left = 1
        while left:
            taken, left = map(int, await self._server.run(_erase, [], [user, channel]))
            found += taken
        if not found:
            raise Refusal("not_found", f"user {user} has no devices, and nothing waits")
