"""What is bounded in number stays so, and the rest is served: connections and open files."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

from benchmarks.hostile.attackers import attacking
from benchmarks.hostile.watching import Backend, WellBehaved, gauge, open_pair, prepare, tracebacks
from benchmarks.running import started_server
from tests.waiting import DEADLINE_SECONDS, wait_for

ROOT = Path(__file__).parents[2]
MAX_CONNECTIONS = 60
# Beside them a few are accepted at one time, to be told where else to go.
MOST = MAX_CONNECTIONS + 8


def test_silent_connections_stay_under_the_bound_and_others_are_served() -> None:
    with started_server(connector_max_connections=str(MAX_CONNECTIONS)) as server:
        target = prepare(server, 2)
        device, backend = WellBehaved(server), Backend(server)
        with attacking("silent", target, 2):
            wait_for(lambda: gauge(server, "connections") >= MAX_CONNECTIONS)
            number = device.push(backend)
            assert device.wait_for(number, DEADLINE_SECONDS) is not None
            assert gauge(server, "connections") <= MOST
            assert backend.call("GET", "/healthz")[0] == 200
        wait_for(lambda: gauge(server, "connections") <= 1)
        open_pair(server)
        device.close()
        assert not (found := tracebacks(server)), found


def test_more_connections_than_files_may_be_open() -> None:
    """The benchmark itself, on servers that may open few files: health answers, pushes arrive."""
    command = [sys.executable, "-m", "benchmarks.hostile", "--json", "--only", "silent"]
    short = ["--attackers", "8", "--seconds", "1", "--after", "0"]
    shell = f"ulimit -n 320; exec {shlex.join([*command, *short])}"
    done = subprocess.run(
        ["bash", "-c", shell], cwd=ROOT, capture_output=True, text=True, timeout=180, check=False
    )
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)
    assert row["connections"] >= 300, row
    assert row["healthy"], row
    assert not row["traceback"], row["traceback"]
    assert not row["failures"], row["failures"]
    assert row["flooded"]["missing"] == 0, row
