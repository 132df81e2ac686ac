"""Stop signals. The first stops the daemon, the next hurries what is slow about that.

Instead of Twisted's own handlers, with which a process that stopped as it was told to ends as if it
had been killed (by the signal, and not with status 0).
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

from twisted.application.service import Service
from twisted.logger import Logger

log = Logger()

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopSignals(Service):
    """Takes SIGTERM and SIGINT from when the reactor runs until this is stopped."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._hurry: list[Callable[[], object]] = []
        self._before: dict[int, Any] = {}
        self._stopping = False

    def on_second(self, hurry: Callable[[], object]) -> None:
        """Call `hurry` at each signal after the first."""
        self._hurry.append(hurry)

    def startService(self) -> None:
        super().startService()
        self._reactor.callWhenRunning(self._install)

    def stopService(self) -> None:
        super().stopService()
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def stop(self) -> None:
        """Stop the daemon, as a first signal does."""
        if not self._stopping:
            self._stopping = True
            self._reactor.stop()

    def _install(self) -> None:
        for number in STOP_SIGNALS:
            self._before[number] = signal.signal(number, self._caught)

    def _caught(self, number: int, _frame: object) -> None:
        self._reactor.callFromThread(self._received, signal.Signals(number).name)

    def _received(self, name: str) -> None:
        if self._stopping:
            log.info("{name} again: no more waiting", name=name)
            for hurry in self._hurry:
                hurry()
            return
        log.info("{name}: stopping", name=name)
        self.stop()
