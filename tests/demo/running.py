"""The demo as a user starts it: a process, what it printed, and its end by Ctrl-C."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, NamedTuple

from tests import warm
from tests.waiting import DEADLINE_SECONDS, wait_for

ROOT = Path(__file__).parents[2]
_URL = re.compile(r"The demo is ready: (http://127\.0\.0\.1:\d+)/demo\n")
_FOLDER = re.compile(r"export PUSH_KEY=\$\(cat (\S+)/demo\.key\)")


class RunningDemo(NamedTuple):
    """`folder` has its data, and is gone after its end."""

    process: subprocess.Popen[bytes]
    output: Path
    origin: str
    folder: Path

    @property
    def key(self) -> str:
        return (self.folder / "demo.key").read_text().strip()

    def interrupt(self) -> int:
        """Ctrl-C in its terminal; returns the exit status."""
        os.killpg(self.process.pid, signal.SIGINT)
        return self.process.wait(DEADLINE_SECONDS)


def command(*options: str) -> list[str]:
    return [sys.executable, "-m", "push.demo", "--no-browser", *options]


def warm_command(*options: str) -> list[str]:
    """Its daemons begin warm, each under a process that stands for it: `tests/warm.py`."""
    twistd = str(warm.commands() / "twistd")
    return [sys.executable, "-m", "tests.demo.warm_demo", twistd, "--no-browser", *options]


@contextlib.contextmanager
def started_demo(
    folder: Path, words: Sequence[str], variables: dict[str, str] | None = None
) -> Iterator[RunningDemo]:
    """`words`: the command. Its output goes to a file in `folder`."""
    output = folder / "output"
    with output.open("wb") as file:
        process = _start(words, variables or {}, file)
    try:
        wait_for(
            lambda: _URL.search(output.read_text()) or process.poll() is not None,
            lambda: output.read_text(),
        )
        text = output.read_text()
        found, data = _URL.search(text), _FOLDER.search(text)
        assert found is not None, text
        assert data is not None, text
        yield RunningDemo(process, output, found[1], Path(data[1]))
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
            process.wait(DEADLINE_SECONDS)


def _start(
    words: Sequence[str], variables: dict[str, str], output: IO[bytes]
) -> subprocess.Popen[bytes]:
    # A session of its own: Ctrl-C reaches all of the group, as in a terminal.
    return subprocess.Popen(
        words,
        cwd=ROOT,
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
