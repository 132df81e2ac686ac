"""etc/push-ctl.sh, as on a machine without systemd."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import RedisServer
from tests.waiting import wait_for

SCRIPT = Path(__file__).parents[2] / "etc" / "push-ctl.sh"
TIMEOUT_SECONDS = 100


class Home:
    """A PUSH_HOME with this virtual environment in it, and the script on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.joinpath("etc").mkdir(parents=True)
        folder.joinpath("venv").symlink_to(sys.prefix)
        self.variables = {
            "PUSH_HOME": str(folder),
            "PUSH_START_SECONDS": "60",
            "PUSH_CONNECTOR_TCP": "127.0.0.1:0",
            "PUSH_CONNECTOR_TLS": "127.0.0.1:0",
            "PUSH_CONNECTOR_WS": "",
            "PUSH_CONNECTOR_WSS": "",
            "PUSH_CONNECTOR_ADMIN": "127.0.0.1:0",
            "PUSH_HTTP_LISTEN": "127.0.0.1:0",
        }

    def begin(
        self, name: str, action: str, *options: str, **variables: str
    ) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["sh", str(SCRIPT), name, action, *options],
            env={**os.environ, **self.variables, **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, name: str, action: str, *options: str, **variables: str) -> tuple[int, str]:
        """The exit code and all that was said, which is one line (of a restart, two)."""
        process = self.begin(name, action, *options, **variables)
        said, _ = process.communicate(timeout=TIMEOUT_SECONDS)
        assert said.count("\n") == (2 if action == "restart" and process.returncode == 0 else 1)
        return process.returncode, said.rstrip("\n")

    def started(self, name: str, *options: str, **variables: str) -> int:
        """Start, which succeeds; the process id."""
        code, said = self.run(name, "start", *options, **variables)
        found = re.fullmatch(rf"{name} is ready \(process (\d+)\)", said)
        assert found, said
        assert code == 0
        return int(found[1])

    def pid_file(self, name: str) -> Path:
        return self.folder / "run" / f"{name}.pid"

    def log(self, name: str) -> Path:
        return self.folder / "log" / f"{name}.log"

    def left_in_run(self) -> list[str]:
        return sorted(path.name for path in (self.folder / "run").iterdir())


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    home = Home(tmp_path / "opt push")
    yield home
    for pid_file in home.folder.glob("run/*.pid"):
        home.run(pid_file.stem, "stop")


def lives(pid: int) -> bool:
    """Whether the process is there; one that only waits to be looked after is not."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() != b""
    except OSError:
        return False


def test_a_life_from_start_to_stop(home: Home) -> None:
    assert home.run("push", "status") == (3, "push does not run")
    pid = home.started("push")
    assert home.run("push", "start") == (0, f"push runs already (process {pid})")
    assert home.run("push", "status") == (0, f"push runs (process {pid})")
    assert home.pid_file("push").read_text() == str(pid)
    assert (home.folder / "data" / "admin.key").exists()
    code, said = home.run("push", "restart")
    assert code == 0
    assert said.startswith("push has ended\npush is ready (process ")
    assert not lives(pid)
    pid = int(home.pid_file("push").read_text())
    assert home.run("push", "stop") == (0, "push has ended")
    assert not lives(pid)
    assert home.left_in_run() == []
    assert home.run("push", "status") == (3, "push does not run")
    assert home.run("push", "stop") == (0, "push does not run")
    assert "Traceback" not in home.log("push").read_text()


def test_a_taken_port_is_said_in_one_line(home: Home) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert home.run("push", "start", PUSH_HTTP_LISTEN=address) == (
            1,
            f"push did not start: cannot listen on {address}: Address already in use. "
            "Free the port or set [http] listen",
        )
    assert home.left_in_run() == []
    home.started("push")


def test_the_reason_is_found_in_a_log_that_has_an_older_one_and_is_full(home: Home) -> None:
    """At a megabyte the daemon goes on in a new file, in the middle of a start."""
    log = home.log("push-api")
    log.parent.mkdir()
    log.write_text(
        "2026-01-01T00:00:00+0000 [a#info] twistd 1 (python 1) starting up.\n"
        "2026-01-01T00:00:00+0000 [a#critical] twistd push-api: something else\n" + "x\n" * 499_850
    )
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        code, said = home.run("push-api", "start", PUSH_HTTP_LISTEN=address)
    assert (code, said.partition(": ")[2].partition(": ")[0]) == (1, f"cannot listen on {address}")
    assert log.with_name("push-api.log.1").exists()


def test_a_mistake_in_the_settings_is_said_in_one_line(home: Home) -> None:
    (home.folder / "etc" / "push.toml").write_text("[conector]\n")
    code, said = home.run("push", "start")
    assert code == 1
    assert said.startswith("push did not start: ")
    assert "[conector] is not a section; did you mean [connector]?" in said
    other = home.folder / "other.toml"
    code, said = home.run("push", "start", PUSH_CONFIG=str(other))
    assert (code, said) == (6, f"push is not configured: {other} cannot be read")
    other.write_text('[server]\nlog = "critical"\n')
    home.started("push", PUSH_CONFIG=str(other))  # ready, though the log does not say so


def test_a_daemon_without_redis_is_not_ready_and_goes_on_trying(
    home: Home, make_redis: Callable[..., RedisServer]
) -> None:
    redis = make_redis()
    redis.stop()
    (home.folder / "etc" / "push.env").write_text(f"PUSH_REDIS_URL='{redis.url}'\n")
    code, said = home.run("push-api", "start", PUSH_START_SECONDS="0")
    assert code == 1
    assert re.match(r"push-api runs \(process \d+\) but is not ready yet: \S", said)
    assert "does not run" not in home.run("push-api", "status")[1]
    redis.start()
    pid = int(home.pid_file("push-api").read_text())
    wait_for(
        lambda: home.run("push-api", "status") == (0, f"push-api runs (process {pid})"), "ready"
    )


def test_a_pid_file_that_nobody_stands_behind_is_recognised(home: Home) -> None:
    """Of a process that was killed, and of a number that is another process's by now."""
    pid = home.started("push")
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not lives(pid), "the end")
    code, said = home.run("push", "status")
    assert (code, said.partition(" (")[0]) == (3, "push does not run")
    assert home.run("push", "stop") == (0, "push does not run")
    for content in (str(os.getpid()), "", "x"):
        home.pid_file("push").write_text(content)
        assert home.run("push", "status")[0] == 3
    home.pid_file("push").write_text(str(os.getpid()))
    assert home.started("push") != os.getpid()


