"""What has expired leaves the logs (design, rule 6).

Every daemon sweeps; a stream is claimed for a minute by who finds it due, so that they do not do
the same work. Nothing that has expired is delivered, swept or not.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from push.store.clock import MICROSECONDS
from push.store.errors import StoreUnavailable
from push.store.scripts import load_script
from push.store.server import RedisServer
from push.streams.publish import APPEND, LEDGER

log = Logger()

SWEEP_SECONDS = 1.0
STREAMS_PER_CLAIM = 100

_due = load_script("push.streams", "due")
_expire = load_script("push.streams", "expire", LEDGER, APPEND)


class Sweeper:
    """Sweeps the logs of one server. `max_age_seconds` bounds the age of what many follow."""

    def __init__(self, reactor: Any, server: RedisServer, max_age_seconds: int) -> None:
        self._server = server
        self._max_age_us = max_age_seconds * MICROSECONDS
        self._loop = LoopingCall(self._turn)
        self._loop.clock = reactor
        self._running: Deferred[int] | None = None

    def start(self) -> None:
        self._loop.start(SWEEP_SECONDS, now=False)

    def stop(self) -> None:
        if self._loop.running:
            self._loop.stop()
        if self._running is not None:
            self._running.cancel()

    def _turn(self) -> Deferred[Any] | None:
        if self._server.problem is not None:
            return None
        self._running = Deferred.fromCoroutine(self.sweep())
        return self._running.addErrback(_tell)

    async def sweep(self) -> int:
        """Everything that is due now; returns how many streams that was."""
        swept = 0
        while True:
            due = await self._server.run(_due, [], [STREAMS_PER_CLAIM])
            for stream in due:
                await self._expire(stream)
            swept += len(due)
            if len(due) < STREAMS_PER_CLAIM:
                return swept

    async def _expire(self, stream: bytes) -> None:
        after: bytes = b"0"
        earliest, seen = 0, 0
        while after:
            after, earliest, seen = await self._server.run(
                _expire, [], [stream, after, earliest, seen, self._max_age_us]
            )


def _tell(failure: Any) -> None:
    """The next turn tries again, if this was not the end."""
    error = failure.value
    if isinstance(error, CancelledError):
        return
    if isinstance(error, StoreUnavailable):
        log.debug("Sweep put off: {reason}", reason=error.reason)
    else:
        log.failure("Expired messages could not be swept", failure=failure)
