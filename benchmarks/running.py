"""Daemons as real processes on free ports, for benchmarks and for tests."""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import signal
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from typing import IO, NamedTuple

SERVER_TIMEOUT_SECONDS = 120

# What starts a daemon. The tests have something faster: tests/warm.py.
Start = Callable[..., subprocess.Popen[bytes]]
start_program: Start = subprocess.Popen


class Running(NamedTuple):
    """A started daemon; the port of what it does not serve is 0."""

    process: subprocess.Popen[bytes]
    http: tuple[str, int]
    tcp_address: tuple[str, int]
    tls_address: tuple[str, int]
    admin_key: str
    app_key: str
    data_dir: Path
    log: Path
    ws_address: tuple[str, int] = ("127.0.0.1", 0)
    wss_address: tuple[str, int] = ("127.0.0.1", 0)
    is_https: bool = False  # what `http` is

    @property
    def http_url(self) -> str:
        return f"http{'s' if self.is_https else ''}://{self.http[0]}:{self.http[1]}"

    def dial_http(self, timeout_seconds: float | None = None) -> HTTPConnection:
        """A connection for requests. Its certificate, if it has one, is not checked."""
        if not self.is_https:
            return HTTPConnection(*self.http, timeout=timeout_seconds)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return HTTPSConnection(*self.http, timeout=timeout_seconds, context=context)

    @property
    def ws_url(self) -> str:
        return f"ws://{self.ws_address[0]}:{self.ws_address[1]}/ws"

    def cpu_seconds(self) -> float:
        """Time of the process on a processor until now, without its Redis."""
        fields = Path(f"/proc/{self.process.pid}/schedstat").read_text().split()
        return int(fields[0]) / 1e9

    def rss_bytes(self) -> int:
        """Memory of the process, without its Redis."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert found
        return int(found[1]) * 1024


class Api:
    """The HTTP API over one kept connection."""

    def __init__(self, running: Running) -> None:
        self._connection = HTTPConnection(*running.http)
        self._headers = {
            "Authorization": f"Bearer {running.admin_key}",
            "Content-Type": "application/json",
        }

    def post(self, path: str, body: object) -> object:
        self._connection.request("POST", path, json.dumps(body), self._headers)
        answer = self._connection.getresponse()
        content = json.loads(answer.read())
        if answer.status not in (200, 202):
            raise SystemExit(f"{path}: {answer.status} {content}")
        return content


def raise_file_limit() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def twistd() -> str:
    """The command beside this interpreter."""
    return str(Path(sys.executable).with_name("twistd"))


@contextlib.contextmanager
def started_server(
    tap: str = "push",
    data_folder: Path | None = None,
    start: Start | None = None,
    **settings: str,
) -> Iterator[Running]:
    """A daemon on free ports, ended at the end. `settings`: `limits_max_payload="1024"`, …

    `start` is called with its command instead of `start_program`.
    """
    with tempfile.TemporaryDirectory(prefix="push-run-") as folder:
        data = data_folder or Path(folder, "data")
        log = Path(folder, "log")
        process = start_process(tap, data, log, settings, start=start)
        try:
            yield wait_until_ready(process, log, data)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(SERVER_TIMEOUT_SECONDS)


def start_process(
    tap: str,
    data: Path,
    log: Path,
    settings: dict[str, str],
    stderr: int | IO[bytes] | None = None,
    start: Start | None = None,
) -> subprocess.Popen[bytes]:
    """`twistd -n <tap>` with `settings` over those of a quick local start."""
    chosen = {
        "server_data": str(data),
        "connector_tcp": "127.0.0.1:0",
        "connector_tls": "127.0.0.1:0",
        "connector_ws": "",
        "connector_wss": "",
        "http_listen": "127.0.0.1:0",
        "limits_registrations_per_minute": "0",
        **settings,
    }
    variables = {f"PUSH_{name.upper()}": value for name, value in chosen.items()}
    command = [twistd(), "-n", "--pidfile=", f"--logfile={log}", tap]
    environment = {**os.environ, **variables}
    begin = start or start_program
    return begin(command, env=environment, stdout=subprocess.DEVNULL, stderr=stderr)


def wait_until_ready(process: subprocess.Popen[bytes], log: Path, data: Path) -> Running:
    """Read from the log where it listens; ends the program when it does not start."""
    deadline = time.monotonic() + SERVER_TIMEOUT_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        text = log.read_text() if log.exists() else ""
        if "] ready" in text:
            ports = {
                name: ("127.0.0.1", int(port))
                for name, port in re.findall(r"listening: (\w+) \S*?:(\d+)", text)
            }
            admin, app = ((data / f"{name}.key").read_text().strip() for name in ("admin", "app"))
            nowhere = ("127.0.0.1", 0)
            return Running(
                process,
                ports.get("http", ports.get("https", nowhere)),
                ports.get("tcp", nowhere),
                ports.get("tls", nowhere),
                admin,
                app,
                data,
                log,
                ports.get("ws", nowhere),
                ports.get("wss", nowhere),
                "https" in ports,
            )
        time.sleep(0.02)
    raise SystemExit(f"the server did not start:\n{log.read_text() if log.exists() else ''}")
