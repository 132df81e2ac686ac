"""The fixture that makes deployments to hurt, and the sum of what was audited."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from push.sdk.backend import PushAPI
from tests.amounts import amount
from tests.cluster.real_zookeeper import ZooKeeperServer, what_zookeeper_lacks
from tests.faults.conversing import ChatChecked, Party
from tests.faults.processes import Daemon, Redis
from tests.faults.slow_redis import SlowRedis
from tests.faults.system import Checked, System
from tests.ports import free_port


@pytest.fixture
def make_system(tmp_path: Path) -> Iterator[Callable[..., System]]:
    """`make_system(connectors=1, redis=Redis(…), servers=1, start=True, connector_window="8", …)`:
    started, ended with the test. `servers`: how many Redis servers share the streams."""
    systems: list[System] = []

    def make(
        connectors: int = 1,
        redis: Redis | None = None,
        *,
        servers: int = 1,
        start: bool = True,
        apis: int = 1,
        sub: bool = False,
        groups: int = 0,
        zookeeper: bool = False,
        **settings: str,
    ) -> System:
        if zookeeper and (lacking := what_zookeeper_lacks()):
            pytest.skip(lacking)
        folder = tmp_path / f"system{len(systems)}"
        folder.mkdir()
        system = System(
            folder,
            redis or Redis(),
            connectors,
            settings,
            more_redis=[Redis() for _ in range(servers - 1)],
            apis=apis,
            sub=sub,
            groups=groups,
            zookeeper=ZooKeeperServer(port=free_port()) if zookeeper else None,
        )
        systems.append(system)
        if start:
            system.start()
        return system

    yield make
    for system in systems:
        system.end()


# A burner ends with the process that started it, however that ends.
BURNER = """
import os, sys, time
parent, rest_seconds = os.getppid(), float(sys.argv[1])
while os.getppid() == parent:
    until = time.monotonic() + 0.05
    while time.monotonic() < until:
        pass
    time.sleep(rest_seconds)
"""
# Where many processes of tests run, these keep the cores busy too: a burner then rests between.
MANY_PROCESSES = 4


@pytest.fixture
def both_cores_busy() -> Iterator[None]:
    many = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")) >= MANY_PROCESSES
    rest_seconds = amount("0.15" if many else "0", "0")
    burners = [subprocess.Popen([sys.executable, "-c", BURNER, rest_seconds]) for _ in range(2)]
    yield
    for burner in burners:
        burner.kill()
        burner.wait()


@pytest.fixture
def api_of() -> Iterator[Callable[[System], PushAPI]]:
    """`api_of(system)`: what a backend uses, without retries: an answer is one answer."""
    clients: list[PushAPI] = []

    def make(system: System) -> PushAPI:
        clients.append(PushAPI(system.api.http_url, system.admin_key, retries=0))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def slow_redis() -> Iterator[Callable[[System, Daemon], SlowRedis]]:
    """`slow_redis(system, daemon)`: what that daemon, not started yet, has for Redis."""
    proxies: list[SlowRedis] = []

    def make(system: System, *daemons: Daemon) -> SlowRedis:
        proxy = SlowRedis(system.redis.socket_path)
        proxies.append(proxy)
        for daemon in daemons:
            daemon.set("redis_url", proxy.url)
        return proxy

    yield make
    for proxy in proxies:
        proxy.close()


@pytest.fixture
def finish(record_property: Callable[[str, object], None]) -> Callable[..., None]:
    """`finish(system, …)`: the audit that ends a test, counted for the summary."""

    def check(system: System, dropped_oldest: dict[str, int] | None = None) -> None:
        checked = system.audit(dropped_oldest)
        record_property("audited", [checked.messages, checked.deliveries])
        print(f"{_audited(checked)}; {len(system.journal.unknown):,} pushes without a clear answer")

    return check


@pytest.fixture
def finish_chat(record_property: Callable[[str, object], None]) -> Callable[[Party], None]:
    """`finish_chat(party)`: the audit that ends a test of chat, counted for the summary."""

    def check(party: Party) -> None:
        checked = party.audit()
        record_property("audited", [checked.messages, checked.deliveries])
        print(
            f"{_audited(checked)}; {party.said.unclear:,} answers that were unclear, "
            f"{len(party.said.refusals):,} refusals"
        )

    return check


def _audited(checked: Checked | ChatChecked) -> str:
    return f"audited: {checked.messages:,} messages, {checked.deliveries:,} deliveries"
