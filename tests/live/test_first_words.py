"""What a daemon says when it starts: a line to try, and the first state of what it needs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from benchmarks.running import twistd
from tests import warm
from tests.cluster.real_zookeeper import ZooKeeperServer, what_zookeeper_lacks
from tests.conftest import RedisServer
from tests.faults.processes import Daemon
from tests.ports import free_port
from tests.waiting import DEADLINE_SECONDS, wait_for

TAPS = ("push", "push-connector", "push-api", "push-group", "push-sub")
CONFIGURED = '[{name = "ops", sha256 = "' + "ab" * 32 + '", scopes = ["push"]}]'


class Speaking(Daemon):
    """A daemon whose standard output is kept, and which may have `files` open."""

    inherits = False  # whether it gets every inheritable descriptor of the test

    def __init__(
        self, tap: str, folder: Path, settings: dict[str, str], files: int | None = None
    ) -> None:
        self._files = files
        super().__init__(tap, tap, folder, settings)

    @property
    def out(self) -> Path:
        return self._folder / f"{self.name}.out"

    def begin(self) -> None:
        self._starts += 1
        names = {**self._settings, "server_data": str(self._folder / "data")}
        command = [twistd(), "-n", "--pidfile=", f"--logfile={self.log}", self.tap]
        start: Callable[..., Any] = warm.start
        if self._files is not None:
            start = partial(subprocess.Popen, close_fds=not self.inherits)
            command = ["sh", "-c", f'ulimit -n {self._files}; exec "$@"', "sh", *command]
        with self.out.open("wb") as out:
            self._process = start(
                command,
                env={**os.environ, **{f"PUSH_{k.upper()}": value for k, value in names.items()}},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=sys.stderr,
            )

    def lines(self, *marks: str) -> list[str]:
        """The lines of the log that have all of `marks`."""
        return [
            line for line in self.log_text().splitlines() if all(mark in line for mark in marks)
        ]


Make = Callable[..., Speaking]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    daemons: list[Speaking] = []

    def make(tap: str, files: int | None = None, **settings: str) -> Speaking:
        daemons.append(Speaking(tap, tmp_path, settings, files))
        return daemons[-1]

    yield make
    for daemon in daemons:
        daemon.stop()


# --- The line to try ----------------------------------------------------------------------------


def printed_command(daemon: Speaking) -> str:
    """What stands below "Try:", as a user copies it."""
    wait_for(lambda: "Try:" in daemon.out.read_text(), daemon.log_text)
    wait_for(lambda: daemon.out.read_text().endswith("\n\n"), daemon.log_text)
    return daemon.out.read_text().partition("Try:\n")[2].strip()


def run_printed(command: str) -> str:
    """Its answer; fails when that is not of success."""
    ran = subprocess.run(
        ["bash", "-c", command.replace("curl ", "curl -sS --fail-with-body -m 20 ", 1)],
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    assert ran.returncode == 0, f"{command}\n{ran.stdout}{ran.stderr}"
    return ran.stdout


@pytest.mark.parametrize(
    ("tap", "answered"),
    [
        ("push", '"id"'),
        ("push-api", '"id"'),
        ("push-group", '"group"'),
        ("push-sub", '"secret"'),
        ("push-connector", '"status":"ok"'),
    ],
)
def test_the_line_that_each_daemon_prints_works_there(
    tap: str, answered: str, make: Make, redis_url: str
) -> None:
    daemon = make(tap, **({} if tap == "push" else {"redis_url": redis_url}))
    daemon.start()
    assert answered in run_printed(printed_command(daemon))


@pytest.mark.parametrize("tap", TAPS)
def test_with_configured_keys_no_file_is_named_and_the_line_works_without(
    tap: str, make: Make, redis_url: str
) -> None:
    daemon = make(tap, **({} if tap == "push" else {"redis_url": redis_url}))
    daemon.start()  # a first start leaves its files
    daemon.wait_for_line("] ready")
    daemon.stop()
    daemon = make(tap, auth_keys=CONFIGURED, **({} if tap == "push" else {"redis_url": redis_url}))
    daemon.start()
    run_printed(printed_command(daemon))
    assert ".key" not in daemon.out.read_text()


# --- Redis and ZooKeeper ------------------------------------------------------------------------


@pytest.mark.parametrize("tap", TAPS[1:])
def test_a_redis_that_is_unreachable_at_the_start_is_one_line_and_so_is_its_coming(
    tap: str, make: Make, make_redis: Any
) -> None:
    redis: RedisServer = make_redis()
    redis.stop()
    daemon = make(tap, redis_url=redis.url)
    daemon.start()
    daemon.wait_for_line("Trying again until it is reachable")
    redis.start()
    daemon.wait_for_line("] ready")
    assert len(daemon.lines(redis.url, "is unreachable", "Trying again")) == 1
    assert len([line for line in daemon.lines(redis.url) if line.endswith(": reconnected")]) == 1


def test_each_of_several_servers_has_its_own_lines(make: Make, make_redis: Any) -> None:
    first, second = make_redis(), make_redis()
    second.stop()
    daemon = make("push-api", redis_url=f'["{first.url}", "{second.url}"]')
    daemon.start()
    daemon.wait_for_line("Trying again until it is reachable")
    assert len(daemon.lines("Trying again")) == 1
    assert daemon.lines(second.url, "is unreachable")
    wait_for(lambda: daemon.lines(first.url, "connected"), daemon.log_text)
    second.start()
    daemon.wait_for_line("] ready")
    assert [line for line in daemon.lines(second.url) if line.endswith(": reconnected")]


def test_sentinels_that_are_unreachable_are_one_line(make: Make) -> None:
    sentinels = f"127.0.0.1:{free_port()},127.0.0.1:{free_port()}"
    daemon = make("push-api", redis_url=f"redis+sentinel://{sentinels}/main")
    daemon.start()
    daemon.wait_for_line("Asking again until one does")
    assert len(daemon.lines(sentinels)) == 1


def test_what_listens_there_and_is_no_redis_is_one_line(make: Make) -> None:
    other = make("push")
    other.start()
    daemon = make("push-api", redis_url=f"redis://127.0.0.1:{other.http_port}")
    daemon.start()
    daemon.wait_for_line("does not speak the protocol of Redis")
    assert len(daemon.lines("Trying again")) == 1
    assert "Traceback" not in daemon.log_text()


@pytest.mark.skipif(what_zookeeper_lacks() is not None, reason=str(what_zookeeper_lacks()))
def test_a_zookeeper_that_is_unreachable_at_the_start_is_one_line_and_so_is_its_coming(
    make: Make, redis_url: str
) -> None:
    zookeeper = ZooKeeperServer(port=free_port())
    daemons = [make(tap, redis_url=redis_url, zookeeper_hosts=zookeeper.hosts) for tap in TAPS[1:]]
    try:
        for daemon in daemons:
            daemon.start()
        for daemon in daemons:
            daemon.wait_for_line(f"ZooKeeper at {zookeeper.hosts} is unreachable")
        zookeeper.start()
        for daemon in daemons:
            daemon.wait_for_line("] ready")
            # While a slow ZooKeeper starts it may be there and away again, which are lines, too.
            away = daemon.lines("ZooKeeper", "Trying again until it is reachable")
            assert len([line for line in away if "Connection refused" in line]) == 1
            back = daemon.lines(f"ZooKeeper at {zookeeper.hosts}: reconnected")
            assert len(back) == len(away)
    finally:
        for daemon in daemons:
            daemon.stop()
        zookeeper.remove()


def test_what_is_there_from_the_start_is_said_too(make: Make, redis_url: str) -> None:
    daemon = make("push-sub", redis_url=redis_url)
    daemon.start()
    daemon.wait_for_line("] ready")
    assert len(daemon.lines(redis_url, "connected")) == 1


# --- Few open files -----------------------------------------------------------------------------


@pytest.mark.parametrize("tap", ["push", "push-connector"])
def test_little_room_for_connections_is_a_note_and_a_warning(
    tap: str, make: Make, redis_url: str
) -> None:
    settings = {} if tap == "push" else {"redis_url": redis_url}
    daemon = make(tap, 320, connector_max_connections="5000", **settings)
    daemon.start()
    daemon.wait_for_line("] ready")
    (note,) = [note for note in daemon.notes() if "connections" in note]
    found = re.match(r"room for (\d+) connections instead of the 5000 of \[connector\]", note)
    assert found, note
    assert 32 <= int(found[1]) < 320
    assert "LimitNOFILE" in note
    assert len(daemon.lines(note, "#warn]")) == 1
