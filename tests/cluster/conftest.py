"""A real ZooKeeper, and one shape for a cluster on either registry, so that tests run on both."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.threads import deferToThread

import push
from push.cluster.registry.entry import CONNECTOR, RegistryEntry
from push.cluster.registry.reconciler import ReconcilingRegistry
from push.cluster.registry.redis_lease import RedisLease
from push.cluster.registry.timing import Timing
from push.cluster.registry.zookeeper import ZooKeeperRegistry
from push.redis.client import RedisClient
from push.redis.connection.url import parse_redis_url
from tests.cluster.real_zookeeper import ZooKeeperServer, what_zookeeper_lacks
from tests.waiting import DEADLINE_SECONDS

TIMING = Timing(
    lease=2.0,
    renew=0.3,
    update=0.05,
    verify=0.4,
    retry=0.1,
    notice=0.005,
    stop=1.0,
    reconnect=4.0,
)


# Longer than any wait: what happens does so for another reason than a lease that ran out, and no
# machine is so busy that an entry lapses because its owner got no turn.
NO_LAPSE_SECONDS = 2 * DEADLINE_SECONDS


# --- ZooKeeper ---------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def shared_zookeeper() -> Iterator[ZooKeeperServer]:
    if lacking := what_zookeeper_lacks():
        pytest.skip(lacking)
    server = ZooKeeperServer(max_session_seconds=NO_LAPSE_SECONDS)
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture
def zookeeper_server(shared_zookeeper: ZooKeeperServer) -> ZooKeeperServer:
    """A running ZooKeeper. One that is stopped or paused by a test runs again for the next."""
    shared_zookeeper.ensure_running()
    return shared_zookeeper


# --- A cluster on either registry --------------------------------------------------------------

_chroots = count(1)


class Cluster(ABC):
    """What a test does to a cluster, whatever its registry is kept in."""

    kind: str

    def __init__(self, folder: Path) -> None:
        self.timing = TIMING
        self._folder = folder
        self._stops: list[Callable[[], Any]] = []
        self._members: list[Member] = []

    def let_nothing_lapse(self) -> None:
        """Entries of registries that are made from now on stay until they are withdrawn."""
        self.timing = self.timing._replace(lease=NO_LAPSE_SECONDS)

    @property
    @abstractmethod
    def address(self) -> str:
        """What a member needs to find the registry."""

    @abstractmethod
    def registry(self, **options: Any) -> ReconcilingRegistry:
        """A registry with a connection of its own, started."""

    @abstractmethod
    def stop_store(self) -> None: ...

    @abstractmethod
    def start_store(self) -> None: ...

    @abstractmethod
    def pause_store(self) -> None: ...

    @abstractmethod
    def resume_store(self) -> None: ...

    @abstractmethod
    async def lose_everything(self) -> None:
        """The store forgets everything (and may be away for it)."""

    @abstractmethod
    async def put_raw(self, service: str, instance: str, raw: bytes) -> None:
        """Something of another version, or of nobody, stands in the registry."""

    def member(self, *names: str, boot: str = "b0") -> Member:
        """A process that registers `names`; it tells by `registered()` when it has."""
        member = Member(self._folder, self.kind, self.address, names, boot, self.timing)
        self._members.append(member)
        return member

    async def close(self) -> None:
        for member in self._members:
            member.kill()
        for stop in reversed(self._stops):
            await stop()


class RedisCluster(Cluster):
    kind = "redis"

    def __init__(self, folder: Path, redis: Any) -> None:
        super().__init__(folder)
        self.timing = TIMING._replace(lease=1.2)
        self.redis = redis
        self.servers: list[RedisClient] = []

    @property
    def address(self) -> str:
        return str(self.redis.url)

    def server(self) -> RedisClient:
        from twisted.internet import reactor

        server = RedisClient(reactor, parse_redis_url(self.redis.url), timeout_seconds=1.0)
        server.start()
        self._stops.append(server.stop)
        self.servers.append(server)
        return server

    def registry(self, **options: Any) -> RedisLease:
        from twisted.internet import reactor

        registry = RedisLease(reactor, self.server(), random.Random(), self.timing, **options)
        self._stops.append(registry.stop)
        registry.start()
        return registry

    def stop_store(self) -> None:
        self.redis.stop()

    def start_store(self) -> None:
        self.redis.start()

    def pause_store(self) -> None:
        self.redis.pause()

    def resume_store(self) -> None:
        self.redis.resume()

    async def lose_everything(self) -> None:
        self.redis.call("FLUSHALL")

    async def put_raw(self, service: str, instance: str, raw: bytes) -> None:
        lapses_us = int((time.time() + 60) * 1_000_000)
        self.redis.call(
            "HSET", "push:cluster:entries", f"{service}/{instance}", b"%d bb %b" % (lapses_us, raw)
        )


class ZooKeeperCluster(Cluster):
    kind = "zookeeper"

    def __init__(self, folder: Path, zookeeper: ZooKeeperServer) -> None:
        super().__init__(folder)
        self.zookeeper = zookeeper
        self.chroot = f"/test-{next(_chroots)}"

    @property
    def address(self) -> str:
        return self.zookeeper.hosts + self.chroot

    def registry(self, **options: Any) -> ZooKeeperRegistry:
        from twisted.internet import reactor

        hosts = options.pop("hosts", self.address)
        registry = ZooKeeperRegistry(reactor, hosts, random.Random(), self.timing, **options)
        self._stops.append(registry.stop)
        registry.start()
        return registry

    def stop_store(self) -> None:
        self.zookeeper.stop()

    def start_store(self) -> None:
        self.zookeeper.start()

    def pause_store(self) -> None:
        self.zookeeper.pause()

    def resume_store(self) -> None:
        self.zookeeper.resume()

    async def lose_everything(self) -> None:
        self.zookeeper.stop()
        self.zookeeper.lose_data()
        await deferToThread(self.zookeeper.start)

    async def put_raw(self, service: str, instance: str, raw: bytes) -> None:
        await self.with_client(
            lambda client: client.create(self.path(service, instance), raw, makepath=True)
        )

    def path(self, *names: str) -> str:
        return "/".join([self.chroot, "push", *names])

    async def with_client(self, act: Callable[[Any], Any]) -> Any:
        """Do something with a kazoo client of the test's own, in a thread."""
        from kazoo.client import KazooClient

        def run() -> Any:
            client = KazooClient(hosts=self.zookeeper.hosts)
            client.start()
            try:
                return act(client)
            finally:
                client.stop()
                client.close()

        return await deferToThread(run)


