"""What has expired leaves the logs (design, rule 6).

Every daemon sweeps; a stream is claimed for a minute by who finds it due, so that they do not do
the same work. Nothing that has expired is delivered, swept or not.
"""

from __future__ import annotations

from typing import Any

from push.redis.client import RedisClient
from push.redis.clock import MICROSECONDS
from push.redis.periodic import Periodic
from push.redis.scripts import load_script
from push.redis.work_queue import WorkQueue

SWEEP_SECONDS = 1.0
STREAMS_PER_CLAIM = 100

QUEUE = WorkQueue("expiry", claimed_ms=60_000)
_expire = load_script("streams", "expire")


class Sweeper(Periodic):
    """Sweeps the logs of one server. `max_age_seconds` bounds the age of what many follow."""

    def __init__(self, reactor: Any, server: RedisClient, max_age_seconds: int) -> None:
        super().__init__(reactor, server, SWEEP_SECONDS, "Expired messages could not be swept")
        self._max_age_us = max_age_seconds * MICROSECONDS

    async def turn(self) -> None:
        await self.sweep()

    async def sweep(self) -> int:
        """Everything that is due now; returns how many streams that was."""
        swept = 0
        async for due in QUEUE.claim_all(self._server, STREAMS_PER_CLAIM):
            for stream in due:
                await self._expire(stream)
            swept += len(due)
        return swept

    async def _expire(self, stream: bytes) -> None:
        after: bytes = b"0"
        earliest, seen = 0, 0
        while after:
            after, earliest, seen = await self._server.run(
                _expire, [], [stream, after, earliest, seen, self._max_age_us]
            )
