"""`make run` and a daemon in the foreground, on a terminal as a user has it."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.waiting import wait_for

ROOT = Path(__file__).parents[2]
TIMEOUT_SECONDS = 120  # the first time, `make run` installs
CTRL_C = b"\x03"
TWISTD = str(Path(sys.executable).with_name("twistd"))


class Terminal:
    """A shell's place: a pseudo-terminal, and what runs in its foreground."""

    def __init__(self, folder: Path, *command: str, **variables: str) -> None:
        self.said = b""
        settings = {
            "PUSH_SERVER_DATA": str(folder / "data"),
            "PUSH_SERVER_READY_FILE": str(folder / "ready"),
            "PUSH_CONNECTOR_TCP": "127.0.0.1:0",
            "PUSH_CONNECTOR_TLS": "",
            "PUSH_CONNECTOR_WS": "",
            "PUSH_CONNECTOR_WSS": "",
            "PUSH_HTTP_LISTEN": "127.0.0.1:0",
            **variables,
        }
        self._ready = folder / "ready"
        self.pid, self._descriptor = pty.fork()
        if self.pid == 0:
            os.chdir(ROOT)
            os.environ.update(settings)
            os.execvp(command[0], command)
        os.set_inheritable(self._descriptor, False)
        self.status: int | None = None

    def wait_until_ready(self) -> int:
        """Until the daemon is; its process id."""
        self.read_until(lambda: self._ready.exists() and self._ready.read_text().strip())
        return int(self._ready.read_text())

    def read_until(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while not condition():
            assert time.monotonic() < deadline, self.text
            assert self._read(), self.text

    def type(self, keys: bytes) -> None:
        os.write(self._descriptor, keys)

    def hang_up(self) -> None:
        """The window is closed."""
        os.close(self._descriptor)
        self._descriptor = -1
        os.waitpid(self.pid, 0)
        self.status = 0

    def wait_for_end(self) -> int:
        """All that is still said, and the status: that of a shell, negative after a signal."""
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while self._read():
            assert time.monotonic() < deadline, self.text
        _, status = os.waitpid(self.pid, 0)
        self.status = os.waitstatus_to_exitcode(status)
        return self.status

    @property
    def text(self) -> str:
        return self.said.decode("utf-8", "replace")

    def _read(self) -> bool:
        """Take what comes within a moment; False when nothing will come any more."""
        if not select.select([self._descriptor], [], [], 0.2)[0]:
            return True
        try:
            data = os.read(self._descriptor, 65536)
        except OSError:  # what Linux says when the last process of a terminal has ended
            return False
        self.said += data
        return bool(data)

    def close(self) -> None:
        if self.status is None:
            os.kill(self.pid, signal.SIGTERM)
            self.wait_for_end()
        if self._descriptor >= 0:
            os.close(self._descriptor)


Open = Callable[..., Terminal]


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Open]:
    opened: list[Terminal] = []

    def begin(*command: str, **variables: str) -> Terminal:
        opened.append(Terminal(tmp_path, *command, **variables))
        return opened[-1]

    yield begin
    for one in opened:
        one.close()


def make_run() -> tuple[str, ...]:
    make = shutil.which("make")
    assert make
    return (make, "--no-print-directory", "run")


def stops(text: str) -> list[str]:
    """The signals that the daemon took, in its words."""
    return re.findall(r"process\.signals#info\] (\w+: .*?)\r?\n", text)


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() != b""
    except OSError:
        return False


def test_ctrl_c_at_make_run_is_one_signal_and_ends_cleanly(terminal: Open) -> None:
    one = terminal(*make_run())
    pid = one.wait_until_ready()
    one.type(CTRL_C)
    one.wait_for_end()
    assert stops(one.text) == ["SIGINT: stopping"]
    assert "Traceback" not in one.text
    assert "Error" not in one.text
    assert not lives(pid)


