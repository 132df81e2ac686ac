"""Clocks that go back: order and expiry go by one clock that does not (architecture, rule 1).

The system's clock cannot be set in a test. libfaketime stands between a process and the kernel and
shifts the time of the day by what a file says, which may change while the process runs.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.processes import Process
from tests.faults.pushing import Pusher, Steady, batches
from tests.faults.raw import Pair
from tests.faults.system import System

SECOND_US = 1_000_000


class FakeTime:
    """A shift of the time of the day for processes that are started with `environment`."""

    def __init__(self, folder: Path) -> None:
        libraries = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
        if not libraries:
            pytest.skip("libfaketime is not installed (Debian: faketime)")
        self._file = folder / "faketime"
        self.environment = {
            "LD_PRELOAD": str(libraries[0]),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        self.shift("+0")

    def shift(self, shift: str) -> None:
        """`"+1h"`, `"-1h"`: at once, in every process that was started with `environment`."""
        new = self._file.with_suffix(".new")
        new.write_text(shift)
        new.rename(self._file)

    def check(self, *processes: Process) -> None:
        """The processes run under it: else the test would test nothing."""
        for process in processes:
            assert "libfaketime" in Path(f"/proc/{process.pid}/maps").read_text()


def wait_until_older_than(system: System, pusher: Pusher, probe: Pair, seconds: float) -> None:
    """Until the clock that offsets are of has gone on by `seconds`."""
    record = system.records[probe.token]

    def now_us() -> int:
        attempt = pusher.push(system.to(probe))
        assert attempt.accepted
        system.wait(lambda: record.refresh() or attempt.id in record.ids, "the probe arrives")
        return max(received.offset for received in record.received)

    begin = now_us()
    system.wait(lambda: now_us() > begin + seconds * SECOND_US, "the clock goes on")


def test_redis_started_again_with_its_clock_an_hour_back_goes_on_from_where_it_was(
    make_system: Callable[..., System], finish: Callable[..., None], tmp_path: Path
) -> None:
    """Also when all daemons are new. What was to live 30 minutes lives, what was to live a second
    does not."""
    system = make_system(start=False)
    clock = FakeTime(tmp_path)
    clock.shift("+1h")
    system.redis.environment = clock.environment
    system.start()
    clock.check(system.redis)
    (connector,) = system.connectors
    pairs = system.register(6)
    system.bind("ann", pairs[:3])
    away, probe = pairs[0], pairs[1]
    system.fleet(pairs[1:])
    system.wait_connected(pairs[1:])
    pusher = system.pusher()
    targets = system.mixed_targets(pairs)
    assert all(attempt.accepted for attempt in pusher.batch(targets * 50))
    lives = pusher.push(system.to(away), ttl=1800)
    expires = [pusher.push(system.to(away), ttl=1, may_expire=True)]
    assert lives.accepted
    assert expires[0].accepted

    with Steady(batches(system.pusher("steady"), targets, 8), 0.02):
        system.wait_accepted(100)
        system.redis.kill()
        clock.shift("+0")
        system.redis.start()
        system.wait_accepted(100)
        for daemon in (connector, system.api):
            daemon.kill()
            daemon.start()
        system.wait_accepted(100)

    expires.append(pusher.push(system.to(away), ttl=1, may_expire=True))
    assert expires[1].accepted
    wait_until_older_than(system, pusher, probe, 1.1)
    system.fleet([away])
    assert all(attempt.accepted for attempt in pusher.batch(targets * 50))
    system.wait_caught_up()
    assert not {attempt.id for attempt in expires} & system.records[away.token].ids
    finish(system)


def test_a_clock_of_redis_that_jumps_while_it_runs_changes_no_order(
    make_system: Callable[..., System], finish: Callable[..., None], tmp_path: Path
) -> None:
    """Forth by a minute, and back by hours: nobody is disconnected, nothing is lost or late."""
    system = make_system(connectors=2, start=False)
    clock = FakeTime(tmp_path)
    system.redis.environment = clock.environment
    system.start()
    clock.check(system.redis)
    pairs = system.register(6)
    system.bind("ann", pairs[:3])
    away = pairs[0]
    system.fleet(pairs[1:])
    system.wait_connected(pairs[1:])
    pusher = system.pusher()
    targets = system.mixed_targets(pairs)
    with Steady(batches(system.pusher("steady"), targets, 8), 0.02):
        for shift in ("-1h", "+0", "+1m", "-2h"):
            system.wait_accepted(100)
            clock.shift(shift)
        system.wait_accepted(100)
    expires = pusher.push(system.to(away), ttl=1, may_expire=True)
    assert expires.accepted
    wait_until_older_than(system, pusher, pairs[1], 1.1)
    system.fleet([away])
    system.wait_caught_up()
    assert expires.id not in system.records[away.token].ids
    assert not system.disconnections(pairs[1:])
    finish(system)


def test_daemons_whose_clocks_are_wrong_and_jump_agree_on_the_order(
    make_system: Callable[..., System], finish: Callable[..., None], tmp_path: Path
) -> None:
    """The API and one connector are an hour late, then two, then right: it does not matter."""
    system = make_system(connectors=2, start=False)
    clock = FakeTime(tmp_path)
    clock.shift("-1h")
    wrong, right = system.connectors
    wrong.environment = system.api.environment = clock.environment
    system.start()
    clock.check(wrong, system.api)
    pairs = system.register(6)
    system.bind("ann", pairs[:3])
    away = pairs[0]
    system.fleet(pairs[1:3], [wrong])
    system.fleet(pairs[3:], [right])
    system.wait_connected(pairs[1:])
    pusher = system.pusher()
    targets = system.mixed_targets(pairs)
    expires = pusher.push(system.to(away), ttl=1, may_expire=True)
    lives = pusher.push(system.to(away), ttl=600)
    assert expires.accepted
    assert lives.accepted
    with Steady(batches(system.pusher("steady"), targets, 8), 0.02):
        for shift in ("-2h", "+0", "+1h", "-1h"):
            system.wait_accepted(100)
            clock.shift(shift)
        system.wait_accepted(100)
    wait_until_older_than(system, pusher, pairs[1], 1.1)
    system.fleet([away], [wrong])
    system.wait_caught_up()
    assert expires.id not in system.records[away.token].ids
    assert not system.disconnections(pairs[1:])
    finish(system)
