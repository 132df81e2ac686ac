"""Another list of Redis servers, as an operator does it: stop, `pushctl reshard`, start."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import pytest

from tests import warm
from tests.faults.processes import Redis
from tests.faults.system import System
from tests.resharding.progress import without_progress
from tests.waiting import DEADLINE_SECONDS

PUSHCTL = Path(sys.executable).parent / "pushctl"


@pytest.fixture
def more_redis() -> Iterator[list[Redis]]:
    servers = [Redis(), Redis()]
    for server in servers:
        server.start()
    yield servers
    for server in servers:
        server.remove()


def reshard(
    folder: Path, old: Sequence[str], new: Sequence[str], *more: str
) -> subprocess.CompletedProcess[str]:
    config = folder / "push.toml"
    config.write_text(f"[redis]\nurl = {_list(old)}\n")
    to = [part for url in new for part in ("--to", url)]
    ran = warm.run(
        [str(PUSHCTL), "reshard", "--config", str(config), *to, *more],
        env={name: value for name, value in os.environ.items() if not name.startswith("PUSH_")},
        timeout=DEADLINE_SECONDS,
    )
    return without_progress(ran)


def _list(urls: Sequence[str]) -> str:
    return "[" + ", ".join(f'"{url}"' for url in urls) + "]"


def start_on(system: System, urls: Sequence[str]) -> None:
    for daemon in system.daemons:
        daemon._settings["redis_url"] = _list(urls)
        daemon.begin()
    for daemon in system.daemons:
        daemon.wait_for_line("] ready")


def test_from_one_server_to_three_and_to_one_other(
    make_system: Callable[..., System],
    finish: Callable[..., None],
    more_redis: list[Redis],
    tmp_path: Path,
) -> None:
    system = make_system(connectors=2)
    lists = [
        [system.redis.url],
        [system.redis.url, *(server.url for server in more_redis)],
        [more_redis[1].url],
    ]
    pairs = system.register(24)
    system.bind("ann", pairs[:3])
    system.bind("bob", pairs[3:9])
    fleet = system.fleet(pairs)
    system.wait_connected(pairs)
    pusher = system.pusher()
    targets = [*system.mixed_targets(pairs), system.to_user("bob")]

    def push(count: int) -> None:
        for number in range(count):
            assert pusher.push(targets[number % len(targets)]).accepted

    push(20)
    refused = reshard(tmp_path, lists[0], lists[1])
    assert refused.returncode == 1
    assert "processes are connected" in refused.stderr
    assert "push-api/api" in refused.stderr
    assert refused.stderr.count("\n") == 1

    for old, new in pairwise(lists):
        fleet.kill()
        push(30)  # they wait for who is away
        for daemon in system.daemons:
            daemon.stop()
        planned = reshard(tmp_path, old, new, "--dry-run")
        assert (planned.returncode, planned.stderr) == (0, "")
        assert "nothing was changed" in planned.stdout
        done = reshard(tmp_path, old, new)
        assert (done.returncode, done.stderr) == (0, "")
        assert "done: set [redis] url" in done.stdout
        start_on(system, new)
        push(10)
        fleet.start()
        push(20)
        system.wait_caught_up()
    left = (system.redis, more_redis[0])
    assert [server.call("DBSIZE") for server in left] == [b":0\r\n", b":0\r\n"]
    finish(system)


def test_daemons_refuse_the_old_list_afterwards(
    make_system: Callable[..., System], more_redis: list[Redis], tmp_path: Path
) -> None:
    system = make_system()
    pairs = system.register(5)
    old, new = [system.redis.url], [more_redis[0].url, system.redis.url]
    for daemon in system.daemons:
        daemon.stop()
    assert reshard(tmp_path, old, new).returncode == 0

    system.api.start()

    refusal = "the list changes only by `pushctl reshard`"
    system.wait(lambda: refusal in str(system.api.get("/readyz")[1]), "it says what is wrong")
    assert not system.api.ready()
    system.api.stop()
    start_on(system, new)
    assert _registered(system) == len(pairs)


def _registered(system: System) -> int:
    statuses = [
        system.api.get(f"/v1/devices/{token}", system.admin_key)[0] for token in system.records
    ]
    return statuses.count(200)
