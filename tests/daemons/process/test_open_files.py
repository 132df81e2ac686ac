"""How many connections a limit of open files leaves room for."""

from __future__ import annotations

import pytest

from push.daemons.config.errors import StartError
from push.daemons.config.loading import load
from push.daemons.config.settings import Settings
from push.daemons.process.open_files import (
    FEW_CONNECTIONS,
    LEAST_CONNECTIONS,
    ConnectionRoom,
    files_needed,
)

SENTINELS = "redis+sentinel://a,b,c/master"


def settings(**options: str) -> Settings:
    return load(options={name.replace("_", "-"): text for name, text in options.items()})


@pytest.mark.parametrize("role", ["connector", "api", "sub", "group"])
def test_below_what_a_daemon_needs_the_start_is_refused(role: str) -> None:
    needed = files_needed(Settings(), {role})
    ConnectionRoom(Settings(), {role}, needed)
    with pytest.raises(StartError, match=rf"may have {needed - 1} files open and needs at least"):
        ConnectionRoom(Settings(), {role}, needed - 1)


def test_every_server_counts() -> None:
    one, three, sentinels, zookeeper = (
        files_needed(settings(**options), {"connector"})
        for options in (
            {"redis_url": "redis://a"},
            {"redis_url": '["redis://a", "redis://b", "redis://c"]'},
            {"redis_url": SENTINELS},
            {"redis_url": "redis://a", "zookeeper_hosts": "a:1"},
        )
    )
    assert one < zookeeper
    assert one < sentinels
    assert three >= one + 2 * 3


def test_what_was_asked_for_and_fits_is_not_told() -> None:
    room = ConnectionRoom(settings(connector_max_connections="40"), {"connector"}, 1024)
    assert (room.count, room.notes) == (40, [])


def test_a_configured_bound_that_does_not_fit_is_told() -> None:
    room = ConnectionRoom(settings(connector_max_connections="100000"), {"connector"}, 4096)
    (note,) = room.notes
    assert 3800 < room.count < 4096
    assert f"room for {room.count} connections instead of the 100000 of [connector]" in note
    assert "4096 files open" in note


def test_a_derived_bound_is_told_when_it_is_small() -> None:
    needed = files_needed(Settings(), {"connector"})
    room = ConnectionRoom(Settings(), {"connector"}, needed)
    assert room.count == LEAST_CONNECTIONS
    assert f"room for {LEAST_CONNECTIONS} connections only" in room.notes[0]
    large = ConnectionRoom(Settings(), {"connector"}, needed + FEW_CONNECTIONS)
    assert large.notes == []


def test_a_daemon_without_devices_has_nothing_to_tell() -> None:
    assert ConnectionRoom(Settings(), {"api"}, 200).notes == []
