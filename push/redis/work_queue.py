"""Queues of work that several daemons do: sorted sets, whose members are due at a time.

A process that claims work may be killed. So work stays in its queue until it is done (a script
removes it then), and is due again when the time for which it was claimed is over. Everything in a
queue can be done twice. See push/lua/lib/work_queue.lua.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import NamedTuple

from push.redis.client import RedisClient
from push.redis.scripts import load_script

_claim = load_script("queues", "claim")


class WorkQueue(NamedTuple):
    """A queue, under the same name on every server.

    Nobody else claims what was claimed for `claimed_ms`, a little longer than doing it may take.
    For `pause_ms` work is left to the process that caused it.
    """

    name: str
    claimed_ms: int
    pause_ms: int = 0

    async def claim(self, server: RedisClient, limit: int) -> list[bytes]:
        """At most `limit` members that are due."""
        arguments: list[str | int] = [self.name, self.pause_ms, self.claimed_ms, limit]
        claimed: list[bytes] = await server.run(_claim, [], arguments)
        return claimed

    async def claim_all(self, server: RedisClient, limit: int) -> AsyncIterator[list[bytes]]:
        """All members that are due, at most `limit` at a time."""
        while True:
            claimed = await self.claim(server, limit)
            if claimed:
                yield claimed
            if len(claimed) < limit:
                return
