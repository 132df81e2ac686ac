"""The commands of docs/cluster.md, run as they are written beside two real connectors."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from inspect import signature
from pathlib import Path
from textwrap import dedent
from types import SimpleNamespace
from typing import Any

import pytest

from push.http.checks import PushLimits
from push.http.routes.apps import make_api, make_group, make_observe, make_sub
from tests import warm
from tests.faults.processes import Redis
from tests.faults.system import System
from tests.waiting import DEADLINE_SECONDS

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


def blocks(language: str, word: str) -> list[str]:
    """The code blocks with `word` in them, without what they are indented by."""
    text = (ROOT / "docs/cluster.md").read_text()
    found = re.findall(rf"^ *```{language}\n(.*?)^ *```", text, re.S | re.M)
    return [dedent(block) for block in found if word in block]


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
    commands = blocks("sh", "drain")
    assert len(commands) == 2
    gate, other = system.connectors
    for command in commands:
        here = (
            command.replace("gate-1", gate.name)
            .replace("http://127.0.0.1:8080", system.api.http_url)
            .replace(".venv/bin/", f"{warm.commands()}/")
        )
        subprocess.run(
            ["bash", "-eo", "pipefail", "-c", here],
            cwd=tmp_path,
            env={**os.environ, "PUSH_URL": system.api.http_url},
            check=True,
            capture_output=True,
            timeout=DEADLINE_SECONDS,
        )
        system.wait(lambda: not gate.running, "the connector has ended")
        assert gate.exit_status == 0
        assert other.running
        gate.start()
        system.wait(lambda: gate.name in _connectors(system), "it is registered again")


def _connectors(system: System) -> set[str]:
    _, stats = system.api.get("/v1/stats", system.admin_key)
    return {node["instance"] for node in stats["nodes"] if node["service"] == "push-connector"}


@pytest.fixture
def more_redis() -> Iterator[list[Redis]]:
    servers = [Redis(), Redis()]
    for server in servers:
        server.start()
    yield servers
    for server in servers:
        server.remove()


def test_the_list_of_servers_is_changed_as_it_is_written(
    system: System, more_redis: list[Redis], tmp_path: Path
) -> None:
    (listed,) = blocks("toml", "url")
    look, do = blocks("sh", "reshard")
    config = tmp_path / "push.toml"
    config.write_text(f'[redis]\nurl = "{system.redis.url}"\n')
    pairs = system.register(8)

    def here(text: str) -> str:
        for number, server in enumerate([system.redis, *more_redis], 1):
            text = text.replace(f"redis://redis-{number}", server.url)
        return text.replace("/etc/push/push.toml", str(config)).replace(".venv/bin/", f"{BIN}/")

    def run(command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-eo", "pipefail", "-c", here(command)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=DEADLINE_SECONDS,
            check=False,
        )

    assert "push-api/api" in run(look).stderr
    for daemon in system.daemons:
        daemon.stop()
    assert "nothing was changed" in run(look).stdout
    assert "done: set [redis] url" in run(do).stdout

    (url,) = re.findall(r"^url = (.*)$", here(listed), re.M)
    for daemon in system.daemons:
        daemon._settings["redis_url"] = url
        daemon.start()
    for pair in pairs:
        assert system.api.get(f"/v1/devices/{pair.token}", system.admin_key)[0] == 200


def test_the_table_of_paths_names_the_daemon_of_every_route() -> None:
    text = (ROOT / "docs/cluster.md").read_text()
    rows = re.findall(
        r"^\| (`POST`, `OPTIONS`|any) \| (`/.*?) \| (push-\w+) \| (\d+) \|$", text, re.M
    )
    assert len(rows) == 5
    behind: Any = None
    chat: Any = SimpleNamespace(groups=None, messages=None, conversations=None)
    needed = signature(make_api).parameters.keys() - {"limits"}
    observer: Any = SimpleNamespace(recent=None, audit=None)
    observing = signature(make_observe).parameters.keys() - {"observer"}
    apps = [
        ("push-api", make_api(**dict.fromkeys(needed, behind), limits=PushLimits())),
        ("push-api", make_observe(**dict.fromkeys(observing, behind), observer=observer)),
        ("push-group", make_group(chat)),
        ("push-sub", make_sub(behind, behind)),
    ]
    for daemon, app in apps:
        for route in app.routes:
            path = re.sub(r"\{\w+\}", "x", route.path)
            named = next(
                named
                for method, patterns, named, _ in rows
                if (method == "any" or f"`{route.method}`" in method)
                and any(fits(path, pattern) for pattern in re.findall("`(.*?)`", patterns))
            )
            assert named == daemon, f"{route.method} {route.path}"
    for _, _, daemon, port in rows:
        assert re.search(rf"twistd {daemon}`.*\| .*{port}", (ROOT / "README.md").read_text())


def fits(path: str, pattern: str) -> bool:
    """`*` is one segment, at the end any number of them."""
    expression = re.escape(pattern).replace(r"/\*", "/[^/]+")
    if pattern.endswith("/*"):
        expression = expression.removesuffix("/[^/]+") + "/.*"
    return re.fullmatch(expression, path) is not None
