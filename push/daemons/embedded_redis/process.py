"""One run of a Redis server as a child process: started, listened to, ended."""

from __future__ import annotations

import os
import resource
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Self

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from push.runtime.ports import Reactor

_log = Logger()

LOCK_DESCRIPTOR = 3
LAST_LINES = 3


class ServerProcess(ProcessProtocol):
    """A server process. It holds the lock that is given to `spawn` for as long as it lives."""

    transport: Any  # zope's interfaces say nothing to mypy

    def __init__(self, reactor: Reactor, configuration: str) -> None:
        self.pid = 0
        self.alive = True
        self._reactor = reactor
        self._configuration = configuration
        self._how = ""
        self._waiting: list[Deferred[str]] = []
        self._unfinished = b""
        self._last_lines: deque[str] = deque(maxlen=LAST_LINES)

    @classmethod
    def spawn(
        cls, reactor: Reactor, command: Sequence[str], configuration: str, lock_descriptor: int
    ) -> Self:
        """Start `command` with the configuration on its standard input; raises OSError."""
        _spare_descriptors_out_of_range()
        process = cls(reactor, configuration)
        descriptors = {0: "w", 1: "r", 2: "r", LOCK_DESCRIPTOR: lock_descriptor}
        reactor.spawnProcess(
            process, command[0], command, env=dict(os.environ), childFDs=descriptors
        )
        return process

    async def ended(self) -> str:
        """Return how it ended, in words, when the process has ended."""
        if not self.alive:
            return self._how
        answer: Deferred[str] = Deferred()
        self._waiting.append(answer)
        return await answer

    async def end(self, patience_seconds: float) -> None:
        """SIGTERM, which lets it write everything; SIGKILL to one that takes too long."""
        if not self.alive:
            return
        self._signal("TERM")
        kill = self._reactor.callLater(patience_seconds, self._kill, patience_seconds)
        await self.ended()
        if kill.active():
            kill.cancel()

    def _kill(self, patience_seconds: float) -> None:
        _log.error(
            "Redis (process {pid}) did not end within {seconds:g} s and is killed",
            pid=self.pid,
            seconds=patience_seconds,
            event="redis.killed",
        )
        self._signal("KILL")

    def _signal(self, name: str) -> None:
        with suppress(ProcessExitedAlready):  # its end is about to be reported
            self.transport.signalProcess(name)

    # --- called by the reactor ---------------------------------------------------------------

    def connectionMade(self) -> None:
        self.pid = self.transport.pid
        self.transport.write(self._configuration.encode())
        self.transport.closeStdin()

    def outReceived(self, data: bytes) -> None:
        *lines, self._unfinished = (self._unfinished + data).split(b"\n")
        for line in lines:
            text = line.decode("utf-8", "replace").strip()
            _log.debug("Redis: {line}", line=text, event="redis.output")
            # "1234:M 23 Nov 2026 20:00:00.000 # Bad file format …": these are its warnings.
            if " # " in text:
                self._last_lines.append(text.split(" # ", 1)[1])

    def errReceived(self, data: bytes) -> None:
        lines = data.decode("utf-8", "replace").splitlines()
        self._last_lines.extend(line.strip() for line in lines if line.strip())

    def processEnded(self, reason: Failure) -> None:
        self.alive = False
        error = reason.value
        assert isinstance(error, ProcessDone | ProcessTerminated)
        cause = f"signal {error.signal}" if error.signal else f"exit status {error.exitCode}"
        self._how = f"{cause} ({' / '.join(self._last_lines)})" if self._last_lines else cause
        waiting, self._waiting = self._waiting, []
        for answer in waiting:
            answer.callback(self._how)


def _spare_descriptors_out_of_range() -> None:
    """Keep the reactor from closing inherited descriptors that posix_spawn refuses to close.

    A shell may leave descriptor 251 open and then lower the limit of open files: the descriptor
    stays open, but it is no number that a file may have. Closed on exec, it is not in its way.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    for name in os.listdir("/dev/fd"):
        if int(name) >= limit:
            with suppress(OSError):  # the one that listed the folder
                os.set_inheritable(int(name), False)
