"""The commands of docs/cluster.md, run as they are written beside two real connectors."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.processes import Redis
from tests.faults.system import System

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
TIMEOUT_SECONDS = 30


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    system = System(tmp_path, Redis(), 2, {})
    try:
        system.start()
        yield system
    finally:
        system.end()


def test_each_way_to_drain_a_connector_empties_it_and_ends_it(
    system: System, tmp_path: Path
) -> None:
    (tmp_path / "push-data").symlink_to(tmp_path / "data")
    commands = re.findall(r"^```sh\n(.*?)^```", (ROOT / "docs/cluster.md").read_text(), re.S | re.M)
    assert len(commands) == 2
    gate, other = system.connectors
    for command in commands:
        here = (
            command.replace("gate-1", gate.name)
            .replace("http://127.0.0.1:8080", system.api.http_url)
            .replace(".venv/bin/", f"{BIN}/")
        )
        subprocess.run(
            ["bash", "-eo", "pipefail", "-c", here],
            cwd=tmp_path,
            env={**os.environ, "PUSH_URL": system.api.http_url},
            check=True,
            capture_output=True,
            timeout=TIMEOUT_SECONDS,
        )
        system.wait(lambda: not gate.running, "the connector has ended")
        assert gate.exit_status == 0
        assert other.running
        gate.start()
        system.wait(lambda: gate.name in _connectors(system), "it is registered again")


def _connectors(system: System) -> set[str]:
    _, stats = system.api.get("/v1/stats", system.admin_key)
    return {node["instance"] for node in stats["nodes"] if node["service"] == "push-connector"}
