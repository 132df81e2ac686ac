"""The embedded Redis, with real processes: started, supervised, ended, and never two on one log."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs

from push.daemons.config.errors import StartError
from push.daemons.embedded_redis.binary import find_server
from push.daemons.embedded_redis.supervisor import EmbeddedRedis, pause_seconds
from push.daemons.process.file_lock import try_lock
from tests.waiting import DEADLINE_SECONDS, WaitUntil

# A daemon in miniature: an embedded Redis on the folder that it is given.
DAEMON = """
import json, sys
from pathlib import Path
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from push.daemons.embedded_redis.supervisor import EmbeddedRedis

redis = EmbeddedRedis(reactor, Path(sys.argv[1]))

async def run():
    await redis.ready()
    print(json.dumps({"pid": redis.pid, "socket": redis.socket_path}), flush=True)

redis.startService()
Deferred.fromCoroutine(run())
reactor.addSystemEventTrigger("before", "shutdown", redis.stopService)
reactor.run()
"""


def call(path: str, command: str) -> bytes:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(DEADLINE_SECONDS)
        connection.connect(path)
        connection.sendall(command.encode() + b"\r\n")
        return connection.recv(65536)


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"  # ended; only its new parent has not asked yet


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


Start = Callable[[], Awaitable[EmbeddedRedis]]


@pytest_twisted.async_yield_fixture
async def start(data: Path) -> AsyncIterator[Start]:
    """Starts services on the data folder, and stops those that still run at the end."""
    from twisted.internet import reactor

    services: list[EmbeddedRedis] = []

    async def start_one() -> EmbeddedRedis:
        service = EmbeddedRedis(reactor, data)
        service.startService()
        services.append(service)
        await service.ready()
        return service

    yield start_one
    for service in services:
        if service.running:
            await service.stopService()


class OtherDaemon:
    """A daemon in a process of its own, which a test may kill."""

    def __init__(self, data: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", DAEMON, str(data)],
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self.process.stdout is not None
        about = json.loads(self.process.stdout.readline())
        self.redis_pid: int = about["pid"]
        self.socket_path: str = about["socket"]

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(DEADLINE_SECONDS)
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def other_daemon(data: Path) -> Any:
    other = OtherDaemon(data)
    yield other
    other.end()


@pytest_twisted.ensureDeferred
async def test_it_serves_durably_on_a_private_socket_only(start: Start) -> None:
    redis = await start()
    for name, value in [
        ("port", "0"),
        ("appendonly", "yes"),
        ("appendfsync", "always"),
        ("maxmemory-policy", "noeviction"),
        ("save", ""),
    ]:
        assert f"\r\n{value}\r\n".encode() in call(redis.socket_path, f"CONFIG GET {name}")
    assert os.stat(redis.socket_path).st_mode & 0o077 == 0
    assert os.stat(redis.folder).st_mode & 0o077 == 0


@pytest_twisted.ensureDeferred
async def test_a_stop_ends_the_server_and_a_start_has_its_data(start: Start) -> None:
    redis = await start()
    pid = redis.pid
    assert pid
    assert call(redis.socket_path, "SET answer 42") == b"+OK\r\n"
    await redis.stopService()
    assert not alive(pid)
    assert redis.pid is None
    again = await start()
    assert call(again.socket_path, "GET answer") == b"$2\r\n42\r\n"


@pytest_twisted.ensureDeferred
async def test_a_server_that_dies_is_started_again_with_its_data(
    start: Start, wait_until: WaitUntil
) -> None:
    redis = await start()
    pid = redis.pid
    assert pid
    call(redis.socket_path, "SET answer 42")
    os.kill(pid, signal.SIGKILL)
    await wait_until(lambda: redis.pid != pid)
    await redis.ready()
    assert redis.pid != pid
    assert call(redis.socket_path, "GET answer") == b"$2\r\n42\r\n"


@pytest_twisted.ensureDeferred
async def test_a_server_that_cannot_be_started_is_tried_again(
    start: Start, wait_until: WaitUntil
) -> None:
    redis = await start()
    assert redis.pid
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with capturedLogs() as lines:
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))  # no pipe can be made
        try:
            os.kill(redis.pid, signal.SIGKILL)
            await wait_until(lambda: any("cannot be started" in str(line) for line in lines))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        await wait_until(lambda: redis.pid is not None)
        await redis.ready()
    assert not [line for line in lines if "log_failure" in line]


@pytest_twisted.ensureDeferred
async def test_the_server_has_a_session_of_its_own(start: Start) -> None:
    """So that Ctrl-C in the terminal reaches the daemon alone."""
    redis = await start()
    assert redis.pid
    assert os.getsid(redis.pid) == redis.pid != os.getsid(0)


@pytest_twisted.ensureDeferred
async def test_the_server_inherits_its_lock_and_nothing_else_of_ours(start: Start) -> None:
    redis = await start()
    opened = {os.readlink(entry) for entry in Path(f"/proc/{redis.pid}/fd").iterdir()}
    assert str(redis.folder / "server.lock") in opened
    assert str(redis.folder / "owner.lock") not in opened


@pytest_twisted.ensureDeferred
async def test_a_second_daemon_on_the_same_folder_is_refused(start: Start, data: Path) -> None:
    from twisted.internet import reactor

    await start()
    with pytest.raises(StartError, match=r"data folder .*data is in use by another push"):
        EmbeddedRedis(reactor, data).startService()


@pytest_twisted.ensureDeferred
async def test_the_server_ends_with_a_killed_daemon(
    other_daemon: OtherDaemon, wait_until: WaitUntil
) -> None:
    other_daemon.process.kill()
    await wait_until(lambda: not alive(other_daemon.redis_pid))


@pytest.mark.parametrize("stopped", [False, True], ids=["answers", "does not answer"])
@pytest_twisted.ensureDeferred
async def test_a_server_left_behind_is_ended_before_another_starts(
    start: Start,
    data: Path,
    wait_until: WaitUntil,
    monkeypatch: pytest.MonkeyPatch,
    flush_logged_errors: Any,
    stopped: bool,
) -> None:
    """Also where the kernel does not end it with its daemon, and when it answers nothing."""
    if stopped:
        monkeypatch.setattr("push.daemons.embedded_redis.supervisor.STOP_SECONDS", 0.3)
        monkeypatch.setattr("push.daemons.embedded_redis.probe.ANSWER_SECONDS", 0.1)
    left = LeftBehind(data)
    try:
        await wait_until(left.answers)
        call(left.socket_path, "SET answer 42")
        if stopped:
            left.process.send_signal(signal.SIGSTOP)
        redis = await start()
        assert left.process.wait(DEADLINE_SECONDS) is not None
        assert call(redis.socket_path, "GET answer") == b"$2\r\n42\r\n"
    finally:
        left.process.kill()
        left.process.wait(DEADLINE_SECONDS)


class LeftBehind:
    """A server with the lock of `data` whose daemon is gone: nobody's child, as it were."""

    def __init__(self, data: Path) -> None:
        from push.daemons.embedded_redis.binary import (
            configuration,
            make_private_folder,
            socket_path_for,
        )

        folder = data / "redis"
        self.socket_path = socket_path_for(folder)
        make_private_folder(folder)
        make_private_folder(Path(self.socket_path).parent)
        lock = try_lock(folder / "server.lock")
        assert lock is not None
        self.process = subprocess.Popen(
            [find_server().path, "-"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            pass_fds=[lock],
        )
        os.close(lock)
        assert self.process.stdin is not None
        self.process.stdin.write(configuration(folder, self.socket_path).encode())
        self.process.stdin.close()

    def answers(self) -> bool:
        try:
            return call(self.socket_path, "PING") == b"+PONG\r\n"
        except OSError:
            return False


@pytest_twisted.ensureDeferred
async def test_a_data_folder_with_a_long_path_gets_a_short_socket_path(tmp_path: Path) -> None:
    from twisted.internet import reactor

    redis = EmbeddedRedis(reactor, tmp_path / ("deep" * 30))
    assert EmbeddedRedis(reactor, tmp_path / ("deep" * 30)).socket_path == redis.socket_path
    redis.startService()
    await redis.ready()
    assert len(redis.socket_path) < 100
    assert os.stat(Path(redis.socket_path).parent).st_mode & 0o077 == 0
    await redis.stopService()
    assert not Path(redis.socket_path).parent.exists()


@pytest_twisted.ensureDeferred
async def test_a_stop_during_the_start_ends_the_wait(data: Path) -> None:
    from twisted.internet import reactor

    redis = EmbeddedRedis(reactor, data)
    redis.startService()
    ready: Deferred[None] = Deferred.fromCoroutine(redis.ready())
    stopped = redis.stopService()
    with pytest.raises(CancelledError):
        await ready
    await stopped
    assert redis.pid is None
    assert try_lock(data / "redis" / "server.lock") is not None


@pytest_twisted.ensureDeferred
async def test_a_server_that_does_not_end_is_killed(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("push.daemons.embedded_redis.supervisor.STOP_SECONDS", 0.1)
    redis = await start()
    pid = redis.pid
    assert pid
    os.kill(pid, signal.SIGSTOP)
    await redis.stopService()
    assert not alive(pid)


@pytest_twisted.ensureDeferred
async def test_data_that_cannot_be_read_are_reported_and_tried_again(
    data: Path, wait_until: WaitUntil, log_lines: list[str]
) -> None:
    from twisted.internet import reactor

    redis = EmbeddedRedis(reactor, data)
    redis.folder.mkdir(parents=True)
    (redis.folder / "appendonly.aof").write_bytes(b"this is no append-only file\n" * 10)
    redis.startService()
    await wait_until(lambda: sum("ended: exit status 1 (" in line for line in log_lines) >= 2)
    await redis.stopService()


def test_the_pauses_between_starts_grow_to_ten_seconds() -> None:
    assert [pause_seconds(deaths) for deaths in (1, 2, 3, 6, 7, 5000)] == [
        0.2,
        0.4,
        0.8,
        6.4,
        10.0,
        10.0,
    ]


def test_data_of_a_newer_redis_are_not_begun_anew_by_an_older_one(data: Path) -> None:
    (data / "redis" / "appendonlydir").mkdir(parents=True)
    redis = EmbeddedRedis(Clock(), data, lambda: find_server(search_path=""))
    with pytest.raises(StartError, match="written by Redis 7 or newer"):
        redis.startService()
