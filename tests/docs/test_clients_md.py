"""The examples of docs/clients.md, as they are written, against one server."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.docs.test_commands import ROOT, Shell, blocks, shell
from tests.waiting import DEADLINE_SECONDS

__all__ = ["shell"]  # the fixture

PAGE = (ROOT / "docs" / "clients.md").read_text("utf-8")
PROGRAMS = dict(re.findall(r"^```\w+ title=(\S+)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE))
SHELL = blocks("docs/clients.md")
# `node` has no WebSocket of its own before its version 22.
PROGRAM_OF = {".py": ".venv/bin/python -u", ".mjs": "node --experimental-websocket --no-warnings"}


def test_the_commands(shell: Shell) -> None:
    curl, terminal = SHELL
    assert '"streams":1' in shell.run(curl)
    assert "Hello" in shell.run(terminal).splitlines()[-1]


def test_the_programs_of_a_device_get_what_the_backend_sends(shell: Shell) -> None:
    for name, text in PROGRAMS.items():
        (shell.folder / name).write_text(shell.here(text))
    (shell.folder / "push").symlink_to(ROOT / "push")
    devices = {
        name: shell.start(f"{PROGRAM_OF[Path(name).suffix]} {name}")
        for name in PROGRAMS
        if Path(name).stem.endswith("device")
    }
    assert len(devices) == 3
    try:
        shell.wait_for_sessions(len(devices))
        assert shell.run(".venv/bin/python backend.py").startswith("message ")
        for name, device in devices.items():
            assert device.stdout is not None
            assert "Hello" in device.stdout.readline(), name
    finally:
        for device in devices.values():
            device.kill()
            device.communicate(timeout=DEADLINE_SECONDS)


def test_the_test(shell: Shell) -> None:
    (shell.folder / "test_push.py").write_text(PROGRAMS["test_push.py"])
    # Without a plugin that users do not have, which takes longer to load than all else.
    without = ("-p", "no:schemathesis")
    command = [sys.executable, "-m", "pytest", "-q", *without, "--basetemp", "t", "test_push.py"]
    ran = subprocess.run(command, cwd=shell.folder, capture_output=True, text=True, check=False)
    assert "1 passed" in ran.stdout, ran.stdout + ran.stderr
