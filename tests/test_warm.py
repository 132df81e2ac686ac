"""What begins warm is the program all the same: its arguments, environment, streams and end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.running import started_server, twistd
from tests import warm
from tests.waiting import DEADLINE_SECONDS, wait_for

TELLS = """
import json, os, random, sys
from pathlib import Path
from twisted.internet import reactor
print(json.dumps({
    "name": __name__, "argv": sys.argv, "folder": os.getcwd(), "path": sys.path[0],
    "variable": os.environ.get("PUSH_TRIED"), "warm": "push.daemons.compose" in sys.modules,
    "stdin": [sys.stdin.seekable(), sys.stdin.isatty()], "stdout": sys.stdout.line_buffering,
    "random": random.random(), "files": len(os.listdir("/proc/self/fd")),
}))
print("an error", file=sys.stderr)
said = sys.stdin.readline()
sys.exit(int(said) if said else 7)
"""
SLEEPS = "import time\nprint('begun', flush=True)\ntime.sleep(600)\n"


ENDS = """
import atexit, sys, threading, time
from pathlib import Path
print("at the end of", Path(sys.argv[0]).name, end="")
def last():
    print(", the last words", end="")
    print("warned", file=sys.stderr, end="")
atexit.register(last)
threading.Thread(target=lambda: (time.sleep(0.05), print(", another thread", end=""))).start()
{0}
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "tells.py"
    path.write_text(TELLS)
    return path


def told(script: Path, **more: Any) -> tuple[dict[str, Any], subprocess.CompletedProcess[str]]:
    ran = warm.run([sys.executable, str(script), "a", "b c"], timeout=DEADLINE_SECONDS, **more)
    return json.loads(ran.stdout), ran


def test_a_program_has_its_own_arguments_environment_streams_and_exit_status(
    script: Path, tmp_path: Path
) -> None:
    found, ran = told(script, cwd=tmp_path, env={**os.environ, "PUSH_TRIED": "yes"})

    assert found["name"] == "__main__"
    assert found["argv"] == [str(script), "a", "b c"]
    assert (found["folder"], found["path"]) == (str(tmp_path), str(tmp_path))
    assert found["variable"] == "yes"
    assert (ran.returncode, ran.stderr) == (7, "an error\n")


@pytest.mark.skipif(warm.COLD, reason="PUSH_TEST_COLD: nothing begins warm")
def test_two_of_them_share_nothing(script: Path) -> None:
    (one, _), (other, _) = told(script), told(script)
    assert one["warm"]
    assert other["warm"]
    assert one["random"] != other["random"]
    assert one["files"] == other["files"]


@pytest.mark.parametrize("name", ["PYTHONHASHSEED", "LD_PRELOAD", "LANG"])
def test_what_the_interpreter_reads_itself_makes_it_start_cold(script: Path, name: str) -> None:
    found, ran = told(script, env={**os.environ, name: "7" if name == "PYTHONHASHSEED" else "C"})
    assert not found["warm"]
    assert ran.returncode == 7


@pytest.mark.parametrize(
    ("end", "status", "error"),
    [
        ("pass", 0, ""),
        ("sys.exit()", 0, ""),
        ("sys.exit(3)", 3, ""),
        ("sys.exit(True)", 1, ""),
        ("sys.exit('no')", 1, "no\n"),
        ("raise ValueError('no')", 1, "ValueError: no\n"),
    ],
)
def test_it_ends_as_an_interpreter_of_its_own_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str, status: int, error: str
) -> None:
    path = tmp_path / "ends.py"
    path.write_text(ENDS.format(end))
    for cold in (False, True):
        monkeypatch.setattr(warm, "COLD", cold)
        ran = warm.run([sys.executable, str(path)], timeout=DEADLINE_SECONDS)
        assert ran.returncode == status
        assert ran.stdout == "at the end of ends.py, another thread, the last words"
        assert ran.stderr.endswith(f"{error}warned")


