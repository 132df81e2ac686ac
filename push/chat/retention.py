"""Periodic work on each server: trimming histories, and ending dismissed groups."""

from __future__ import annotations

from push.chat.actions import Acting
from push.chat.groups import Groups
from push.chat.messages import kept_of
from push.chat.settings import ChatSettings
from push.redis.client import RedisClient
from push.redis.periodic import PeriodicTask
from push.redis.scripts import load_script
from push.redis.work_queue import WorkQueue
from push.runtime.ports import Clock

LOOK_SECONDS = 5.0
PER_LOOK = 50
PAUSE_MS = 2000  # the daemon that dismisses a group has so long to release its members

DISMISSED = WorkQueue("dismissed", claimed_ms=10_000, pause_ms=PAUSE_MS)
HISTORIES = WorkQueue("histories", claimed_ms=10_000)

_trim = load_script("chat", "trim")


class HistoryRetention(PeriodicTask):
    """Trims the histories of one server and ends its dismissed groups."""

    def __init__(
        self,
        reactor: Clock,
        server: RedisClient,
        acting: Acting,
        groups: Groups,
        settings: ChatSettings,
    ) -> None:
        super().__init__(reactor, server, LOOK_SECONDS, "Conversations could not be tidied")
        self._acting = acting
        self._groups = groups
        self._kept = kept_of(settings)

    async def do_due(self) -> None:
        """Everything that is due now."""
        async for groups in DISMISSED.claim_all(self._server, PER_LOOK):
            for group in groups:
                await self._groups.let_go(group.decode())
        async for owners in HISTORIES.claim_all(self._server, PER_LOOK):
            for owner in owners:
                await self._trim(owner.decode())

    async def _trim(self, owner: str) -> None:
        more = 1
        while more:
            request = {"owner": owner, **self._kept}
            (more,) = await self._acting.run(self._server, _trim, request)
