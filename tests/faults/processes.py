"""Real processes to hurt: Redis and the daemons, each restartable in the same place."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.running import start_process
from push.daemons.embedded_redis.binary import command_line, configuration, find_server
from tests.ports import free_port
from tests.waiting import DEADLINE_SECONDS, wait_for


class Process:
    """A process of the test: started, paused, killed and started again."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self.name} was not started"
        return self._process.pid

    def pause(self) -> None:
        """SIGSTOP: connections stay open and nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL, and wait for the end."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM, and wait for the end."""
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGCONT)
        self._process.send_signal(how)
        try:
            self._process.wait(DEADLINE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(DEADLINE_SECONDS)
            raise AssertionError(f"{self.name} did not end by itself") from None

    def signal_stop(self) -> None:
        """SIGTERM, and do not wait."""
        os.kill(self.pid, signal.SIGTERM)

    @property
    def exit_status(self) -> int | None:
        """None while it runs; negative when a signal ended it."""
        assert self._process is not None, f"{self.name} was not started"
        return self._process.poll()

    def rss_bytes(self) -> int:
        status = Path(f"/proc/{self.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert found
        return int(found[1]) * 1024


class Redis(Process):
    """A Redis server on a unix socket with AOF. `environment` is added to that of every start.

    `data`: where its files are, a folder of its own by default; the socket and the log are not
    among them.
    """

    def __init__(
        self, *, fsync: str = "always", data: Path | None = None, extra_configuration: str = ""
    ) -> None:
        super().__init__("redis")
        # Not under pytest's tmp_path: its paths are too long for a unix socket.
        self.folder = Path(tempfile.mkdtemp(prefix="push-faults-redis-"))
        self.socket_path = str(self.folder / "redis.sock")
        self.url = f"unix://{self.socket_path}"
        self.log = self.folder / "redis.log"
        self.environment: dict[str, str] = {}
        self._configuration = (
            configuration(data or self.folder, self.socket_path, fsync=fsync) + extra_configuration
        )

    def start(self) -> None:
        """Start on the data of the last run and return when it answers."""
        assert not self.running, "the server runs already"
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command_line(find_server()),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env={**os.environ, **self.environment},
            )
        assert self._process.stdin is not None
        self._process.stdin.write(self._configuration.encode())
        self._process.stdin.close()
        wait_for(
            lambda: not self.running or self._answers(),
            lambda: f"Redis answers\n{self.log.read_text()}",
        )
        assert self.running, self.log.read_text()

    def _answers(self) -> bool:
        try:
            return self.call("PING").startswith(b"+PONG")
        except OSError:
            return False

    def call(self, *command: str | bytes) -> bytes:
        """One command over a connection of its own; the first bytes of the answer, unparsed."""
        words = [word.encode() if isinstance(word, str) else word for word in command]
        request = b"*%d\r\n" % len(words) + b"".join(
            b"$%d\r\n%b\r\n" % (len(word), word) for word in words
        )
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(DEADLINE_SECONDS)
            connection.connect(self.socket_path)
            connection.sendall(request)
            return connection.recv(65536)

    def clients(self, kind: str) -> int:
        """Connections of `kind` (normal, pubsub), this question's own apart."""
        own = 1 if kind == "normal" else 0
        return self.call("CLIENT", "LIST", "TYPE", kind).count(b" addr=") - own

    def remove(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


class Daemon(Process):
    """`twistd push-connector` or `push-api`, on ports that stay the same over all its starts."""

    def __init__(self, tap: str, name: str, folder: Path, settings: dict[str, str]) -> None:
        super().__init__(name)
        self.tap = tap
        self.device_port = free_port()
        self.http_port = free_port()
        self.environment: dict[str, str] = {}
        self._folder = folder
        self._starts = 0
        http = f"127.0.0.1:{self.http_port}"
        self._settings = {
            "server_node": name,
            "connector_tcp": f"127.0.0.1:{self.device_port}",
            "connector_tls": "",
            "connector_ws": "",
            "connector_wss": "",
            "connector_admin": http,
            "http_listen": http,
            **settings,
        }

    def set(self, name: str, value: str) -> None:
        """A setting for the starts from now on."""
        self._settings[name] = value

    @property
    def log(self) -> Path:
        """The log of the last start."""
        return self._folder / f"{self.name}.{self._starts}.log"

    @property
    def url(self) -> str:
        """Where devices connect."""
        return f"tcp://127.0.0.1:{self.device_port}"

    @property
    def http_url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    def begin(self) -> None:
        """Start, and do not wait."""
        assert not self.running, f"{self.name} runs already"
        self._starts += 1
        before = dict(os.environ)
        os.environ.update(self.environment)  # what `start_process` hands on
        try:
            self._process = start_process(
                self.tap, self._folder / "data", self.log, self._settings, subprocess.DEVNULL
            )
        finally:
            os.environ.clear()
            os.environ.update(before)

    def start(self) -> None:
        """Start and return when it listens. It may have to wait for its old lease to be ready."""
        self.begin()
        self.wait_for_line("listening: http")

    def wait_for_line(self, text: str) -> None:
        """Until the log of this start has `text`."""
        wait_for(lambda: not self.running or text in self.log_text(), lambda: self._missing(text))
        assert text in self.log_text(), self._missing(text)

    def _missing(self, text: str) -> str:
        return f"{self.name} says {text!r}\n{self.log_text()}"

    def log_text(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    def get(self, path: str, key: str = "") -> tuple[int, Any]:
        """Status and body of a GET: parsed when it is JSON, else the text."""
        return self._ask("GET", path, key)

    def post(self, path: str, key: str, body: Any) -> tuple[int, Any]:
        """Status and body of a POST of JSON."""
        return self._ask("POST", path, key, json.dumps(body))

    def _ask(self, method: str, path: str, key: str, body: str | None = None) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        address = ("127.0.0.1", self.http_port)
        connection = http.client.HTTPConnection(*address, timeout=DEADLINE_SECONDS)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            text = answer.read().decode()
            if "json" in answer.headers.get("Content-Type", ""):
                return answer.status, json.loads(text)
            return answer.status, text
        finally:
            connection.close()

    def ready(self) -> bool:
        try:
            return self.get("/readyz")[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def notes(self) -> list[str]:
        """What it says of itself although it is ready. It must be."""
        status, body = self.get("/readyz")
        assert status == 200, body
        return body.get("notes", [])

    def metric(self, name: str) -> int:
        """The value of a metric without labels."""
        _, text = self.get("/metrics")
        found = re.search(rf"^{name} (\S+)$", text, re.MULTILINE)
        assert found, f"{self.name} has no metric {name}"
        return int(float(found[1]))
