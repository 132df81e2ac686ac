"""A real ZooKeeper as a process of its own, to use and to hurt."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from pathlib import Path

from tests.ports import free_port
from tests.waiting import DEADLINE_SECONDS, wait_for

SERVER_SCRIPT = "/usr/share/zookeeper/bin/zkServer.sh"


def what_zookeeper_lacks() -> str | None:
    """Why no ZooKeeper can be started here, or None."""
    if shutil.which("java") is None:
        return "java is not installed"
    if not Path(SERVER_SCRIPT).exists():
        return "ZooKeeper (Debian's package zookeeper) is not installed"
    return None


def own_stops_of_kazoo() -> set[threading.Thread]:
    """The threads in which one goes on. With a server that does not answer it takes 10 s."""
    return {thread for thread in threading.enumerate() if thread.name == "zookeeper-end"}


class ZooKeeperServer:
    """A server on a port of loopback, `port` or a free one: the same at every start.

    Sessions may be as short as two ticks and as long as twenty, or as `max_session_seconds`.
    """

    def __init__(
        self, *, port: int = 0, tick_ms: int = 100, max_session_seconds: float = 0
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="push-test-zookeeper-"))
        self.port = port or free_port()
        self._tick_ms = tick_ms
        self._max_session_ms = int(max_session_seconds * 1000) or 20 * tick_ms
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def hosts(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start, on the port and data of the last run, and return when it serves."""
        assert not self.running, "the server runs already"

        def serves() -> bool:
            if not self.running:  # the first time, or the port is not free again yet
                self._spawn()
            return self._serves()

        wait_for(serves, lambda: f"ZooKeeper serves\n{(self.folder / 'out').read_text()}")

    def _spawn(self) -> None:
        configuration = self.folder / "zoo.cfg"
        configuration.write_text(
            f"tickTime={self._tick_ms}\ndataDir={self.folder}/data\n"
            f"maxSessionTimeout={self._max_session_ms}\nclientPort={self.port}\nclientPortAddress=127.0.0.1\nadmin.enableServer=false\n"
        )
        environment = {
            **os.environ,
            "ZOO_LOG_DIR": str(self.folder),
            "JMXDISABLE": "true",
            "JVMFLAGS": "-Xmx96m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:-UsePerfData "
            "-Dzookeeper.forceSync=no",
        }
        with (self.folder / "out").open("ab") as out:
            self._process = subprocess.Popen(
                [SERVER_SCRIPT, "start-foreground", str(configuration)],
                env=environment,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )

    def _serves(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1.0) as connection:
                connection.settimeout(1.0)
                connection.sendall(b"srvr")
                return b"Zookeeper version" in connection.recv(4096)
        except OSError:
            return False

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL, and wait for the end."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """SIGSTOP: connections stay open and nothing answers."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)

    def lose_data(self) -> None:
        """With everything that was written, sessions included."""
        assert not self.running
        shutil.rmtree(self.folder / "data")

    def ensure_running(self) -> None:
        if not self.running:
            self.start()
        self.resume()

    def _end(self, how: signal.Signals) -> None:
        if self.running:
            assert self._process is not None
            self._process.send_signal(signal.SIGCONT)
            self._process.send_signal(how)
            self._process.wait(DEADLINE_SECONDS)

    def remove(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