def test_standard_input_can_be_a_pipe(script: Path) -> None:
    process = warm.start(
        [sys.executable, str(script)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    assert process.poll() is None
    process.stdin.write(b"5\n")
    assert process.wait(DEADLINE_SECONDS) == process.poll() == 5
    process.kill()  # of what has ended: nothing


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=str)
def test_a_signal_ends_it_and_is_its_status(tmp_path: Path, number: int) -> None:
    path, out = tmp_path / "sleeps.py", tmp_path / "out"
    path.write_text(SLEEPS)
    with out.open("wb") as file:
        process = warm.start([sys.executable, str(path)], stdout=file)
    wait_for(lambda: out.read_text() == "begun\n")
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0)
    process.send_signal(number)
    assert process.wait(DEADLINE_SECONDS) == -number


@pytest.fixture
def command(script: Path) -> list[str]:
    """What stands for the script; what a shell would start."""
    warm.commands()
    return warm._the_host().words_for(script)


def test_a_command_is_as_if_it_were_started_itself(
    script: Path, command: list[str], tmp_path: Path
) -> None:
    ran = subprocess.run(
        [*command, "a", "b c"],
        input="5",
        env={**os.environ, "PUSH_TRIED": "yes", "PATH": "/"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    found = json.loads(ran.stdout)
    assert (found["name"], found["warm"]) == ("__main__", True)
    assert found["stdin"] == [False, False]
    assert not found["stdout"]
    assert found["argv"] == [str(script), "a", "b c"]
    assert (found["folder"], found["path"]) == (str(tmp_path), str(tmp_path))
    assert found["variable"] == "yes"
    assert (ran.returncode, ran.stderr) == (5, "an error\n")


@pytest.mark.parametrize(
    ("arguments", "variables"),
    [(["/dev/fd/0"], {}), ([], {"LANG": "C"}), ([], {"PYTHONUTF8": "1"})],
)
def test_a_command_that_cannot_begin_warm_begins_cold(
    command: list[str], arguments: list[str], variables: dict[str, str]
) -> None:
    ran = subprocess.run(
        [*command, *arguments],
        stdin=subprocess.DEVNULL,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert not json.loads(ran.stdout)["warm"]
    assert ran.returncode == 7


def test_a_command_at_a_terminal_knows_it(script: Path, command: list[str]) -> None:
    ours, theirs = os.openpty()
    os.write(ours, b"5\n")
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=subprocess.DEVNULL)
    os.close(theirs)
    assert process.wait(DEADLINE_SECONDS) == 5
    _, said = os.read(ours, 65536).split(b"\n", 1)  # first what was typed
    os.close(ours)
    found = json.loads(said)
    assert found["stdin"] == [False, True]
    assert found["stdout"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=str)
def test_a_signal_ends_a_command_and_what_it_stands_for(
    script: Path, command: list[str], number: int
) -> None:
    script.write_text(f"import os\nprint(os.getpid(), flush=True)\n{SLEEPS}")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        assert process.stdout.readline() == "begun\n"
        process.send_signal(number)
        assert process.wait(DEADLINE_SECONDS) == -number
    wait_for(lambda: not Path(f"/proc/{pid}").exists())


def test_a_command_whose_process_is_killed_says_so(script: Path, command: list[str]) -> None:
    script.write_text("import os\nos.kill(os.getpid(), 9)")
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL


def test_a_command_that_is_to_ignore_a_signal_ignores_it(script: Path, command: list[str]) -> None:
    script.write_text("import signal\nprint(signal.getsignal(2) is signal.SIG_IGN)")
    ran = subprocess.run(
        ["sh", "-c", 'trap "" INT; exec "$@"', "sh", *command],
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout == "True\n"


def test_a_daemon_that_begins_warm_says_what_one_says_that_begins_cold(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    logs = []
    for cold in (False, True):
        monkeypatch.setattr(warm, "COLD", cold)
        with started_server() as running:
            assert isinstance(running.process, subprocess.Popen) is cold
            log = running.log
            lines = [line.partition("] ")[2].split() for line in log.read_text().splitlines()]
        logs.append([line[:2] for line in lines])
        assert running.process.returncode == 0
    assert logs[0] == logs[1]


def test_what_twistd_refuses_is_refused(tmp_path: Path) -> None:
    ran = warm.run([twistd(), "push", "--no-such-option"], timeout=DEADLINE_SECONDS)
    assert ran.returncode != 0
    assert "no-such-option" in ran.stderr
