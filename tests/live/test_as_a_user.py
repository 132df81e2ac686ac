"""The main job as a user does it: a started twistd, curl, and openssl s_client."""

from __future__ import annotations

import json
import re
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest

from benchmarks.running import Running, start_process, started_server, wait_until_ready
from push.wire.frames import Frame, FrameDecoder, encode_frame
from push.wire.signals import ConnectStatus, Signal
from tests.waiting import DEADLINE_SECONDS, wait_for


def curl(running: Running, path: str, body: Any = None, *options: str) -> tuple[int, Any]:
    """`curl` against the HTTP API with the admin key: status and JSON."""
    command = ["curl", "-sS", "-m", "10", "-w", "\n%{http_code}", *options]
    command += ["-H", f"Authorization: Bearer {running.admin_key}", running.http_url + path]
    if body is not None:
        command += ["-H", "Content-Type: application/json", "-d", json.dumps(body)]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    text, _, status = out.rpartition("\n")
    return int(status), json.loads(text) if text.strip() else None


class TlsDevice:
    """A device that is `openssl s_client`: what a terminal can do."""

    def __init__(self, running: Running) -> None:
        host, port = running.tls_address
        self._process = subprocess.Popen(
            [
                *("openssl", "s_client", "-quiet", "-verify_return_error", "-tls1_2"),
                *("-CAfile", str(running.data_dir / "server.crt"), "-connect", f"{host}:{port}"),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self._decoder = FrameDecoder(1 << 20)
        self._frames: list[Frame] = []

    def send(self, signal_: Signal, body: Any = None, message_id: int = 0) -> None:
        content = b"" if body is None else json.dumps(body).encode()
        assert self._process.stdin is not None
        self._process.stdin.write(encode_frame(signal_, 0, message_id, content))
        self._process.stdin.flush()

    def receive(self) -> tuple[Frame, Any]:
        """The next frame and its body."""
        assert self._process.stdout is not None
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not self._frames:
            left = deadline - time.monotonic()
            assert left > 0, "no frame came"
            if select.select([self._process.stdout], [], [], left)[0]:
                data = self._process.stdout.read1(65536)
                assert data, "the server closed"
                self._frames += self._decoder.feed(data)
        frame = self._frames.pop(0)
        return frame, json.loads(frame.body or b"{}")

    def register(self, running: Running) -> dict[str, str]:
        self.send(Signal.SUB, {"key": running.app_key, "platform": "linux", "app": "test"}, 1)
        frame, pair = self.receive()
        assert frame.signal == Signal.SUB
        return dict(pair)

    def connect(self, pair: dict[str, str]) -> Any:
        self.send(Signal.CONNECT, pair, 2)
        frame, body = self.receive()
        assert (frame.signal, frame.sub_signal) == (Signal.CONNECT_ACK, ConnectStatus.ACCEPTED)
        return body

    def message(self, *, acknowledge: bool = True) -> Any:
        frame, body = self.receive()
        assert frame.signal == Signal.PUSH
        if acknowledge and frame.message_id:
            self.send(Signal.PUB_ACK, None, frame.message_id)
        return body

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def make_device(push_server: Running) -> Iterator[Any]:
    """Devices on the module's server; ended with the test."""
    devices: list[TlsDevice] = []

    def make(running: Running = push_server) -> TlsDevice:
        devices.append(TlsDevice(running))
        return devices[-1]

    yield make
    for device in devices:
        device.close()


def wait_for_backlog(running: Running, token: str, backlog: int) -> None:
    """Until the device has acknowledged all but `backlog` messages of its own stream."""
    wait_for(lambda: curl(running, f"/v1/devices/{token}")[1]["backlog"] == backlog)


def test_curl_pushes_to_a_device_on_openssl(push_server: Running, make_device: Any) -> None:
    """Register, connect, receive by token, user and all, and acknowledge."""
    device = make_device()
    pair = device.register(push_server)
    assert device.connect(pair)["user"] is None
    token = pair["token"]
    status, receipt = curl(push_server, "/v1/push", {"to": {"token": token}, "data": {"n": 1}})
    assert (status, receipt["streams"], receipt["online"]) == (202, 1, 1)
    message = device.message()
    assert message["data"] == {"n": 1}
    assert message["id"] == receipt["id"]
    assert curl(push_server, f"/v1/users/ann/devices/{token}", None, "-X", "PUT")[0] == 204
    assert device.message()["kind"] == "follow"
    curl(push_server, "/v1/push", {"to": {"user": "ann"}, "data": 2})
    assert device.message()["data"] == 2
    curl(push_server, "/v1/push", {"to": {"all": True}, "data": [3], "qos": 0})
    assert device.message()["data"] == [3]
    wait_for_backlog(push_server, token, 0)
    _, shown = curl(push_server, f"/v1/devices/{token}")
    assert (shown["user"], shown["online"]) == ("ann", True)


def test_a_device_that_was_away_gets_what_it_missed_in_order(
    push_server: Running, make_device: Any
) -> None:
    device = make_device()
    pair = device.register(push_server)
    device.close()
    to = {"token": pair["token"]}
    batch = [{"to": to, "data": n} for n in range(20)]
    status, answer = curl(push_server, "/v1/push/batch", batch)
    assert status == 200
    assert [result["status"] for result in answer["results"]] == [202] * 20
    again = make_device()
    again.connect(pair)
    assert [again.message()["data"] for _ in range(20)] == list(range(20))
    wait_for_backlog(push_server, pair["token"], 0)


def test_what_was_not_acknowledged_comes_again(push_server: Running, make_device: Any) -> None:
    device = make_device()
    pair = device.register(push_server)
    device.connect(pair)
    curl(push_server, "/v1/push", {"to": {"token": pair["token"]}, "data": "once more"})
    first = device.message(acknowledge=False)
    device.close()
    again = make_device()
    again.connect(pair)
    assert again.message()["id"] == first["id"]


@pytest.mark.parametrize("tap", ["push"])
def test_a_killed_server_has_everything_at_its_next_start(tap: str, tmp_path: Path) -> None:
    """SIGKILL loses no registration, binding or message that was answered."""
    data, log = tmp_path / "data", tmp_path / "log"
    process = start_process(tap, data, log, {})
    running = wait_until_ready(process, log, data)
    device = TlsDevice(running)
    pair = device.register(running)
    device.close()
    curl(running, f"/v1/users/bob/devices/{pair['token']}", None, "-X", "PUT")
    ids = [
        curl(running, "/v1/push", {"to": to, "data": 1})[1]["id"]
        for to in ({"token": pair["token"]}, {"user": "bob"}, {"all": True})
    ]
    process.send_signal(signal.SIGKILL)
    process.wait(DEADLINE_SECONDS)
    with started_server(tap, data) as again:
        back = TlsDevice(again)
        assert back.connect(pair)["user"] == "bob"
        assert sorted(back.message()["id"] for _ in ids) == sorted(ids)
        back.close()


def test_interrupt_ends_cleanly_and_keeps_messages(tmp_path: Path) -> None:
    """Ctrl-C: exit without a traceback, the Redis child gone, messages there at the next start."""
    data, log = tmp_path / "data", tmp_path / "log"
    process = start_process("push", data, log, {})
    running = wait_until_ready(process, log, data)
    device = TlsDevice(running)
    pair = device.register(running)
    device.connect(pair)
    curl(running, "/v1/push", {"to": {"token": pair["token"]}, "data": 1})
    device.message(acknowledge=False)
    process.send_signal(signal.SIGINT)
    frame, body = device.receive()
    assert (frame.signal, body["code"]) == (Signal.DISCONNECT, "draining")
    process.wait(DEADLINE_SECONDS)
    device.close()
    assert "Traceback" not in log.read_text()
    assert not (data / "redis" / "redis.sock").exists() or not _redis_answers(data)
    with started_server("push", data) as again:
        back = TlsDevice(again)
        back.connect(pair)
        assert back.message()["data"] == 1
        back.close()


def _redis_answers(data: Path) -> bool:
    import socket

    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(str(data / "redis" / "redis.sock"))
        except OSError:
            return False
        return True


def test_separate_daemons_behave_like_the_one(
    redis_url: str, tmp_path: Path, make_device: Any
) -> None:
    """push-connector, push-api and push-sub on an external Redis."""
    common = {"redis_url": redis_url, "connector_admin": "127.0.0.1:0"}
    data = tmp_path / "data"
    with (
        started_server("push-connector", data, **common) as connector,
        started_server("push-api", data, **common) as api,
        started_server("push-sub", data, **common) as sub,
    ):
        body = {"platform": "linux", "app": "test"}
        status, pair = curl(sub, "/v1/devices", body)
        assert status == 201
        servers = wait_for(lambda: curl(sub, "/v1/servers?carrier=tls")[1].get("servers"))
        assert servers == [f"tls://127.0.0.1:{connector.tls_address[1]}"]
        device = make_device(connector)
        device.connect({"token": pair["token"], "secret": pair["secret"]})
        status, receipt = curl(api, "/v1/push", {"to": {"all": True}, "data": "far"})
        assert (status, receipt["online"]) == (202, 1)
        assert device.message()["data"] == "far"
        for daemon in (connector, api, sub):
            assert curl(daemon, "/healthz")[0] == 200
            assert curl(daemon, "/readyz")[0] == 200
        assert curl(api, "/v1/devices")[0] == 404
        assert curl(sub, "/v1/push", {})[0] == 404


def test_without_redis_a_daemon_says_so_and_goes_on_when_it_is_back(
    make_redis: Any, tmp_path: Path
) -> None:
    redis = make_redis()
    redis.stop()
    data, log = tmp_path / "data", tmp_path / "log"
    process = start_process("push-api", data, log, {"redis_url": redis.url})
    try:
        running = _listening(process, log, data)
        status, problem = curl(running, "/readyz")
        assert status == 503
        assert redis.socket_path in json.dumps(problem)
        push = {"to": {"all": True}, "data": 1}
        status, problem = curl(running, "/v1/push", push)
        assert (status, problem["code"]) == (503, "unavailable")
        redis.start()
        wait_for(lambda: curl(running, "/readyz")[0] == 200)
        assert curl(running, "/v1/push", push)[0] == 202
        assert log.read_text().count("is unreachable") == 1
    finally:
        process.terminate()
        process.wait(DEADLINE_SECONDS)


def _listening(process: subprocess.Popen[bytes], log: Path, data: Path) -> Running:
    """A daemon that listens, though it is not ready."""

    def said() -> str:
        return log.read_text() if log.exists() else ""

    def port() -> re.Match[str] | None:
        assert process.poll() is None, said()
        return re.search(r"listening: http \S*?:(\d+)", said())

    http = ("127.0.0.1", int(wait_for(port, lambda: f"it listens, it says\n{said()}")[1]))
    key = (data / "admin.key").read_text().strip()
    nowhere = ("127.0.0.1", 0)
    return Running(process, http, nowhere, nowhere, key, key, data, log)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"connector_windw": "1"}, "PUSH_CONNECTOR_WINDW"),
        ({"connector_window": "many"}, "PUSH_CONNECTOR_WINDOW"),
        ({"redis_url": "http://x"}, "redis"),
        ({"auth_jwt_key_file": "/nowhere/key"}, "jwt_key_file"),
        ({"connector_certificate": "/nowhere/crt"}, "certificate"),
        ({"conector_tcp": "127.0.0.1:0"}, "PUSH_CONECTOR_TCP"),
    ],
)
def test_a_bad_setting_is_one_line_that_names_it(
    settings: dict[str, str], said: str, tmp_path: Path
) -> None:
    status, lines = _failed_start(tmp_path, settings)
    assert status == 1
    assert len(lines) == 1
    assert said in lines[0]