def test_instances_share_a_port_and_have_names(
    home: Home, redis_url: str, shared_port: int
) -> None:
    variables = {"PUSH_REDIS_URL": redis_url, "PUSH_CONNECTOR_TCP": f"127.0.0.1:{shared_port}"}
    for name, options in (("push-connector@1", ()), ("push-connector@b", ("--connector-tls", ""))):
        home.started(name, *options, **variables)
        log = home.log(name).read_text()
        assert f"node {os.uname().nodename}-{name.partition('@')[2]}," in log
        assert f"listening: tcp 127.0.0.1:{shared_port}" in log
        assert ("listening: tls" in log) == (not options)
    (home.folder / "etc" / "push-connector@1.env").write_text("PUSH_CONNECTOR_WINDOW=none\n")
    assert home.run("push-connector@1", "stop", **variables)[0] == 0
    code, said = home.run("push-connector@1", "start", **variables)
    assert code == 1
    assert "PUSH_CONNECTOR_WINDOW = none: expected a whole number" in said
    assert home.run("push-connector@b", "status")[0] == 0


def test_a_reload_opens_the_log_that_was_moved_away(home: Home) -> None:
    """What logrotate does, and SIGHUP after it."""
    assert home.run("push", "reload") == (7, "push does not run")
    pid = home.started("push")
    log = home.log("push")
    log.rename(log.with_suffix(".old"))
    code, said = home.run("push", "reload")
    assert (code, str(pid) in said, str(log) in said) == (0, True, True)
    wait_for(lambda: log.exists() and "SIGHUP: reloaded" in log.read_text(), "a new log")
    assert f"log file {log}" in log.read_text()
    assert lives(pid)


def test_two_starts_at_once_are_one(home: Home) -> None:
    both = [home.begin("push", "start") for _ in range(2)]
    said = sorted(process.communicate(timeout=TIMEOUT_SECONDS)[0] for process in both)
    assert sum("is ready" in line for line in said) == 1, said
    assert any("being started by another" in line or "runs already" in line for line in said), said
    assert home.run("push", "status")[0] == 0
    assert home.left_in_run() == ["push.pid", "push.ready"]


def test_a_lock_that_a_killed_start_left_is_recognised(home: Home) -> None:
    lock = home.folder / "run" / "push.starting"
    lock.parent.mkdir()
    lock.write_text(f"{os.getpid()}\n")
    home.started("push")


def test_what_is_no_command_says_so(home: Home) -> None:
    for words in (
        ("push", "reopen"),
        ("pusher", "start"),
        ("push@", "start"),
        ("push@a/b", "stop"),
    ):
        code, said = home.run(*words)
        assert (code, said.partition(" ")[0]) == (2, "usage:")
    nowhere = str(home.folder / "nowhere")
    code, said = home.run("push", "start", PUSH_HOME=nowhere)
    assert (code, said) == (5, f"push is not installed: there is no folder {nowhere} (PUSH_HOME)")
    (home.folder / "venv").unlink()
    assert home.run("push", "start")[0] == 5
