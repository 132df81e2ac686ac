"""A started server, and the processes that it is."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple, Self

from benchmarks.machine import rss_bytes
from benchmarks.results import OURS
from tests.ports import free_port

START_SECONDS = 120
STOP_SECONDS = 120
PASSWORD = "k" * 40  # of peers: every server checks a credential

__all__ = ["OURS", "PASSWORD", "Certificate", "Paths", "Server", "free_port"]


class Certificate(NamedTuple):
    """Files in PEM, of the same kind for all servers."""

    certificate: Path
    key: Path


@dataclass(frozen=True)
class Paths:
    """Programs of peers; empty: it is left out."""

    mosquitto: str = ""
    mosquitto_passwd: str = ""
    nats: str = ""


class Server:
    """One server. `carrier`: "plain", "tls" or "websocket". Closed at the end of a `with`."""

    name: ClassVar[str]
    protocol: ClassVar[str]
    heartbeat_seconds: ClassVar[float] = 0  # how often a client sends one by default
    settle_seconds: float = 0.3  # until late work of a message is in the CPU figure

    def __init__(self, carrier: str = "plain") -> None:
        self.carrier = carrier
        self.port = self.http_port = 0
        self.pids: list[int] = []
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._stack.close()

    @property
    def session_pids(self) -> list[int]:
        """Those whose memory holds the sessions."""
        return self.pids[:1]

    def words(self) -> dict[str, object]:
        """What the load generator must know."""
        return {
            "protocol": self.protocol,
            "port": self.port,
            "http_port": self.http_port,
            "tls": int(self.carrier == "tls"),
            "heartbeat": self.heartbeat_seconds,
            "pids": ",".join(map(str, self.pids)),
        }

    def rss_kib(self) -> float:
        """Of the processes that hold the sessions."""
        return sum(map(rss_bytes, self.session_pids)) / 1024

    def all_rss_kib(self) -> float:
        return sum(map(rss_bytes, self.pids)) / 1024

    def _folder(self) -> Path:
        folder = tempfile.TemporaryDirectory(prefix="push-bench-")
        return Path(self._stack.enter_context(folder))

    def _start(self, command: Sequence[str], folder: Path) -> None:
        """A peer: its output goes to a file; ready when its port answers."""
        log = folder / "log"
        with log.open("ab") as output:
            process = subprocess.Popen(
                command,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        self._stack.callback(_end, process)
        self.pids = [process.pid]
        deadline = time.monotonic() + START_SECONDS
        while process.poll() is None and time.monotonic() < deadline:
            with (
                contextlib.suppress(OSError),
                socket.create_connection(("127.0.0.1", self.port), 1),
            ):
                return
            time.sleep(0.02)
        raise SystemExit(f"{self.name} did not start: {log.read_text()[-800:]}")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
