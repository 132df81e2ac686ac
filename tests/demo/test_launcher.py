"""`make demo` as a user runs it: what it prints, its end, and what keeps it from starting."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.demo.running import ROOT, RunningDemo, command, started_demo, warm_command
from tests.ports import free_port
from tests.waiting import DEADLINE_SECONDS, wait_for


def processes_of(demo: RunningDemo) -> list[int]:
    """Those that name the folder of this run in their settings."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes()
            is_its_redis = os.readlink(entry / "cwd").startswith(str(demo.folder))
        except OSError:
            continue
        if os.fsencode(demo.folder) in words or is_its_redis:
            found.append(int(entry.name))
    return found


def nodes_of(demo: RunningDemo) -> dict[str, Any]:
    """The connectors that the API knows, by name."""
    request = urllib.request.Request(
        f"{demo.origin}/v1/nodes", headers={"Authorization": f"Bearer {demo.key}"}
    )
    with urllib.request.urlopen(request, timeout=DEADLINE_SECONDS) as answer:
        nodes = json.load(answer)["nodes"]
    return {node["instance"]: node for node in nodes if node["addresses"]}


def test_make_demo_says_where_it_is_and_ends_at_ctrl_c(tmp_path: Path) -> None:
    make = shutil.which("make")
    assert make is not None
    port = free_port()
    words = [make, "--no-print-directory", "demo", f"ARGS=--no-browser --port {port}"]
    # A person's own settings are for their own server.
    theirs = {"PUSH_HTTP_LISTEN": "127.0.0.1:1", "PUSH_REDIS_URL": "redis://127.0.0.1:1"}
    with started_demo(tmp_path, words, theirs) as demo:
        assert demo.origin.endswith(f":{port}")
        block = demo.output.read_text().split("The demo is ready", 1)[1]  # make may install before
        lines = [line for line in block.splitlines() if line.strip()]
        assert len(lines) <= 5
        assert "Ctrl-C" in lines[-1]
        assert demo.folder.stat().st_mode & 0o077 == 0
        assert set(nodes_of(demo)) == {"east", "west"}
        assert processes_of(demo)
        demo.interrupt()  # make ends with a status of its own
        wait_for(lambda: not demo.folder.exists())
        wait_for(lambda: processes_of(demo) == [])
        rest = demo.output.read_text().split(block, 1)[1]
        assert [line for line in rest.splitlines() if not line.startswith("make: ")] == []


def test_a_second_ctrl_c_does_not_wait(tmp_path: Path) -> None:
    with started_demo(tmp_path, command("--port", str(free_port()))) as demo:
        os.kill(int((demo.folder / "east.pid").read_text()), signal.SIGSTOP)
        os.killpg(demo.process.pid, signal.SIGINT)
        wait_for(
            lambda: not (Path("/proc") / (demo.folder / "api.pid").read_text().strip()).exists()
        )
        assert demo.process.poll() is None
        assert demo.interrupt() == 0
        assert not demo.folder.exists()
        assert processes_of(demo) == []


def test_a_connector_that_ended_is_started_again(tmp_path: Path) -> None:
    with started_demo(tmp_path, warm_command("--port", str(free_port()))) as demo:
        before = nodes_of(demo)
        pid = int((demo.folder / "east.pid").read_text())
        os.kill(pid, signal.SIGKILL)
        wait_for(
            lambda: (
                nodes_of(demo).get("east", before["east"])["started"] > before["east"]["started"]
            )
        )
        assert nodes_of(demo)["east"]["addresses"] == before["east"]["addresses"]


def test_the_end_of_the_api_is_the_end_in_one_line(tmp_path: Path) -> None:
    with started_demo(tmp_path, command("--port", str(free_port()))) as demo:
        os.kill(int((demo.folder / "api.pid").read_text()), signal.SIGKILL)
        assert demo.process.wait(DEADLINE_SECONDS) == 1
        last = demo.output.read_text().splitlines()[-1]
        assert last.startswith("push.demo: api has ended with status -9: ")
        assert not demo.folder.exists()
        assert processes_of(demo) == []


def test_a_port_that_was_asked_for_and_is_taken_is_one_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ran = subprocess.run(
            command("--port", str(port)),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=DEADLINE_SECONDS,
            check=False,
        )
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr == f"push.demo: port {port} is taken: choose another with --port\n"


@pytest.mark.parametrize("port", ["0", "65536", "http", "-1"])
def test_a_port_that_is_none_is_refused(port: str) -> None:
    ran = subprocess.run(
        command(f"--port={port}"), cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 2
    assert "expected a port from 1 to 65535" in ran.stderr


def test_without_a_port_a_taken_default_is_replaced_and_that_is_said(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind(("127.0.0.1", 8080))
            taken.listen()
        except OSError:
            pass  # somebody else has it: as good
        with started_demo(tmp_path, warm_command()) as demo:
            port = demo.origin.rpartition(":")[2]
            assert port != "8080"
            assert f"(Port 8080 is taken, so it is on {port};" in demo.output.read_text()


def test_ctrl_c_while_it_starts_ends_it_too() -> None:
    # A short path: a unix socket is in it.
    with tempfile.TemporaryDirectory(prefix="pd-", dir="/tmp") as folder:
        process = subprocess.Popen(
            command("--port", str(free_port())),
            cwd=ROOT,
            env={**os.environ, "TMPDIR": folder},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            wait_for(lambda: list(Path(folder).glob("push-demo-*/api-1.log")))
        finally:
            os.killpg(process.pid, signal.SIGINT)
            output, _ = process.communicate(timeout=DEADLINE_SECONDS)
        assert (process.returncode, output) == (0, b"")
        assert list(Path(folder).iterdir()) == []
