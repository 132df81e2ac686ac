"""Where a daemon is registered."""

from __future__ import annotations

import random

from push.cluster.registry.interface import Registry
from push.cluster.registry.redis_lease import RedisLease
from push.cluster.registry.zookeeper import ZooKeeperRegistry
from push.daemons.config.settings import Settings
from push.redis.client import RedisClient
from push.runtime.ports import Reactor


def make_registry(reactor: Reactor, settings: Settings, first: RedisClient) -> Registry:
    """In ZooKeeper, if one is configured, else in the first Redis server."""
    hosts = settings.zookeeper.hosts
    if hosts:
        return ZooKeeperRegistry(reactor, hosts, random.SystemRandom())
    alone = settings.redis.url.embedded
    return RedisLease(reactor, first, random.SystemRandom(), alone=alone)
