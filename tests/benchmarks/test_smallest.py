"""Every benchmark in its smallest form: a few sessions, one round. That it measures, not what."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.catalog import ALL
from benchmarks.command import main

# What each must have figures of, besides others: the names of its cases.
CASES = {
    "broadcast": {
        f"broadcast {carrier} QoS {qos} {kind}"
        for carrier in ("plain", "tls", "websocket")
        for qos in (0, 1)
        for kind in ("single", "burst")
    },
    "http": {"http single", "http batch", "http QoS 0", "http one device"},
    "latency": {"latency"},
    "storm": {
        f"storm {carrier} {how}"
        for carrier in ("plain", "tls", "websocket")
        for how in ("64 at a time", "all at once")
    },
    "idle": {"idle plain", "idle tls", "idle websocket"},
    "catch-up": {"catch-up"},
    "scale": {f"scale {sessions} QoS {qos}" for sessions in (5, 10) for qos in (0, 1)},
    "instances": {"instances single QoS 0", "instances burst QoS 0", "instances single QoS 1"},
    "ledger": {"ledger"},
    "chat": {"chat on 1 Redis server"},
    "bans": {"bans"},
    "stalled": {"stalled"},
    "cluster": {"cluster"},
    "hostile": {"hostile 1"},
}


@pytest.mark.parametrize("name", [benchmark.name for benchmark in ALL])
def test_it_measures_something(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], programs: tuple[str, str]
) -> None:
    file = tmp_path / "figures.json"
    status = main(["--smallest", "--only", name, "--json", str(file)])
    printed = capsys.readouterr()
    found: dict[str, Any] = json.loads(file.read_text())
    assert not found["about"]["problems"]
    assert status == 0
    assert set(found["rounds"]) == CASES[name]
    for case, servers in found["rounds"].items():
        for server, rounds in servers.items():
            assert rounds, (case, server)
            assert all(rounds), (case, server)
    # A table for each case, in which something stands.
    assert printed.out.count("\n### ") == len(CASES[name]), printed.out
    assert printed.out.count("\n| --- ") == len(CASES[name])
