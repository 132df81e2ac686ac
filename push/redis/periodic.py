"""Work that is done again and again on a server."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from push.redis.client import RedisClient
from push.redis.errors import StoreUnavailable

log = Logger()


class Periodic(ABC):
    """Calls `turn` every so many seconds, not while the server is away, and never twice at a time.

    A turn that fails is logged as `failed`; the next tries again.
    """

    def __init__(
        self, reactor: Any, server: RedisClient, interval_seconds: float, failed: str
    ) -> None:
        self._server = server
        self._interval_seconds = interval_seconds
        self._failed = failed
        self._loop = LoopingCall(self._turn)
        self._loop.clock = reactor
        self._running: Deferred[Any] | None = None

    @abstractmethod
    async def turn(self) -> None:
        """What is done."""

    def start(self) -> None:
        self._loop.start(self._interval_seconds, now=False)

    def stop(self) -> None:
        if self._loop.running:
            self._loop.stop()
        if self._running is not None:
            self._running.cancel()

    def _turn(self) -> Deferred[Any] | None:
        if self._server.problem is not None:
            return None
        self._running = Deferred.fromCoroutine(self.turn())
        return self._running.addErrback(self._tell)

    def _tell(self, failure: Any) -> None:
        error = failure.value
        if isinstance(error, CancelledError):
            return
        if isinstance(error, StoreUnavailable):
            log.debug("{failed}: {reason}", failed=self._failed, reason=error.reason)
        else:
            log.failure("{failed}", failure, failed=self._failed)
