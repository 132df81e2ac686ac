"""Node.js and what .ci/web-tools installs: where it is, or why a test is skipped."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.waiting import DEADLINE_SECONDS

ROOT = Path(__file__).parents[2]
WEB = ROOT / "push" / "web"
HERE = ROOT / "tests" / "web"
TOOLS = ROOT / ".venv" / "web"
# Pictures of the pages, for people: no test looks at them.
SCREENSHOTS = ROOT / "build" / "screenshots"
KEEPS_SCREENSHOTS = os.environ.get("PUSH_TEST_SCREENSHOTS", "") not in ("", "0")
MODULES = ("push.js", "push-chat.js", "push-tabs.js")
# The first one there is. Without windows it takes two thirds of the processor time.
CHROMIUMS = ("/usr/bin/chromium-headless-shell", "/usr/bin/chromium")


def node() -> str:
    """The program. Skips without one that is new enough."""
    path = shutil.which("node")
    if path is None:
        pytest.skip("node is not installed")
    version = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout
    if int(version[1:].split(".")[0]) < 20:
        pytest.skip(f"node {version.strip()} is older than 20")
    return path


def installed(package: str) -> Path:
    """The folder of an npm package of .ci/web/package.json. Skips without it."""
    folder = TOOLS / "node_modules" / package
    if not folder.is_dir():
        pytest.skip(f"{package} is not installed: sh .ci/web-tools")
    return folder


def chromium() -> str:
    found = next(filter(os.path.exists, CHROMIUMS), None)
    if found is None:
        pytest.skip("chromium is not installed (Debian: chromium-headless-shell)")
    return found


def run(
    *command: str | Path, cwd: Path = ROOT, seconds: float = 4 * DEADLINE_SECONDS, **variables: str
) -> str:
    """What a program prints, both streams. Fails with that when the program fails or goes on."""
    words = [str(word) for word in command]
    try:
        ran = subprocess.run(
            words,
            cwd=cwd,
            env={**os.environ, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as expired:
        said = (expired.stdout or b"").decode(errors="replace")
        raise AssertionError(f"not within {seconds:g} s: {' '.join(words)}\n{said}") from None
    assert ran.returncode == 0, f"{' '.join(words)}\n{ran.stdout}"
    return ran.stdout


def run_in_chromium(*files: Path, pictures: Path = SCREENSHOTS, **variables: str) -> None:
    """Run files of tests in JavaScript in one process of Node.js, and so in one browser."""
    tools = installed("playwright-core").parents[1]
    output = run(
        # Node 20 has a WebSocket, but not without being asked for it.
        *(node(), "--experimental-websocket", "--test-reporter=tap", HERE / "run.mjs", *files),
        seconds=1800,
        PUSH_WEB_TOOLS=str(tools),
        PUSH_CHROMIUM=chromium(),
        PUSH_SCREENSHOTS=str(pictures) if KEEPS_SCREENSHOTS else "",
        **variables,
    )
    assert_passed(output)


def assert_passed(output: str) -> None:
    """What Node.js printed of tests: that there were some, and none failed."""
    assert "\n# fail 0\n" in output, output
    assert "\n# pass 0\n" not in output, output


def without_comments(source: str) -> str:
    """JavaScript without its comments and the blanks at the beginning of lines.

    For code that has no comment-like text in its strings, or templates over several lines.
    """
    code = re.sub(r"/\*.*?\*/", "", source, flags=re.DOTALL)
    code = re.sub(r"(^|\s)//[^\n]*", r"\1", code)
    return "\n".join(line.strip() for line in code.splitlines() if line.strip())
