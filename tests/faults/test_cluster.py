"""Devices that find their connectors through push-sub, in a cluster that is kept in ZooKeeper."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import pairwise

import pytest

from tests.faults.pushing import Steady, batches, singles
from tests.faults.system import System

DEVICES = 60


def make_cluster(make_system: Callable[..., System]) -> System:
    """Three connectors, two APIs, a push-sub, and each knows of all."""
    system = make_system(connectors=3, apis=2, sub=True, zookeeper=True)
    system.wait_registered()
    return system


def test_push_sub_spreads_devices_and_every_api_reaches_each_of_them_once(
    make_system: Callable[..., System], finish: Callable[..., None]
) -> None:
    system = make_cluster(make_system)
    pairs = system.register(DEVICES)
    system.fleet(pairs)
    system.wait_connected(pairs)
    # They came at once, before any connector told of sessions: push-sub knows whom it sent where.
    counts = Counter(system.server_of(pair) for pair in pairs)
    assert set(counts) == {connector.url for connector in system.connectors}
    assert min(counts.values()) >= DEVICES / 3 / 2, counts
    for api in system.apis:
        pusher = system.pusher(api.name, api)
        assert all(attempt.accepted for attempt in pusher.batch([system.to(p) for p in pairs]))
        assert pusher.push(system.everyone()).accepted
    finish(system)
    assert {len(record.received) for record in system.records.values()} == {4}


def test_devices_of_a_killed_connector_go_to_others_by_themselves(
    make_system: Callable[..., System], finish: Callable[..., None]
) -> None:
    """Push-sub still names the dead one until its session in ZooKeeper has lapsed."""
    system = make_cluster(make_system)
    victim = system.connectors[0]
    pairs = system.register(DEVICES)
    system.bind("ann", pairs[:3])
    system.fleet(pairs)
    system.wait_connected(pairs)
    there = [pair for pair in pairs if system.server_of(pair) == victim.url]
    elsewhere = [pair for pair in pairs if pair not in there]
    assert there
    targets = system.mixed_targets(pairs)
    with (
        Steady(batches(system.pusher("batches"), targets, 20), 0.05),
        Steady(singles(system.pusher("singles", system.apis[1]), targets), 0.02),
    ):
        system.wait_accepted(100)
        victim.kill()
        for pair in there:
            system.wait(
                lambda pair=pair: system.server_of(pair) not in (None, victim.url),
                lambda pair=pair: f"{pair.token} is elsewhere: {system.records[pair.token].states}",
            )
        system.wait(lambda: victim.url not in system.given_out(), "the dead one is not given out")
        system.wait_accepted(100)
        victim.start()
        system.wait_registered()
        system.wait_accepted(100)
    assert not system.disconnections(elsewhere)
    finish(system)


def test_a_roll_of_all_connectors_finds_each_device_a_place(
    make_system: Callable[..., System], finish: Callable[..., None]
) -> None:
    """Drained by order, started again, and the next when it is registered."""
    system = make_cluster(make_system)
    pairs = system.register(DEVICES)
    system.bind("ann", pairs[:3])
    system.fleet(pairs)
    system.wait_connected(pairs)
    targets = system.mixed_targets(pairs)
    with (
        Steady(batches(system.pusher("batches"), targets, 20), 0.05),
        Steady(singles(system.pusher("singles", system.apis[1]), targets), 0.02),
    ):
        for connector in system.connectors:
            path = f"/v1/nodes/{connector.name}/drain"
            assert system.api.post(path, system.admin_key, {})[0] == 202
            system.wait(lambda c=connector: not c.running, f"{connector.name} has ended")
            assert connector.exit_status == 0
            connector.start()
            system.wait_registered()
        system.wait_accepted(100)
    # No connector ended while it had devices: each was told to go.
    for pair in pairs:
        states = system.records[pair.token].states
        for before, after in pairwise(states):
            assert before.state != "connected" or "draining" in after.detail, states
    finish(system)


@pytest.mark.parametrize("how", ["killed", "frozen"])
def test_without_zookeeper_nobody_is_disconnected_and_all_goes_on(
    make_system: Callable[..., System], finish: Callable[..., None], how: str
) -> None:
    """Also for a device that comes meanwhile: push-sub goes by what it knew last."""
    system = make_cluster(make_system)
    zookeeper = system.zookeeper
    assert zookeeper is not None
    assert system.sub is not None
    pairs = system.register(DEVICES)
    early, late = pairs[: DEVICES // 2], pairs[DEVICES // 2 :]
    system.bind("ann", pairs[:3])
    system.fleet(early)
    system.wait_connected(early)
    targets = system.mixed_targets(pairs)
    with (
        Steady(batches(system.pusher("batches"), targets, 20), 0.05),
        Steady(singles(system.pusher("singles", system.apis[1]), targets), 0.02),
    ):
        system.wait_accepted(100)
        if how == "killed":
            zookeeper.kill()
        else:
            zookeeper.pause()
        for daemon in system.daemons:
            # And goes on being ready: a load balancer would take out all of them at once.
            system.wait(daemon.notes, f"{daemon.name} has noticed")
            assert any("ZooKeeper" in note and "is unreachable" in note for note in daemon.notes())
        system.fleet(late)
        system.wait_connected(late)
        for pair in pairs:
            ahead = system.received(pair)
            system.wait(lambda p=pair, n=ahead: system.received(p) > n, "it receives")
        zookeeper.ensure_running()
        for daemon in system.daemons:
            system.wait(lambda daemon=daemon: not daemon.notes(), f"{daemon.name} has seen it")
        # One that knew nothing before finds all connectors in ZooKeeper.
        system.sub.kill()
        system.sub.start()
        system.wait_registered()
        system.wait_accepted(100)
    assert not system.disconnections(pairs)
    finish(system)
