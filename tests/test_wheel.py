"""The wheel holds all that runs: built, installed elsewhere and started there.

An editable install, which all other tests run on, hides what a package forgets.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.waiting import DEADLINE_SECONDS, wait_for

ROOT = Path(__file__).parents[1]
SOURCES = ("setup.py", "pyproject.toml", "README.md", "LICENSE", "push", "twisted")
NOT_COPIED = shutil.ignore_patterns("__pycache__", "*.pyc", "dropin.cache", "*.egg-info")


def run(*command: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    ran = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, f"{' '.join(command)}\n{ran.stdout}{ran.stderr}"
    return ran


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built of a copy, with the setuptools that are here: no network, nothing left in the tree."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=NOT_COPIED)
        else:
            shutil.copy(ROOT / name, source)
    build = "from setuptools.build_meta import build_wheel; print(build_wheel('..'))"
    run(sys.executable, "-c", build, cwd=source)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The variables with which Python finds what the wheel installed, and not this tree."""
    target = tmp_path_factory.mktemp("installed")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet")
    run(*pip, "--no-deps", "--no-index", "--target", str(target), str(wheel), cwd=target)
    return {"PYTHONPATH": str(target)}


def test_the_wheel_holds_every_file_of_the_packages(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    wanted = {
        str(path.relative_to(ROOT))
        for folder in ("push", "twisted")
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and path.suffix != ".pyc" and path.name != "dropin.cache"
    }
    assert wanted == held
    assert any(name.endswith(".lua") for name in held)
    web = {name for name in held if name.startswith("push/web/")}
    assert {"push/web/push.js", "push/web/push.d.ts", "push/web/package.json"} <= web
    assert "push/web/LICENSE" in web


def test_what_is_installed_is_what_runs(installed: dict[str, str], tmp_path: Path) -> None:
    """Without this the tests below would be tests of the source tree."""
    ran = run(sys.executable, "-c", "import push; print(push.__file__)", cwd=tmp_path, **installed)
    assert ran.stdout.startswith(installed["PYTHONPATH"])


@pytest.mark.parametrize("tap", ["push", "push-connector", "push-api", "push-sub", "push-group"])
def test_every_daemon_shows_its_help(tap: str, installed: dict[str, str], tmp_path: Path) -> None:
    ran = run(*_twistd(), tap, "--help", cwd=tmp_path, **installed)
    assert f"{tap} [options]" in ran.stdout


def test_push_starts_and_is_ready(installed: dict[str, str], tmp_path: Path) -> None:
    """With an embedded Redis, every script loaded."""
    log = tmp_path / "log"
    settings = {
        "PUSH_SERVER_DATA": str(tmp_path / "data"),
        "PUSH_CONNECTOR_TCP": "127.0.0.1:0",
        "PUSH_CONNECTOR_TLS": "127.0.0.1:0",
        "PUSH_CONNECTOR_WS": "",
        "PUSH_CONNECTOR_WSS": "",
        "PUSH_HTTP_LISTEN": "127.0.0.1:0",
    }
    process = subprocess.Popen(
        [*_twistd(), "-n", "--pidfile=", f"--logfile={log}", "push"],
        cwd=tmp_path,
        env={**os.environ, **installed, **settings},
    )

    def said() -> str:
        return log.read_text() if log.exists() else ""

    try:
        wait_for(
            lambda: process.poll() is not None or "] ready" in said(),
            lambda: f"it is ready, it says\n{said()}",
        )
        assert process.poll() is None, said()
        port = re.search(r"listening: http \S*?:(\d+)", said())
        assert port
        for name in ("push.js", "push-chat.js", "push-tabs.js", "console/main.js"):
            with urlopen(f"http://127.0.0.1:{port[1]}/{name}", timeout=DEADLINE_SECONDS) as answer:
                assert answer.read() == (ROOT / "push" / "web" / name).read_bytes()
        with urlopen(f"http://127.0.0.1:{port[1]}/", timeout=DEADLINE_SECONDS) as answer:
            assert b"/console/main.js" in answer.read()
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(DEADLINE_SECONDS)
    assert process.returncode == 0
    assert "Traceback" not in said()


def test_the_test_suite_of_the_documents_passes(installed: dict[str, str], tmp_path: Path) -> None:
    """By the plugin that the wheel brings, in an empty project."""
    page = (ROOT / "docs" / "testing.md").read_text("utf-8")
    files = dict(re.findall(r"^```python title=(\S+)\n(.*?)^```", page, re.DOTALL | re.MULTILINE))
    assert {"conftest.py", "shop.py", "test_shop.py"} <= set(files)
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    where = "import push.testing.plugin as plugin; print(plugin.__file__)"
    assert run(sys.executable, "-c", where, cwd=tmp_path, **installed).stdout.startswith(
        installed["PYTHONPATH"]
    )
    # Without a plugin that users do not have, which takes longer to load than all else.
    command = (sys.executable, "-m", "pytest", "-p", "no:schemathesis", "--basetemp", "t")
    said = run(*command, cwd=tmp_path, **installed).stdout
    tests = "".join(files.values()).count("\ndef test_")
    assert f"{tests} passed" in said


def _twistd() -> tuple[str, ...]:
    """Not the script beside this interpreter: its folder's `push` is the tree's."""
    return (sys.executable, "-c", "from twisted.scripts.twistd import run; run()")
