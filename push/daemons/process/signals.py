"""Signals. The first that stops does so, the next hurries what is slow about that.

SIGHUP reloads. For a process with a terminal on its standard input it means something else: the
terminal has closed, and it stops. It also looks by itself whether the terminal is still there: the
system signals only the leader of the session, and `make`, as one, does not pass the signal on.

Instead of Twisted's own handlers, with which a process that stopped on request ends as if it
had been killed (by the signal, and not with status 0).
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

from twisted.application.service import Service
from twisted.logger import Logger
from twisted.python.failure import Failure

from push.runtime.ports import Reactor
from push.runtime.timers import Periodic

log = Logger()

TERMINAL_CHECK_SECONDS = 1.0
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def _log_failure(failure: Failure) -> None:
    log.failure("the terminal could not be checked", failure, event="server.terminal_check_failed")


class StopSignals(Service):
    """Takes SIGTERM and SIGINT from when the reactor runs until this is stopped, and SIGHUP.

    SIGHUP, which calls `reload`, is taken from the start on: its default would end a daemon that
    is asked to reload while it starts.
    """

    def __init__(self, reactor: Reactor, reload: Callable[[], object] = lambda: None) -> None:
        self._reactor = reactor
        self._reload = reload
        self._hurry: list[Callable[[], object]] = []
        self._before: dict[int, Any] = {}
        self._stopping = False
        self._has_terminal = False
        self._hung_up = False
        self._terminal_checks = Periodic(
            reactor, TERMINAL_CHECK_SECONDS, self._check_terminal, _log_failure
        )

    def on_second(self, hurry: Callable[[], object]) -> None:
        """Call `hurry` at each signal after the first."""
        self._hurry.append(hurry)

    def privilegedStartService(self) -> None:
        super().privilegedStartService()
        # Now: of a terminal that has closed the system says that it is none. And not before
        # twistd went into the background.
        self._has_terminal = os.isatty(0)
        self._take(signal.SIGHUP)

    def startService(self) -> None:
        super().startService()
        self._reactor.callWhenRunning(self._install)
        if self._has_terminal:
            self._terminal_checks.start()

    def stopService(self) -> None:
        super().stopService()
        self._terminal_checks.stop()
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def stop(self) -> None:
        """Stop the daemon, as a first signal does."""
        if not self._stopping:
            self._stopping = True
            self._reactor.stop()

    def _install(self) -> None:
        for number in STOP_SIGNALS:
            self._take(number)

    def _take(self, number: int) -> None:
        self._before[number] = signal.signal(number, self._caught)

    def _caught(self, number: int, _frame: object) -> None:
        self._reactor.callFromThread(self._received, signal.Signals(number))

    def _check_terminal(self) -> None:
        if not os.isatty(0):
            self._received(signal.SIGHUP)

    def _received(self, number: signal.Signals) -> None:
        if number == signal.SIGHUP:
            if not self._has_terminal:
                self._reload()
                return
            if self._hung_up:  # it was noticed and signalled: one event
                return
            self._hung_up = True
        if self._stopping:
            log.info(
                "{name}: second signal, stopping immediately",
                name=number.name,
                event="server.stopping_immediately",
            )
            for hurry in self._hurry:
                hurry()
            return
        log.info("{name}: stopping", name=number.name, event="server.stopping")
        self.stop()
