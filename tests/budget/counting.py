"""A started daemon whose work is counted, and its Redis server's."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from redis import Redis

from benchmarks.machine import children
from benchmarks.running import Running, started_server
from tests.waiting import DEADLINE_SECONDS, wait_for

ROOT = Path(__file__).parents[2]
SAME_LOOKS = 5
TICK_SECONDS, MOST_TICKS = 0.05, 200
# What the looking itself does, and what keeps connections alive.
NOT_COUNTED = ("info", "ping", "hello", "client", "select")


class Counts(NamedTuple):
    """What one piece of work took."""

    calls: float
    system_calls: float
    redis_commands: float

    def each(self, pieces: int) -> Counts:
        return Counts(*(count / pieces for count in self))

    @classmethod
    def least(cls, rounds: Sequence[Counts]) -> Counts:
        """Other work of the daemon only adds to a round."""
        return cls(*map(min, zip(*rounds, strict=True)))


class Daemon:
    """`twistd push` with its embedded Redis."""

    def __init__(self, running: Running, path: Path) -> None:
        self.running = running
        self.redis = Redis(unix_socket_path=str(running.data_dir / "redis" / "redis.sock"))
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(DEADLINE_SECONDS)
        self._socket.connect(str(path))
        self._lines = self._socket.makefile("rw")
        self._redis_before = 0
        self._pids = (running.process.pid, *children(running.process.pid))
        assert len(self._pids) == 2, self._pids

    def begin(self) -> None:
        self._redis_before = self.redis_commands()
        self._ask("begin")

    def end(self) -> Counts:
        counted = self._ask("end")
        system_calls = sum(counted["system_calls"].values())
        return Counts(counted["calls"], system_calls, self.redis_commands() - self._redis_before)

    def memory(self) -> dict[str, int]:
        """Bytes and blocks in use."""
        found: dict[str, int] = self._ask("memory")
        return found

    def redis_commands(self) -> int:
        """Commands until now, those that scripts called too."""
        stats = self.redis.info("commandstats")
        return sum(
            figures["calls"]
            for name, figures in stats.items()
            if name.removeprefix("cmdstat_").partition("|")[0] not in NOT_COUNTED
        )

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Inside the block its clock stands still, but for what `advance` adds."""
        self._ask("freeze")
        self.settle()
        try:
            yield
        finally:
            self._ask("thaw")

    def advance(self, seconds: float) -> None:
        """What is due by then happens."""
        self._ask(f"advance {seconds}")
        self.settle()

    def settle(self) -> None:
        """Until it and its Redis wait for something, and have done all that was sent to them.

        On a busy machine what has work is not asleep (S), it would like to run (R).
        """
        daemon, redis = self._pids
        seen: list[list[tuple[str, str]]] = []

        def waits() -> bool:
            threads = _threads(daemon)
            # Redis wakes ten times a second by itself.
            asleep = all(state == "S" for state, _ in [*threads, *_threads(redis)])
            seen.append(threads if asleep else [])
            last = seen[-SAME_LOOKS:]
            return len(last) == SAME_LOOKS and all(look and look == last[0] for look in last)

        wait_for(waits, "the daemon and Redis sleep", look_seconds=0.002)

    def tick_until(self, condition: Callable[[], bool]) -> None:
        """Its clock goes on only where `condition` needs a delayed call."""
        for _ in range(MOST_TICKS):
            self.settle()
            if condition():
                return
            self.advance(TICK_SECONDS)
        raise AssertionError(f"nothing came in {MOST_TICKS * TICK_SECONDS} s of its clock")

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """What is sent meanwhile is there at once when it goes on: in one turn of its reactor."""
        self.running.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.running.process.send_signal(signal.SIGCONT)

    def _ask(self, what: str) -> Any:
        self._lines.write(f"{what}\n")
        self._lines.flush()
        return json.loads(self._lines.readline())

    def close(self) -> None:
        self._lines.close()
        self._socket.close()
        self.redis.close()


def _threads(pid: int) -> list[tuple[str, str]]:
    """Of each thread its state (S sleeps, R runs or would like to), and how often it has slept."""
    found = []
    for path in sorted(Path(f"/proc/{pid}/task").iterdir()):
        with contextlib.suppress(FileNotFoundError):  # it has just ended
            fields = dict(
                line.split(":\t", 1) for line in (path / "status").read_text().splitlines()
            )
            found.append((fields["State"][0], fields["voluntary_ctxt_switches"]))
    return found


@contextlib.contextmanager
def counted_daemon() -> Iterator[Daemon]:
    """Started as itself, not forked: its memory is that of a real one."""
    with tempfile.TemporaryDirectory(prefix="push-budget-") as folder:
        path = Path(folder, "socket")

        def start(command: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
            ours = [sys.executable, "-m", "tests.budget.counted_daemon", str(path)]
            return subprocess.Popen([*ours, *command[1:]], cwd=ROOT, **options)

        with started_server("push", start=start) as running:
            daemon = Daemon(running, path)
            try:
                yield daemon
            finally:
                daemon.close()