def test_a_daemon_of_its_own_does_not_embed_a_redis(tmp_path: Path) -> None:
    """Its messages would reach no device."""
    status, lines = _failed_start(tmp_path, {"redis_url": "embedded"}, "push-api")
    assert status == 1
    assert len(lines) == 1
    assert "embedded" in lines[0]


def test_a_taken_port_is_one_line_that_names_it(push_server: Running, tmp_path: Path) -> None:
    taken = f"127.0.0.1:{push_server.http[1]}"
    status, lines = _failed_start(tmp_path, {"http_listen": taken})
    assert status == 1
    assert len(lines) == 1
    assert taken in lines[0]
    assert "[http] listen" in lines[0]


def _failed_start(
    folder: Path, settings: dict[str, str], tap: str = "push"
) -> tuple[int, list[str]]:
    said = folder / "stderr"
    with said.open("wb") as err:
        process = start_process(tap, folder / "data", folder / "log", settings, err)
    status = process.wait(DEADLINE_SECONDS)
    return status, [line for line in said.read_text().splitlines() if line.strip()]


def test_the_tools_of_this_test_are_there() -> None:
    """Without curl and openssl the tests above would be worth nothing."""
    assert shutil.which("curl")
    assert shutil.which("openssl")


def test_a_user_connects_by_jwt_renews_it_and_is_pushed_to(tmp_path: Path) -> None:
    """A user without a device: follows `user:` and `all` from now on."""
    secret = "s" * 32
    key_file = tmp_path / "jwt.key"
    key_file.write_text(secret)

    def make_jwt(seconds: int, user: str = "carol") -> str:
        claims = {"sub": user, "aud": "push", "exp": int(time.time()) + seconds}
        return jwt.encode(claims, secret, algorithm="HS256")

    with started_server(data_folder=tmp_path / "data", auth_jwt_key_file=str(key_file)) as running:
        device = TlsDevice(running)
        accepted = device.connect({"jwt": make_jwt(60)})
        assert accepted["user"] == "carol"
        assert set(accepted["streams"]) == {"all", "user:carol"}
        assert curl(running, "/v1/push", {"to": {"user": "carol"}, "data": 1})[1]["online"] == 1
        assert device.message()["data"] == 1
        device.send(Signal.AUTH, {"jwt": make_jwt(3600)}, 7)
        frame, answer = device.receive()
        assert (frame.signal, frame.message_id, answer["ok"]) == (Signal.AUTH, 7, True)
        device.send(Signal.AUTH, {"jwt": make_jwt(3600, "mallory")}, 8)
        assert device.receive()[1]["code"] == "not_allowed"
        device.close()
