"""Devices are told offline: after a grace time, and also when their connector was killed."""

from __future__ import annotations

from collections.abc import Callable

from push.redis import keyspace
from push.redis.client import RedisClient
from push.redis.connection.replies import Argument
from push.redis.periodic import PeriodicTask
from push.redis.scripts import Script, load_script
from push.redis.work_queue import WorkQueue
from push.runtime.ports import Clock

LOOK_SECONDS = 1.0
LOOKS_PER_SEARCH = 5  # for connectors that have vanished
DEVICES_PER_CALL = 200
MOST_VANISHED = 256  # connectors of which it is remembered that they had vanished

QUEUE = WorkQueue("webhook-offline", claimed_ms=10_000)
_come_back = load_script("webhooks", "come_back")
_connectors = load_script("webhooks", "connectors")
_offline = load_script("webhooks", "offline")
_vanish = load_script("webhooks", "vanish")
_watch = load_script("webhooks", "watch")


class PresenceWatch(PeriodicTask):
    """Watches the devices of one server. `may_live(boot)`: that connector may be there."""

    def __init__(
        self, reactor: Clock, server: RedisClient, may_live: Callable[[str], bool]
    ) -> None:
        super().__init__(reactor, server, LOOK_SECONDS, "Devices could not be told offline")
        self._may_live = may_live
        self._looks = 0
        self._since: bytes | None = None  # since when somebody wants to know
        self._vanished: dict[bytes, None] = {}  # boot ids; one that was only paused is there again

    async def do_due(self) -> None:
        async for due in QUEUE.claim_all(self._server, DEVICES_PER_CALL):
            for token in due:
                await self._tell_if_offline(token)
        self._looks += 1
        if self._looks % LOOKS_PER_SEARCH == 1:
            await self._search()

    async def _tell_if_offline(self, token: bytes) -> None:
        """A device whose time is over: another session may have it by now."""
        boot: bytes = await self._server.run(_offline, [], [token, "", "0"])
        if boot:
            lives = "1" if self._may_live(boot.decode()) else "0"
            await self._server.run(_offline, [], [token, boot, lives])

    async def _search(self) -> None:
        key = self._server.key(keyspace.WEBHOOK_WANTED)
        since = await self._server.command("HGET", key, "presence")
        if since is not None and since != self._since:
            await self._for_all_devices(_watch, [])
        self._since = since
        await self._tell_who_is_back()
        boots: list[bytes] = await self._server.run(_connectors, [], [])
        for boot in boots:
            if not self._may_live(boot.decode()):
                self._vanished[boot] = None
                if len(self._vanished) > MOST_VANISHED:
                    del self._vanished[next(iter(self._vanished))]
                more = 1
                while more:
                    more = await self._server.run(_vanish, [], [boot], decode=int)

    async def _tell_who_is_back(self) -> None:
        back = [boot for boot in self._vanished if self._may_live(boot.decode())]
        if back:
            await self._for_all_devices(_come_back, [b" ".join(back)])
        for boot in back:
            del self._vanished[boot]

    async def _for_all_devices(self, script: Script, arguments: list[Argument]) -> None:
        """Run it with the tokens of all, some at a time: also of those that had a session before
        somebody wanted to know, or whose connector was thought to be gone."""
        cursor = b"0"
        key = self._server.key(keyspace.DEVICES)
        while True:
            cursor, found = await self._server.command(
                "ZSCAN", key, cursor, "COUNT", DEVICES_PER_CALL
            )
            if found:
                await self._server.run(script, [], [*arguments, *found[::2]])
            if cursor == b"0":
                return
