"""pushctl against scripted servers: called in this process, or as one of its own."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

# Makes the SDK tests' scripted servers importable.
sys.path.insert(0, str(Path(__file__).parent.parent / "sdk"))

from http_server import HTTPServer

from push.pushctl.main import main
from tests import warm


class Outcome(NamedTuple):
    status: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def clean_surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty working folder, and none of our variables."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("PUSH_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))


@pytest.fixture
def server() -> Iterator[HTTPServer]:
    with HTTPServer() as made:
        yield made


@pytest.fixture
def pushctl(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    def call(*arguments: str) -> Outcome:
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        status = ended.value.code
        assert isinstance(status, int)
        return Outcome(status, *capsys.readouterr())

    return call


async def started(*arguments: str, stdin: int | None = None) -> asyncio.subprocess.Process:
    """pushctl as a process of its own, while this one plays the server."""
    return await asyncio.create_subprocess_exec(
        warm.commands() / "pushctl",
        *arguments,
        stdin=subprocess.DEVNULL if stdin is None else stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


async def finished(process: asyncio.subprocess.Process) -> Outcome:
    out, err = await process.communicate()
    assert process.returncode is not None
    return Outcome(process.returncode, out.decode(), err.decode())
