"""Redis for a daemon: the embedded server if it has one, and the connections to it."""

from __future__ import annotations

from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger

from push.daemons.redis_child import EmbeddedRedis
from push.daemons.settings import Settings
from push.store.address import parse_redis_url
from push.store.server import RedisServer

log = Logger()


class StoreService(Service):
    """Starts what is embedded, then connects; stops in the other order, so that nothing is lost."""

    def __init__(self, reactor: Any, settings: Settings) -> None:
        self._reactor = reactor
        self._embedded: EmbeddedRedis | None = None
        url = str(settings.redis.url)
        if settings.redis.url.embedded:
            self._embedded = EmbeddedRedis(reactor, settings.server.data_folder)
            url = self._embedded.url
        self.server = RedisServer(reactor, parse_redis_url(url))
        self._starting: Deferred[None] | None = None

    def startService(self) -> None:
        super().startService()
        if self._embedded is not None:
            self._embedded.startService()
        self._starting = Deferred.fromCoroutine(self._start())
        self._starting.addErrback(_log_failure)

    async def _start(self) -> None:
        if self._embedded is not None:
            await self._embedded.ready()
        self.server.start()

    def stopService(self) -> Deferred[None]:
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        if self._starting is not None:
            self._starting.cancel()
        await self.server.stop()
        if self._embedded is not None:
            await self._embedded.stopService()


def _log_failure(failure: Any) -> None:
    if not failure.check(CancelledError):
        log.failure("Redis could not be started", failure=failure)
