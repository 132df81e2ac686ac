"""Periodic work on each server: trimming histories, and ending dismissed groups."""

from __future__ import annotations

from collections.abc import AsyncIterator

from push.chat.actions import Acting
from push.chat.groups import Groups
from push.chat.messages import kept_of
from push.chat.scripts import ChatScripts, chat_script, number, one_list
from push.chat.settings import ChatSettings
from push.redis.client import RedisClient
from push.redis.periodic import PeriodicTask
from push.redis.scripts import CLAIMING
from push.runtime.ports import Clock

LOOK_SECONDS = 5.0
PER_LOOK = 50
PAUSE_MS = 2000  # the daemon that dismisses a group has so long to release its members

_due = chat_script("due", CLAIMING)
_trim = chat_script("trim")


class HistoryRetention(PeriodicTask):
    """Trims the histories of one server and ends its dismissed groups."""

    def __init__(
        self,
        reactor: Clock,
        server: RedisClient,
        scripts: ChatScripts,
        acting: Acting,
        groups: Groups,
        settings: ChatSettings,
    ) -> None:
        super().__init__(reactor, server, LOOK_SECONDS, "Conversations could not be tidied")
        self._scripts = scripts
        self._acting = acting
        self._groups = groups
        self._kept = kept_of(settings)

    async def turn(self) -> None:
        await self.tidy()

    async def tidy(self) -> None:
        """Everything that is due now."""
        async for group in self._due("dismissed", PAUSE_MS):
            await self._groups.let_go(group)
        async for owner in self._due("histories", 0):
            more = 1
            while more:
                request = {"owner": owner, **self._kept}
                more = await self._acting.run_on(self._server, _trim, request, number)

    async def _due(self, key: str, pause_ms: int) -> AsyncIterator[str]:
        """All members of a sorted set that are due, claimed a part at a time."""
        request = {"key": key, "pause_ms": pause_ms, "limit": PER_LOOK}
        while True:
            due = (await self._scripts.run(self._server, _due, request, one_list)).values
            for member in due:
                yield member.decode()
            if len(due) < PER_LOOK:
                return
