"""Expired entries leave the logs (architecture, rule 6).

Every daemon sweeps; a daemon that finds a stream due claims it for a minute, so that no other does
the same work. Nothing that has expired is delivered, swept or not.
"""

from __future__ import annotations

from typing import Any

from push.redis.client import RedisClient
from push.redis.clock import MICROSECONDS
from push.redis.connection.replies import Argument
from push.redis.periodic import PeriodicTask
from push.redis.scripts import load_script
from push.redis.work_queue import WorkQueue
from push.runtime.ports import Clock

SWEEP_SECONDS = 1.0
STREAMS_PER_CLAIM = 100

QUEUE = WorkQueue("expiry", claimed_ms=60_000)
_drop_empty = load_script("streams", "drop_empty")
_expire = load_script("streams", "expire")


class Sweeper(PeriodicTask):
    """Sweeps the logs of one server. `max_age_seconds` bounds the age of what many follow."""

    def __init__(self, reactor: Clock, server: RedisClient, max_age_seconds: int) -> None:
        super().__init__(reactor, server, SWEEP_SECONDS, "Expired messages could not be swept")
        self._max_age_us = max_age_seconds * MICROSECONDS

    async def do_due(self) -> None:
        await self.sweep()

    async def sweep(self) -> int:
        """Everything that is due now; returns how many streams that was."""
        swept = 0
        async for due in QUEUE.claim_all(self._server, STREAMS_PER_CLAIM):
            left: list[bytes] = await self._server.run(_drop_empty, [], due)
            for stream in left:
                await self._expire(stream)
            swept += len(due)
        return swept

    async def _expire(self, stream: bytes) -> None:
        after, earliest, seen = b"0", 0, 0
        while after:
            arguments: list[Argument] = [stream, after, earliest, seen, self._max_age_us]
            after, earliest, seen = await self._server.run(_expire, [], arguments, decode=_place)


def _place(reply: list[Any]) -> tuple[bytes, int, int]:
    """Where a sweep of a stream goes on (b"": it is done), and what it found so far."""
    after, earliest, seen = reply
    return after, earliest, seen
