"""What no server could undercut: a C loop of `send()`, and a bare handler of HTTP."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

from benchmarks import compiled
from benchmarks.servers.base import Server


class _Announced(Server):
    """A program that prints its port and ends with its standard input."""

    def _run(self, command: Sequence[str]) -> int:
        process = self._stack.enter_context(
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        )
        assert process.stdout
        port = process.stdout.readline()
        if not port:
            raise SystemExit(f"{self.name} did not start")
        self.pids = [process.pid]
        return int(port)


class SendLoop(_Announced):
    """`send()` to every subscriber, one message after another."""

    name, protocol = "C loop", "loop"
    arguments: tuple[str, ...] = ()

    def __init__(self) -> None:
        super().__init__()
        self.port = self._run([compiled.send_loop(), *self.arguments])


class JoinedLoop(SendLoop):
    """The same, but messages that come together leave in one `send()` a subscriber."""

    name = "C loop, joined"
    arguments = ("join",)


class BareKlein(_Announced):
    """A Klein handler that does one Redis PUBLISH, on the Redis server of another."""

    name, protocol = "bare Klein", "push"

    def __init__(self, redis_socket: str) -> None:
        super().__init__()
        command = [sys.executable, "-m", "benchmarks.servers.bare_klein", redis_socket]
        self.http_port = self.port = self._run(command)
