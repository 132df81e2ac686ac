"""Several Redis servers that share the streams (rule 12): each is killed and paused in its turn."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

from tests.faults.processes import Daemon
from tests.faults.pushing import Steady, batches, singles
from tests.faults.system import System


def test_each_of_three_servers_killed_loses_nothing_that_was_answered(
    make_system: Callable[..., System], finish: Callable[..., None]
) -> None:
    """A connector is killed as well; devices of users have streams on several servers."""
    system = make_system(connectors=2, servers=3)
    first, second = system.connectors
    pairs = system.register(15)
    for number, user in enumerate(("ann", "bob", "cem")):
        system.bind(user, pairs[3 * number : 3 * number + 3])
    system.fleet(pairs[:8], [first, second])
    system.fleet(pairs[8:], [second, first])
    system.wait_connected(pairs)
    targets = [
        *system.mixed_targets(pairs),
        *(system.to_user(user) for user in ("bob", "cem")),
        *(system.to(pair) for pair in pairs[9:12]),
    ]
    with ExitStack() as lanes:
        lanes.enter_context(Steady(batches(system.pusher("batches"), targets, 40), 0.05))
        for name in ("a", "b"):
            lanes.enter_context(Steady(singles(system.pusher(name), targets), 0.01))
        for server in system.servers:
            system.wait_accepted(200)
            server.kill()
            unknown = len(system.journal.unknown)
            system.wait(
                lambda unknown=unknown: len(system.journal.unknown) > unknown, "a push is refused"
            )
            server.start()
        system.wait_accepted(200)
        first.kill()
        system.wait_accepted(100)
        first.start()
        system.wait_accepted(100)
    assert not system.disconnections(pairs[8:])
    finish(system)


def test_a_paused_server_holds_up_only_what_is_on_it(
    make_system: Callable[..., System], finish: Callable[..., None]
) -> None:
    system = make_system(servers=3)
    pairs = system.register(9)
    system.bind("ann", pairs[:3])
    system.fleet(pairs)
    system.wait_connected(pairs)
    targets = [system.to_user("ann"), *(system.to(pair) for pair in pairs)]
    with Steady(singles(system.pusher(), targets), 0.01):
        for server in system.servers:
            system.wait_accepted(50)
            server.pause()
            system.wait_accepted(50)  # the others go on
            for daemon in system.daemons:
                system.wait(
                    lambda daemon=daemon, url=server.url: url in str(notes_of(daemon)),
                    f"{daemon.name} notes that {server.url} is away, and is ready all the same",
                )
            server.resume()
        system.wait_accepted(50)
    assert not system.disconnections(pairs)
    finish(system)


def notes_of(daemon: Daemon) -> list[str]:
    """What a daemon that is ready has to say."""
    status, answer = daemon.get("/readyz")
    assert status == 200, answer
    return list(answer.get("notes", []))
