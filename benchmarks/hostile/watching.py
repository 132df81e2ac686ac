"""What others notice of a flood: a well-behaved device, and the process that serves it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, NamedTuple

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from benchmarks.hostile.client import Client
from benchmarks.hostile.connections import VICTIM, Target
from benchmarks.running import Running
from push.daemons.security.certificate import self_signed
from push.wire.frames import encode_frame
from push.wire.signals import Signal

LATE_SECONDS = 10.0  # what did not come by then counts as having taken so long
PATIENCE_SECONDS = 60.0  # for what must come before a measurement
MIB = 1 << 20
SCOPES = ["admin", "chat", "push", "read"]  # of the attackers' key
WITH_KEY = ("/v1/stats",)
VISITED = ("/healthz", "/readyz", *WITH_KEY)


class Latencies(NamedTuple):
    """Milliseconds from the moment when a push was due until the device had it, or from that when
    a request was due until it was answered."""

    median_ms: float
    worst_ms: float
    number: int
    missing: int


def open_client(running: Running) -> Client:
    """A device over TCP, in session."""
    client = Client(running.tcp_address)
    client.socket.settimeout(PATIENCE_SECONDS)
    client.open(running.app_key)
    return client


def open_pair(running: Running) -> dict[str, str]:
    """Register a device and leave."""
    client = open_client(running)
    client.socket.close()
    return client.pair


def prepare(running: Running, attackers: int) -> Target:
    """Devices for attackers, each bound to a user of its own."""
    backend = Backend(running)
    pairs = []
    for number in range(max(2, attackers)):
        pairs.append(open_pair(running))
        token = pairs[-1]["token"]
        status, _ = backend.call("PUT", f"/v1/users/attacker{number}/devices/{token}")
        assert status in (200, 204), status
    status, made = backend.call("POST", "/v1/keys", {"name": "attacker", "scopes": SCOPES})
    assert status == 201, made
    return Target(
        running.tcp_address[1],
        running.tls_address[1],
        running.ws_address[1],
        running.http[1],
        running.app_key,
        pairs,
        made["key"],
        running.wss_address[1],
    )


class Backend:
    """HTTP over one kept connection; a request that fails is made once more on a new one."""

    def __init__(self, running: Running, timeout_seconds: float = PATIENCE_SECONDS) -> None:
        self._running = running
        self._timeout_seconds = timeout_seconds
        self._connection: HTTPConnection | None = None

    def call(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """The status and the JSON or text of the answer. Raises OSError or HTTPException."""
        headers = {"Authorization": f"Bearer {self._running.admin_key}"}
        raw = None if body is None else json.dumps(body)
        if body is not None:
            headers["Content-Type"] = "application/json"
        try:
            return self._exchange(method, path, raw, headers)
        except (ConnectionError, HTTPException):
            # A full server ends connections that have not shown a key, new ones too.
            return self._exchange(method, path, raw, headers)

    def _exchange(
        self, method: str, path: str, raw: str | None, headers: dict[str, str]
    ) -> tuple[int, Any]:
        if self._connection is None:
            self._connection = self._running.dial_http(self._timeout_seconds)
        try:
            self._connection.request(method, path, raw, headers)
            answer = self._connection.getresponse()
            content = answer.read()
        except (OSError, HTTPException):
            self._connection.close()
            self._connection = None
            raise
        kind = answer.headers.get("Content-Type", "")
        return answer.status, json.loads(content) if "json" in kind else content.decode()


class WellBehaved:
    """A device of the user `VICTIM` with one session that takes and acknowledges what is pushed to
    it."""

    def __init__(self, running: Running) -> None:
        self._running = running
        self._client = open_client(running)
        token = self._client.pair["token"]
        Backend(running).call("PUT", f"/v1/users/{VICTIM}/devices/{token}")
        self._came: dict[int, float] = {}
        self._changed = threading.Condition()
        self._pushed = 0
        self.ended = ""  # how its session ended; "" while it lives
        self._client.socket.settimeout(None)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        try:
            while not self.ended:
                for message in self._client.read():
                    self._take(message.signal, message.message_id, message.body)
        except (OSError, ValueError) as error:
            self._end(type(error).__name__)

    def _take(self, name: str, message_id: int, body: dict[str, Any]) -> None:
        now = time.monotonic()
        if name == "DISCONNECT":
            self._end(str(body.get("code")))
        elif name == "PUSH":
            if message_id:
                self._client.socket.sendall(encode_frame(Signal.PUB_ACK, 0, message_id))
            if not isinstance(data := body.get("data"), dict) or "n" not in data:
                return  # of an attacker
            with self._changed:
                self._came.setdefault(data["n"], now)
                self._changed.notify_all()

    def _end(self, how: str) -> None:
        with self._changed:
            self.ended = self.ended or how
            self._changed.notify_all()

    def push(self, backend: Backend) -> int:
        """Push to it; the number of the push. Raises when it is not accepted."""
        self._pushed += 1
        body = {"to": {"token": self._client.pair["token"]}, "data": {"n": self._pushed}}
        status, answer = backend.call("POST", "/v1/push", body)
        if status != 202:
            raise OSError(f"{status} {answer}")
        return self._pushed

    def wait_for(self, number: int, seconds: float = LATE_SECONDS) -> float | None:
        """When the push came; None if it did not."""
        with self._changed:
            self._changed.wait_for(lambda: number in self._came or self.ended, seconds)
            return self._came.get(number)

    def measure(self, seconds: float, per_second: float) -> Latencies:
        """Push at fixed moments, also when the last one was late."""
        backend = Backend(self._running, LATE_SECONDS)
        due: list[tuple[int | None, float]] = []
        start = time.monotonic()
        for number in range(int(seconds * per_second)):
            moment = start + number / per_second
            if moment > start + seconds or time.monotonic() > start + seconds + LATE_SECONDS:
                break
            time.sleep(max(0.0, moment - time.monotonic()))
            try:
                due.append((self.push(backend), moment))
            except (OSError, HTTPException):
                due.append((None, moment))
        return self._sum(due)

    def _sum(self, due: list[tuple[int | None, float]]) -> Latencies:
        taken, missing = [], 0
        deadline = time.monotonic() + LATE_SECONDS
        for number, moment in due:
            came = None
            if number is not None:
                came = self.wait_for(number, max(0.0, deadline - time.monotonic()))
            missing += came is None
            taken.append((LATE_SECONDS if came is None else came - moment) * 1000)
        return Latencies(statistics.median(taken), max(taken), len(taken), missing)

    def close(self) -> None:
        self.ended = self.ended or "closed"
        self._client.socket.close()


class Visitor:
    """Asks over HTTP on a new connection each time: what a load balancer asks, and a backend."""

    def __init__(self, running: Running) -> None:
        self._running = running
        self._key = {"Authorization": f"Bearer {running.admin_key}"}

    def ask(self, path: str) -> None:
        """Raises OSError or HTTPException when it is not answered."""
        connection = self._running.dial_http(LATE_SECONDS)
        with contextlib.closing(connection):
            connection.request("GET", path, headers=self._key if path in WITH_KEY else {})
            answer = connection.getresponse()
            answer.read()
            if answer.status != 200:
                raise OSError(f"{path}: {answer.status}")

    def measure(self, seconds: float, per_second: float) -> Latencies:
        """Ask at fixed moments, also when the last answer was late."""
        taken, missing = [], 0
        start = time.monotonic()
        for number in range(int(seconds * per_second)):
            due = start + number / per_second
            if time.monotonic() > start + seconds + LATE_SECONDS:
                break
            time.sleep(max(0.0, due - time.monotonic()))
            try:
                self.ask(VISITED[number % len(VISITED)])
                taken.append((time.monotonic() - due) * 1000)
            except (OSError, HTTPException):
                missing += 1
                taken.append(LATE_SECONDS * 1000)
        return Latencies(statistics.median(taken), max(taken), len(taken), missing)


class Memory:
    """Samples the resident memory of a process, in MiB."""

    def __init__(self, running: Running) -> None:
        self._running = running
        self.most_mib = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def now_mib(self) -> float:
        return self._running.rss_bytes() / MIB

    def _sample(self) -> None:
        while not self._over.wait(0.05):
            self.most_mib = max(self.most_mib, self.now_mib())

    def end(self) -> None:
        self._over.set()
        self._thread.join()

    def settled_mib(self, before_mib: float, within_mib: float, seconds: float) -> float:
        """As soon as it is within `within_mib`, at the latest after `seconds`."""
        deadline = time.monotonic() + seconds
        while self.now_mib() > before_mib + within_mib and time.monotonic() < deadline:
            time.sleep(0.2)
        return self.now_mib()


def https_settings(folder: Path) -> dict[str, str]:
    """With a certificate, made in `folder`, the HTTP port is HTTPS."""
    key = ec.generate_private_key(ec.SECP256R1())
    certificate_path, key_path = folder / "https.crt", folder / "https.key"
    form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    key_path.touch(0o600)
    key_path.write_bytes(key.private_bytes(serialization.Encoding.PEM, *form))
    certificate = self_signed(key, "localhost")
    certificate_path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return {"http_certificate": str(certificate_path), "http_private_key": str(key_path)}


def counters(running: Running) -> dict[str, float]:
    """Every sample of `/metrics` that only grows, by its name and labels."""
    _, text = Backend(running).call("GET", "/metrics")
    found = re.findall(r"^(\w+_total(?:\{[^}]*\})?) (\S+)$", text, re.MULTILINE)
    return {name: float(value) for name, value in found}


def gauge(running: Running, name: str) -> int:
    """A gauge of the connector, as "connections"."""
    _, text = Backend(running).call("GET", "/metrics")
    return int(float(re.findall(rf"^push_connector_{name} (\S+)$", text, re.MULTILINE)[0]))


def refusals(before: dict[str, float], after: dict[str, float]) -> dict[str, int]:
    """The counters of refusals and limits that grew, without prefix."""
    words = ("refused", "limit", "bad_", "denied", "rejected")
    return {
        name.removeprefix("push_"): int(value - before.get(name, 0))
        for name, value in after.items()
        if any(word in name for word in words) and value > before.get(name, 0)
    }


def redis_pids(running: Running) -> list[int]:
    """The Redis that the server started."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            name = (path.parent / "comm").read_text()
            if int(fields[1]) == running.process.pid and "redis" in name:
                found.append(int(path.parent.name))
    return found


@contextlib.contextmanager
def hanging_redis(running: Running) -> Iterator[None]:
    pids = redis_pids(running)
    assert pids, "no embedded Redis found"
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def is_healthy(running: Running) -> bool:
    try:
        return Backend(running, LATE_SECONDS).call("GET", "/healthz")[0] == 200
    except (OSError, HTTPException):
        return False


def tracebacks(running: Running) -> str:
    """What the log has of a first traceback; "" without one."""
    text = running.log.read_text(errors="replace")
    place = text.find("Traceback")
    return "" if place < 0 else text[max(place - 300, 0) : place + 3000]


def until(condition: Callable[[], object], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True
