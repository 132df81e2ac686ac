"""One fault after the other, and into the recovery from the one before."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

from tests.amounts import amount
from tests.faults.pushing import Steady, batches, singles
from tests.faults.system import System

ROUNDS = amount(1, 2)


def test_faults_that_fall_into_each_others_recovery_lose_nothing(
    make_system: Callable[..., System], finish: Callable[..., None]
) -> None:
    """Connectors, the API, Redis, its connections and devices, while devices come and go."""
    system = make_system(connectors=2)
    first, second = system.connectors
    pairs = system.register(16)
    system.bind("ann", pairs[:3])
    steady = system.fleet(pairs[:5], [first, second])
    system.fleet(pairs[5:10], [second, first])
    restless = system.fleet(pairs[10:], [first, second], restless=True)
    system.wait_connected(pairs)
    targets = system.mixed_targets(pairs)
    redis = system.redis
    with ExitStack() as lanes:
        lanes.enter_context(Steady(batches(system.pusher("batches"), targets, 20), 0.03))
        lanes.enter_context(Steady(singles(system.pusher("a"), targets), 0.01))
        lanes.enter_context(Steady(singles(system.pusher("b"), targets), 0.01))
        for _ in range(ROUNDS):
            system.wait_accepted(150)
            first.kill()
            redis.kill()
            redis.start()
            first.start()
            system.wait_accepted(150)
            steady.kill()
            redis.call("CLIENT", "KILL", "TYPE", "pubsub")
            redis.call("CLIENT", "KILL", "TYPE", "normal")
            second.kill()
            steady.start()
            second.start()
            system.wait_accepted(150)
            first.pause()
            redis.kill()
            system.api.kill()
            redis.start()
            system.api.start()
            first.resume()
            system.wait_accepted(150)
            redis.pause()
            second.stop()
            second.begin()
            redis.resume()
            second.wait_for_line("listening: http")
    restless.calm()
    finish(system)
