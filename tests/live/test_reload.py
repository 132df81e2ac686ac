"""SIGHUP and key files, on started daemons: what is loaded anew, and who does not notice."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from benchmarks.running import twistd
from push.daemons.security.certificate import self_signed
from push.wire.frames import Frame, FrameDecoder, encode_frame
from push.wire.signals import ConnectStatus, Signal
from tests import warm
from tests.faults.processes import Daemon
from tests.waiting import DEADLINE_SECONDS, wait_for

TAPS = ("push", "push-connector", "push-api", "push-group", "push-sub")
KEY = "a configured key of sixteen"
DIGEST = hashlib.sha256(KEY.encode()).hexdigest()


class Reloading(Daemon):
    """A daemon with a configuration file that tests write."""

    def __init__(self, tap: str, folder: Path, settings: dict[str, str]) -> None:
        self.config = folder / "push.toml"
        self.data = folder / "data"
        super().__init__(tap, tap, folder, settings)
        self._reloads = 0

    def begin(self) -> None:
        self._starts += 1
        names = {**self._settings, "server_data": str(self.data)}
        command = [twistd(), "-n", "--pidfile=", f"--logfile={self.log}", self.tap]
        if self.config.exists():
            command += ["--config", str(self.config)]
        self._process = warm.start(
            command,
            env={**os.environ, **{f"PUSH_{name.upper()}": value for name, value in names.items()}},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def reload(self) -> str:
        """SIGHUP; the lines that it adds to the log."""
        before = self.log_text() if self.log.exists() else ""
        os.kill(self.pid, signal.SIGHUP)

        def added() -> str:
            return self.log_text().removeprefix(before)

        wait_for(lambda: "SIGHUP: reloaded" in added(), lambda: self._missing("SIGHUP"))
        # Problems are logged right after it, in the same turn; an answer comes after both.
        assert self.get("/healthz")[0] == 200
        return added()

    def key(self, name: str) -> str:
        return (self.data / f"{name}.key").read_text().strip()

    def status_with(self, key: str) -> int:
        """How a request with `key` is answered that every daemon serves."""
        return self.post("/v1/push", key, {"to": {"all": True}, "data": 1})[0]


Start = Callable[..., Reloading]


@pytest.fixture
def start(tmp_path: Path, redis_url: str) -> Iterator[Start]:
    daemons: list[Reloading] = []

    def begin(tap: str, config: str = "", **settings: str) -> Reloading:
        own = {} if tap == "push" else {"redis_url": redis_url}
        folder = tmp_path / tap
        folder.mkdir(exist_ok=True)
        # By a proxy's header a request comes from elsewhere, and needs a key for /metrics.
        own["http_trusted_proxies"] = '["127.0.0.1"]'
        daemon = Reloading(tap, folder, {**own, **settings})
        if config:
            daemon.config.write_text(config)
        daemon.start()
        daemon.wait_for_line("] ready")
        daemons.append(daemon)
        return daemon

    yield begin
    for daemon in daemons:
        daemon.stop()


# --- Certificates -------------------------------------------------------------------------------


def write_pair(certificate: Path, key: Path) -> int:
    """A new pair, as a tool for certificates leaves it; its serial number."""
    made = ec.generate_private_key(ec.SECP256R1())
    signed = self_signed(made, "host")
    key.write_bytes(made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    certificate.write_bytes(signed.public_bytes(Encoding.PEM))
    return signed.serial_number


class TlsSession:
    """A device in a TLS session."""

    def __init__(self, port: int) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE  # which certificate it is, is what the tests look at
        raw = socket.create_connection(("127.0.0.1", port), DEADLINE_SECONDS)
        self._socket = context.wrap_socket(raw)
        self._decoder = FrameDecoder(1 << 20)
        self._frames: list[Frame] = []
        der = self._socket.getpeercert(binary_form=True)
        assert der
        self.serial = x509.load_der_x509_certificate(der).serial_number

    def ask(self, signal_: Signal, body: Any, message_id: int) -> tuple[Frame, Any]:
        self._socket.sendall(encode_frame(signal_, 0, message_id, json.dumps(body).encode()))
        return self.receive()

    def receive(self) -> tuple[Frame, Any]:
        while not self._frames:
            data = self._socket.recv(65536)
            assert data, "the server closed"
            self._frames += self._decoder.feed(data)
        frame = self._frames.pop(0)
        return frame, json.loads(frame.body or b"{}")

    def open(self, app_key: str) -> str:
        """Register and connect; the token."""
        body = {"key": app_key, "platform": "linux", "app": "test"}
        _, pair = self.ask(Signal.SUB, body, 1)
        frame, _ = self.ask(Signal.CONNECT, pair, 2)
        assert frame.sub_signal == ConnectStatus.ACCEPTED
        return str(pair["token"])

    def close(self) -> None:
        self._socket.close()


def tls_port(daemon: Daemon, carrier: str = "tls") -> int:
    (line,) = [line for line in daemon.log_text().splitlines() if f"listening: {carrier}" in line]
    return int(line.rpartition(":")[2])


@pytest.mark.parametrize("tap", ["push", "push-connector"])
def test_new_handshakes_use_the_new_certificate_and_live_sessions_stay(
    tap: str, start: Start, tmp_path: Path
) -> None:
    certificate, key = tmp_path / "a.crt", tmp_path / "a.key"
    serials = [write_pair(certificate, key)]
    daemon = start(
        tap,
        f'[connector]\ncertificate = "{certificate}"\nprivate_key = "{key}"\n',
        connector_tls="127.0.0.1:0",
        connector_wss="127.0.0.1:0",
    )
    port = tls_port(daemon)
    app_key = daemon.key("app")
    sessions = []
    for _ in range(3):
        session = TlsSession(port)
        assert session.serial == serials[-1]
        session.open(app_key)
        sessions.append(session)
        serials.append(write_pair(certificate, key))
        assert str(certificate) in daemon.reload()
    for session in sessions:
        frame, body = session.ask(Signal.PING, {"interval": 60}, 3)
        assert (frame.signal, body["interval"]) == (Signal.PING, 60)
        session.close()
    for listening in (port, tls_port(daemon, "wss")):
        shown = subprocess.run(
            f"openssl s_client -connect 127.0.0.1:{listening} </dev/null 2>/dev/null"
            " | openssl x509 -noout -serial",
            shell=True,
            capture_output=True,
            text=True,
            check=True,
            timeout=DEADLINE_SECONDS,
        ).stdout
        assert int(shown.strip().removeprefix("serial="), 16) == serials[-1]


def test_a_certificate_that_cannot_be_used_is_one_line_and_the_old_one_stays(
    start: Start, tmp_path: Path
) -> None:
    certificate, key = tmp_path / "a.crt", tmp_path / "a.key"
    serial = write_pair(certificate, key)
    daemon = start(
        "push-connector",
        f'[connector]\ncertificate = "{certificate}"\nprivate_key = "{key}"\n',
        connector_tls="127.0.0.1:0",
    )
    good = certificate.read_bytes()
    for spoil in (
        lambda: certificate.write_text("nothing"),
        certificate.unlink,
        lambda: write_pair(certificate, tmp_path / "another.key"),
    ):
        spoil()
        lines = [line for line in daemon.reload().splitlines() if "#error]" in line]
        assert len(lines) == 1, lines
        assert str(certificate) in lines[0]
        assert TlsSession(tls_port(daemon)).serial == serial
        certificate.write_bytes(good)
    assert "Traceback" not in daemon.log_text()


@pytest.mark.parametrize(
    "missing", [("server.crt",), ("server.key",), ("server.crt", "server.key")], ids=",".join
)
def test_a_reload_makes_no_certificate(missing: tuple[str, ...], start: Start) -> None:
    daemon = start("push-connector", "", connector_tls="127.0.0.1:0")
    folder = daemon.data
    serial = TlsSession(tls_port(daemon)).serial
    for name in missing:
        (folder / name).unlink()
    lines = [line for line in daemon.reload().splitlines() if "#error]" in line]
    assert len(lines) == 1, lines
    assert str(folder / missing[0]) in lines[0]
    assert "What was to be replaced stays in effect" in lines[0]
    assert not any((folder / name).exists() for name in missing)
    assert TlsSession(tls_port(daemon)).serial == serial
    assert "Traceback" not in daemon.log_text()


# --- Settings and keys --------------------------------------------------------------------------


@pytest.mark.parametrize("tap", TAPS)
def test_every_daemon_takes_configured_keys_at_a_reload(tap: str, start: Start) -> None:
    daemon = start(tap, "# no keys yet\n")
    admin = daemon.key("admin")
    assert is_valid(daemon, admin)
    daemon.config.write_text(
        f'[auth]\nkeys = [{{name = "ops", sha256 = "{DIGEST}", scopes = ["read", "push"]}}]\n'
    )
    said = daemon.reload()
    assert "1 API key" in said
    ignored = [line for line in said.splitlines() if "is ignored" in line]
    assert [name for name in ("admin.key", "app.key") for line in ignored if name in line]
    assert len(ignored) == 2
    assert is_valid(daemon, KEY)
    assert not is_valid(daemon, admin)
    daemon.config.write_text("[auth\n")
    lines = [line for line in daemon.reload().splitlines() if "#error]" in line]
    assert len(lines) == 1
    assert "not TOML" in lines[0]
    assert is_valid(daemon, KEY)


def is_valid(daemon: Reloading, key: str) -> bool:
    """Whether `key` is valid, asked by a request that comes through a proxy: /metrics then needs
    one."""
    out = subprocess.run(
        [
            *("curl", "-s", "-m", "10", "-o", "/dev/null", "-w", "%{http_code}"),
            *("-H", "X-Forwarded-For: 192.0.2.1", "-H", f"Authorization: Bearer {key}"),
            f"{daemon.http_url}/metrics",
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert out in ("200", "401"), out
    return out == "200"


def test_a_deleted_key_stops_counting_on_every_interface_without_a_restart(start: Start) -> None:
    """HTTP, and SUB on a device connection."""
    daemon = start("push")
    admin, app = daemon.key("admin"), daemon.key("app")
    body = {"platform": "linux", "app": "test"}
    assert daemon.status_with(admin) == 202
    assert register(daemon, app)["token"]
    for name in ("admin", "app"):
        (daemon.data / f"{name}.key").unlink()
    wait_for(lambda: daemon.status_with(admin) == 401, "a refusal of the deleted key")
    wait_for(lambda: register(daemon, app).get("code"), "a refusal of SUB")
    assert register(daemon, app)["code"] == "unauthenticated"
    assert daemon.post("/v1/devices", app, body)[0] == 401
    (daemon.data / "app.key").write_text(app)
    wait_for(lambda: register(daemon, app).get("token"), "the key that is back")


def register(daemon: Daemon, key: str) -> Any:
    """The answer to SUB on a connection of its own."""
    with socket.create_connection(("127.0.0.1", daemon.device_port), DEADLINE_SECONDS) as device:
        content = json.dumps({"key": key, "platform": "linux", "app": "test"}).encode()
        device.sendall(encode_frame(Signal.SUB, 0, 1, content))
        decoder, frames = FrameDecoder(1 << 20), list[Frame]()
        while not frames:
            frames += decoder.feed(device.recv(65536))
    return json.loads(frames[0].body)


def test_a_key_for_jwts_is_replaced(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "jwt.key"
    path.write_text("o" * 32)
    daemon = start("push-connector", auth_jwt_key_file=str(path))
    assert connects(daemon, "o" * 32)
    path.write_text("n" * 32)
    assert str(path) in daemon.reload()
    assert connects(daemon, "n" * 32)
    assert not connects(daemon, "o" * 32)
    path.write_text("short")
    assert len([line for line in daemon.reload().splitlines() if "#error]" in line]) == 1
    assert connects(daemon, "n" * 32)


def connects(daemon: Daemon, secret: str) -> bool:
    claims = {"sub": "anna", "aud": "push", "exp": int(time.time()) + 600}
    content = json.dumps({"jwt": jwt.encode(claims, secret, algorithm="HS256")}).encode()
    with socket.create_connection(("127.0.0.1", daemon.device_port), DEADLINE_SECONDS) as device:
        device.sendall(encode_frame(Signal.CONNECT, 0, 1, content))
        decoder, frames = FrameDecoder(1 << 20), list[Frame]()
        while not frames:
            frames += decoder.feed(device.recv(65536))
    return frames[0].sub_signal == ConnectStatus.ACCEPTED


def test_a_setting_that_needs_a_restart_is_named(start: Start) -> None:
    daemon = start("push-api", "[limits]\nttl_default = 60\n")
    daemon.config.write_text("[limits]\nttl_default = 90\n")
    said = daemon.reload()
    (line,) = [line for line in said.splitlines() if "need a restart" in line]
    assert "limits.ttl_default" in line
    daemon.config.write_text("[limits]\nttl_default = 60\n")
    assert "need a restart" not in daemon.reload()


# --- The log ------------------------------------------------------------------------------------


@pytest.mark.parametrize("tap", TAPS)
def test_a_log_that_was_moved_away_is_opened_anew(tap: str, start: Start) -> None:
    daemon = start(tap)
    old = daemon.log.with_suffix(".rotated")
    daemon.log.rename(old)
    before = old.read_text()
    assert f"log file {daemon.log}" in daemon.reload()
    assert old.read_text() == before
    daemon.log.rename(old)
    daemon.log.mkdir()  # where no file can be made
    os.kill(daemon.pid, signal.SIGHUP)
    wait_for(lambda: f"the log file {daemon.log}" in old.read_text(), "a line in the old log")
    daemon.log.rmdir()
    assert f"log file {daemon.log}" in daemon.reload()
