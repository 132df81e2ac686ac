"""The master is killed under a deployment that found it through sentinels."""

from __future__ import annotations

from collections.abc import Callable

from tests.faults.pushing import Steady, batches, singles
from tests.faults.system import System
from tests.redis.sentinels import Cluster


def test_a_master_that_is_killed_loses_nothing_that_was_answered(
    make_system: Callable[..., System], finish: Callable[..., None]
) -> None:
    """Nobody is disconnected, no daemon is restarted, and it goes on at the new master."""
    cluster = Cluster()
    system = make_system(connectors=2, redis=cluster)
    pairs = system.register(8)
    system.bind("ann", pairs[:3])
    system.fleet(pairs[:4], system.connectors)
    system.fleet(pairs[4:], system.connectors[::-1])
    system.wait_connected(pairs)
    targets = system.mixed_targets(pairs)
    with (
        Steady(batches(system.pusher("batches"), targets, 20), 0.05),
        Steady(singles(system.pusher("singles"), targets), 0.01),
    ):
        system.wait_accepted(200)
        old = cluster.master()
        old.kill()
        system.wait(lambda: cluster.has_switched_from(old), "there is another master")
        old.start()
        system.wait_accepted(200)
        system.wait(lambda: all(daemon.ready() for daemon in system.daemons), "all are ready")
    assert not system.disconnections(pairs)
    finish(system)


def test_sessions_that_only_a_killed_master_knew_of_go_on(
    make_system: Callable[..., System], finish: Callable[..., None]
) -> None:
    """They were accepted while no replica had what the master wrote."""
    cluster = Cluster()
    system = make_system(connectors=2, redis=cluster)
    pairs = system.register(4)
    system.bind("ann", pairs[:2])
    old, replicas = cluster.master(), cluster.replicas()
    for replica in replicas:
        replica.cut_off()
    system.fleet(pairs[:2], system.connectors)
    system.fleet(pairs[2:], system.connectors[::-1])
    system.wait_connected(pairs)
    old.kill()
    for replica in replicas:
        replica.join_again()
    system.wait(lambda: cluster.has_switched_from(old), "there is another master")
    old.start()
    with Steady(singles(system.pusher("singles"), system.mixed_targets(pairs)), 0.01):
        system.wait_accepted(50)
    assert not system.disconnections(pairs)
    finish(system)
