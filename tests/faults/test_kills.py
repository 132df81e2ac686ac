"""SIGKILL: of a connector, of Redis, of a device."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

from tests.faults.pushing import Steady, batches, singles
from tests.faults.system import System


def test_a_connector_killed_in_the_middle_of_a_broadcast_loses_nothing(
    make_system: Callable[..., System], finish: Callable[..., None]
) -> None:
    """Its devices go to the other connector by themselves, or to the restarted one."""
    system = make_system(connectors=2)
    first, second = system.connectors
    pairs = system.register(24)
    system.bind("ann", pairs[:3])
    to_first, to_second, only_first = pairs[:10], pairs[10:20], pairs[20:]
    system.fleet(to_first, [first, second])
    system.fleet(to_second, [second, first])
    system.fleet(only_first, [first])
    system.wait_connected(pairs)
    targets = system.mixed_targets(pairs)
    with Steady(batches(system.pusher(), targets, 40), 0.05):
        for _ in range(2):
            system.wait_accepted(200)
            ahead = system.received(pairs[0])
            system.wait(lambda ahead=ahead: system.received(pairs[0]) > ahead, "it is under way")
            first.kill()
            system.wait_accepted(200)
            first.start()
            system.wait_accepted(200)
    assert system.disconnections(to_first) >= len(to_first)
    assert not system.disconnections(to_second)
    finish(system)


def test_redis_killed_loses_nothing_that_was_answered(
    make_system: Callable[..., System], finish: Callable[..., None]
) -> None:
    """`appendfsync always`: what got a 202 is there after a SIGKILL, and nobody is disconnected."""
    system = make_system(connectors=2)
    pairs = system.register(12)
    system.bind("ann", pairs[:3])
    system.fleet(pairs[:6], system.connectors)
    system.fleet(pairs[6:], system.connectors[::-1])
    system.wait_connected(pairs)
    targets = system.mixed_targets(pairs)
    with ExitStack() as lanes:
        lanes.enter_context(Steady(batches(system.pusher("batches"), targets, 40), 0.05))
        for name in ("a", "b", "c"):
            lanes.enter_context(Steady(singles(system.pusher(name), targets), 0.01))
        for _ in range(4):
            system.wait_accepted(300)
            system.redis.kill()
            unknown = len(system.journal.unknown)
            system.wait(
                lambda unknown=unknown: len(system.journal.unknown) > unknown, "a push is refused"
            )
            system.redis.start()
        system.wait_accepted(300)
    assert not system.disconnections(pairs)
    finish(system)


def test_a_killed_device_gets_everything_when_it_is_back(
    make_system: Callable[..., System], finish: Callable[..., None]
) -> None:
    """What it had not acknowledged comes again, and what it missed comes in order."""
    system = make_system()
    pairs = system.register(6)
    system.bind("ann", pairs[:3])
    system.fleet(pairs[1:])
    fleet = system.fleet(pairs[:1])
    system.wait_connected(pairs)
    targets = system.mixed_targets(pairs)
    with Steady(batches(system.pusher(), targets, 40), 0.04):
        for times in range(1, 6):
            system.wait_connected(pairs[:1], times)
            ahead = system.received(pairs[0])
            system.wait(lambda ahead=ahead: system.received(pairs[0]) > ahead + 50, "it receives")
            if times % 2:
                # Messages wait in its socket, handed out and not acknowledged.
                fleet.pause()
                system.wait_accepted(200)
            fleet.kill()
            system.wait_accepted(120)
            fleet.start()
    assert not system.disconnections(pairs[1:])
    finish(system)