class Member:
    """A process with entries in the registry (see `member.py`)."""

    def __init__(
        self,
        folder: Path,
        kind: str,
        address: str,
        names: tuple[str, ...],
        boot: str,
        timing: Timing,
    ) -> None:
        asked = {
            "kind": kind,
            "address": address,
            "names": names,
            "boot": boot,
            "timing": timing,
        }
        self._said = Path(tempfile.mkstemp(dir=folder)[1])
        with self._said.open("wb") as out:
            self._process = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("member.py")), json.dumps(asked)],
                env={**os.environ, "PYTHONPATH": str(Path(push.__file__).parent.parent)},
                stdout=out,
                stderr=out,
            )

    def said(self) -> str:
        return self._said.read_text()

    def registered(self) -> bool:
        assert self._process.poll() is None, self.said()
        return "registered" in self.said()

    def pause(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest_twisted.async_yield_fixture
async def redis_cluster(
    tmp_path: Path, make_redis: Callable[..., Any]
) -> AsyncIterator[RedisCluster]:
    cluster = RedisCluster(tmp_path, make_redis())
    yield cluster
    await cluster.close()


@pytest_twisted.async_yield_fixture
async def zookeeper_cluster(
    tmp_path: Path, zookeeper_server: ZooKeeperServer
) -> AsyncIterator[ZooKeeperCluster]:
    cluster = ZooKeeperCluster(tmp_path, zookeeper_server)
    yield cluster
    await cluster.close()


@pytest.fixture(params=["redis", "zookeeper"])
def cluster(request: pytest.FixtureRequest) -> Cluster:
    """A cluster on each kind of registry in turn."""
    found: Cluster = request.getfixturevalue(f"{request.param}_cluster")
    return found


# --- Entries -----------------------------------------------------------------------------------


@pytest.fixture
def entry() -> Callable[..., RegistryEntry]:
    """`entry("n1", sessions=3)`: a connector's entry."""

    def make(instance: str, boot: str = "", **fields: Any) -> RegistryEntry:
        return RegistryEntry(
            service=CONNECTOR, instance=instance, boot=boot or f"b{instance}", **fields
        )

    return make
