"""A member of a cluster in a process of its own, for tests to stop, continue and kill.

Argument: JSON {"kind": "redis" | "zookeeper", "address": …, "names": …, "boot": …, "timing": …}.
It says "registered" on its standard output, and then its problem whenever that changes.
"""

from __future__ import annotations

import json
import random
import sys
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall

from push.cluster.registry.entry import CONNECTOR, RegistryEntry
from push.cluster.registry.reconciler import ReconcilingRegistry
from push.cluster.registry.redis_lease import RedisLease
from push.cluster.registry.timing import Timing
from push.cluster.registry.zookeeper import ZooKeeperRegistry
from push.redis.client import RedisClient
from push.redis.connection.url import parse_redis_url


def say(text: str) -> None:
    print(text, flush=True)


def make(asked: dict[str, Any]) -> ReconcilingRegistry:
    timing = Timing(*asked["timing"])
    if asked["kind"] == "zookeeper":
        return ZooKeeperRegistry(reactor, asked["address"], random.Random(), timing)
    server = RedisClient(reactor, parse_redis_url(asked["address"]), timeout_seconds=1.0)
    server.start()
    return RedisLease(reactor, server, random.Random(), timing)


async def main(asked: dict[str, Any]) -> None:
    registry = make(asked)
    registry.start()
    for name in asked["names"]:
        await registry.register(RegistryEntry(service=CONNECTOR, instance=name, boot=asked["boot"]))
    say("registered")
    told: list[str | None] = [None]

    def tell() -> None:
        if registry.problem != told[0]:
            told[0] = registry.problem
            say(f"problem: {registry.problem}")

    LoopingCall(tell).start(0.05).addErrback(lambda failure: say(failure.getTraceback()))


Deferred.fromCoroutine(main(json.loads(sys.argv[1]))).addErrback(lambda f: say(f.getTraceback()))
reactor.run()  # type: ignore[attr-defined]
