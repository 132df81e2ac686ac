"""Connectors that leave by themselves: drained, rolled, full, and found to be out of date."""

from __future__ import annotations

from collections.abc import Callable

from tests.faults.pushing import Steady, batches, singles
from tests.faults.raw import RawDevice
from tests.faults.system import System


def test_a_roll_of_all_connectors_under_load_loses_nothing(
    make_system: Callable[..., System], finish: Callable[..., None]
) -> None:
    """Each gets SIGTERM, sends its devices to the others, ends with 0 and is started again."""
    system = make_system(connectors=3)
    pairs = system.register(30)
    system.bind("ann", pairs[:3])
    one, two, three = system.connectors
    for place, order in enumerate(([one, two, three], [two, three, one], [three, one, two])):
        system.fleet(pairs[place::3], order)
    system.wait_connected(pairs)
    targets = system.mixed_targets(pairs)
    with (
        Steady(batches(system.pusher("batches"), targets, 20), 0.05),
        Steady(singles(system.pusher("singles"), targets), 0.01),
    ):
        for connector in system.connectors:
            system.wait_accepted(100)
            connector.stop()
            assert connector.exit_status == 0
            system.wait_accepted(100)
            connector.start()
        system.wait_accepted(100)
    said = [state for pair in pairs for state in system.records[pair.token].states]
    assert not any("error" in str(state) for state in said), said
    finish(system)


def test_a_drain_ordered_over_http_empties_the_connector_and_ends_it(
    make_system: Callable[..., System], finish: Callable[..., None]
) -> None:
    system = make_system(connectors=2)
    first, second = system.connectors
    pairs = system.register(12)
    system.fleet(pairs, [first, second])
    system.wait_connected(pairs)
    with Steady(batches(system.pusher(), [system.everyone()], 10), 0.05):
        system.wait_accepted(100)
        path = "/v1/nodes/connector1/drain"
        assert system.api.post(path, system.admin_key, {"rate": 100})[0] == 202
        system.wait(lambda: not first.running, "the drained connector has ended")
        assert first.exit_status == 0
        system.wait_accepted(100)
    first.start()
    finish(system)


def test_the_last_connector_stops_at_once(
    make_system: Callable[..., System], finish: Callable[..., None]
) -> None:
    """Its devices are told to come back, and come back when it is there again."""
    system = make_system(connector_drain_rate="1")  # by that rate it would take a while
    (connector,) = system.connectors
    pairs = system.register(40)
    system.fleet(pairs)
    system.wait_connected(pairs)
    connector.stop()
    assert connector.exit_status == 0
    pusher = system.pusher()
    assert pusher.push(system.everyone()).accepted
    connector.start()
    system.wait_connected(pairs, times=2)
    finish(system)


def test_a_second_signal_ends_a_drain(
    make_system: Callable[..., System], finish: Callable[..., None]
) -> None:
    system = make_system(connectors=2, connector_drain_rate="1")
    first, second = system.connectors
    pairs = system.register(60)
    system.fleet(pairs, [first, second])
    system.wait_connected(pairs)
    first.signal_stop()
    system.wait(lambda: system.disconnections(pairs) > 0, "the drain is under way")
    assert first.running
    first.stop()
    assert first.exit_status == 0
    first.start()
    assert system.pusher().push(system.everyone()).accepted
    finish(system)


def test_a_full_connector_sends_devices_to_another(
    make_system: Callable[..., System], finish: Callable[..., None]
) -> None:
    system = make_system(connectors=2, connector_max_connections="10")
    first, _ = system.connectors
    pairs = system.register(16)
    system.fleet(pairs, [first])  # they know only the one
    system.wait_connected(pairs)
    assert system.pusher().push(system.everyone()).accepted
    finish(system)


def test_a_connector_that_stood_still_finds_out_that_its_sessions_were_taken(
    make_system: Callable[..., System], finish: Callable[..., None]
) -> None:
    """Also when the order to end them is lost with its subscription."""
    system = make_system(connectors=2)
    first, second = system.connectors
    pairs = system.register(6)
    stale = [RawDevice(first.device_port) for _ in pairs]
    for device, pair in zip(stale, pairs, strict=True):
        device.connect(pair)
    first.pause()
    system.fleet(pairs, [second])
    system.wait_connected(pairs)
    system.redis.call("CLIENT", "KILL", "TYPE", "pubsub")
    first.resume()
    for device in stale:
        system.wait(lambda device=device: device.ended_with() == "taken_over", "it is let go")
        device.close()
    assert system.pusher().push(system.everyone()).accepted
    finish(system)