def test_a_second_ctrl_c_stops_at_once(terminal: Open, redis_url: str) -> None:
    """Without sessions that are sent elsewhere the first would end it soon: so both are there
    before the daemon works the first off. (Two of a kind would be one; the other is a kill.)"""
    one = terminal(*make_run(), PUSH_REDIS_URL=redis_url)
    pid = one.wait_until_ready()
    os.kill(pid, signal.SIGSTOP)
    wait_for(lambda: is_stopped(pid), "the stop")
    one.type(CTRL_C)
    wait_for(lambda: is_pending(pid, signal.SIGINT), "Ctrl-C at the daemon")
    os.kill(pid, signal.SIGTERM)
    os.kill(pid, signal.SIGCONT)
    one.wait_for_end()
    first, second = stops(one.text)
    assert first.endswith(": stopping")
    assert second.endswith(": second signal, stopping immediately")
    assert not lives(pid)


def is_stopped(pid: int) -> bool:
    return "\nState:\tT" in Path(f"/proc/{pid}/status").read_text()


def is_pending(pid: int, number: signal.Signals) -> bool:
    found = re.search(r"^ShdPnd:\s*(\w+)$", Path(f"/proc/{pid}/status").read_text(), re.M)
    assert found
    return bool(int(found[1], 16) >> (number - 1) & 1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_kill_of_what_make_started_reaches_the_daemon_once(
    terminal: Open, number: signal.Signals
) -> None:
    one = terminal(*make_run())
    pid = one.wait_until_ready()
    (child,) = children_of(one.pid)
    os.kill(child, number)
    assert one.wait_for_end() == 0
    assert stops(one.text) == [f"{number.name}: stopping"]
    assert not lives(pid)


def children_of(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_kill_of_make_reaches_the_daemon(terminal: Open) -> None:
    one = terminal(*make_run())
    pid = one.wait_until_ready()
    os.kill(one.pid, signal.SIGTERM)
    one.wait_for_end()
    assert stops(one.text) == ["SIGTERM: stopping"]
    assert not lives(pid)


def test_a_terminal_that_closes_stops_the_daemon_in_it(terminal: Open, tmp_path: Path) -> None:
    """The shell passes its hang-up on to what runs in the foreground."""
    log = tmp_path / "log"
    command = f"{TWISTD} -n --pidfile= --logfile={log} push; true"
    one = terminal("sh", "-c", command)
    pid = one.wait_until_ready()
    one.hang_up()
    wait_for(lambda: not lives(pid), lambda: f"the end\n{log.read_text()}")
    assert stops(log.read_text()) == ["SIGHUP: stopping"]


def test_a_terminal_that_closes_stops_make_run(terminal: Open) -> None:
    one = terminal("sh", "-c", " ".join(make_run()) + "; true")
    pid = one.wait_until_ready()
    one.hang_up()
    wait_for(lambda: not lives(pid), "the end")


def test_a_terminal_that_closes_stops_make_run_without_a_shell(terminal: Open) -> None:
    """As a terminal's own command make leads the session, and the signal goes to it alone."""
    one = terminal(*make_run())
    pid = one.wait_until_ready()
    one.hang_up()
    wait_for(lambda: not lives(pid), "the end")


@pytest.mark.parametrize("command", ["exec", ""])
def test_a_daemon_that_is_sent_no_signal_notices_that_its_terminal_closed(
    terminal: Open, tmp_path: Path, command: str
) -> None:
    log = tmp_path / "log"
    # A shell that ignores the signal, and what it starts inherits that until it takes it itself.
    line = f"trap '' HUP; {command} {TWISTD} -n --pidfile= --logfile={log} push"
    one = terminal("sh", "-c", line)
    pid = one.wait_until_ready()
    one.hang_up()
    wait_for(lambda: not lives(pid), lambda: f"the end\n{log.read_text()}")
    assert stops(log.read_text()) == ["SIGHUP: stopping"]
