"""The first step of a stop: sessions go elsewhere (see push.connector.sessions.drain)."""

from __future__ import annotations

from collections.abc import Callable

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger

from push.connector.sessions.drain import Drain
from push.daemons.process.signals import StopSignals

log = Logger()


class DrainService(Service):
    """Empties a connector before anything else of the daemon stops; a second signal ends that.

    `notify()` updates the registry, so that clients are no longer sent here.
    """

    def __init__(
        self, drain: Drain, rate_per_second: float, signals: StopSignals, notify: Callable[[], None]
    ) -> None:
        self._drain = drain
        self._rate_per_second = rate_per_second
        self._signals = signals
        self._notify = notify
        self._running: Deferred[None] | None = None
        signals.on_second(self._hurry)

    def drain_and_stop(self, rate_per_second: float) -> None:
        """On request of an operator: the process ends when it is empty. 0: at the usual rate."""
        self._rate_per_second = rate_per_second or self._rate_per_second
        self._signals.stop()

    def stopService(self) -> Deferred[None]:
        super().stopService()
        return Deferred.fromCoroutine(self._run())

    async def _run(self) -> None:
        self._running = Deferred.fromCoroutine(self._drain.run(self._rate_per_second))
        self._notify()
        try:
            await self._running
        except CancelledError:
            log.warn("The drain was ended by a second signal", event="drain.cut_short")

    def _hurry(self) -> None:
        if self._running is not None:
            self._running.cancel()
