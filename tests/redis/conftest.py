"""What is behind sentinels, for a test or for a whole module."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.redis.sentinels import Cluster, Sentinel, Server


@pytest.fixture(scope="module")
def started_cluster() -> Iterator[Cluster]:
    cluster = Cluster()
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.remove()


@pytest.fixture
def cluster(started_cluster: Cluster) -> Cluster:
    """A master with two replicas, and three sentinels that are content with them."""
    started_cluster.heal()
    return started_cluster


@pytest.fixture
def run() -> Iterator[Callable[[Any], Any]]:
    """`run(Server())`, `run(Sentinel(…))`: started, and ended after the test."""
    processes: list[Server | Sentinel] = []

    def start(process: Server | Sentinel) -> Server | Sentinel:
        processes.append(process)
        process.start()
        return process

    yield start
    for process in processes:
        process.remove()
