"""Completion, in a real shell."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from push.pushctl.commands.completion import SHELLS

BIN = Path(sys.executable).parent


@functools.cache
def script_for(shell: str) -> str:
    return run("bash", f"pushctl completion {shell}")


def completed(*words: str, at: str = "") -> list[str]:
    """What bash offers for the last of these words."""
    line = ["pushctl", *words]
    script = f"""
    {script_for("bash")}
    COMP_WORDS=({" ".join(f"'{word}'" for word in line)})
    COMP_CWORD={len(line) - 1}
    _pushctl_completion pushctl
    printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    return run("bash", script, at).split()


def run(shell: str, script: str, settings: str = "") -> str:
    done = subprocess.run(
        [shell, "-c", script],
        env={
            **os.environ,
            "PATH": os.pathsep.join((str(BIN), os.environ["PATH"])),
            "XDG_CONFIG_HOME": settings or "/nonexistent",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    return done.stdout


def test_bash_completes_commands_options_values_and_contexts(tmp_path: Path) -> None:
    assert completed("ba") == ["batch", "bans", "ban"]
    assert completed("keys", "m") == ["make"]
    assert "--scope" in completed("keys", "make", "--")
    assert completed("keys", "make", "a", "--scope", "re") == ["read", "register"]
    settings = str(tmp_path)
    run("bash", "pushctl context add prod --url https://push.example", settings)
    run("bash", "pushctl context add proof --url https://proof.example", settings)
    assert completed("context", "use", "pro", at=settings) == ["prod", "proof"]
    assert completed("--context", "proo", at=settings) == ["proof"]
    (tmp_path / "pushctl" / "contexts.json").write_text("broken")
    assert completed("context", "use", "pro", at=settings) == []


@pytest.mark.parametrize("shell", SHELLS)
def test_each_shell_gets_a_script_that_it_can_read(shell: str) -> None:
    script = script_for(shell)
    assert "_PUSHCTL_COMPLETE" in script
    if shutil.which(shell):
        run(shell, script)


@pytest.mark.parametrize("shell", SHELLS)
def test_what_each_shell_asks_for_is_answered(shell: str) -> None:
    """As its script asks: the words so far, and which of them is completed."""
    script = (
        f"COMP_WORDS='pushctl keys m' COMP_CWORD={'2' if shell != 'fish' else 'm'} "
        f"_PUSHCTL_COMPLETE={shell}_complete pushctl"
    )
    assert "make" in run("bash", script)
