"""Nothing of what people say to each other is lost, and nobody hears what is not for him.

They talk over both doors, with one Redis server and with three, while something is killed or stands
still."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.faults.conversing import Party
from tests.faults.speaking import Lane
from tests.faults.system import System

USERS = ("anna", "bob", "carol", "dave")
QUIET = {"chat_messages_per_minute": "0"}

MakeSystem = Callable[..., System]
FinishChat = Callable[[Party], None]

servers = pytest.mark.parametrize("servers", [1, 3], ids=["one server", "three servers"])


@servers
def test_a_connector_killed_while_people_talk_loses_nothing(
    make_system: MakeSystem, finish_chat: FinishChat, servers: int
) -> None:
    """Those whom it had go to the other one, and say again what was not answered."""
    system = make_system(connectors=2, groups=1, servers=servers, **QUIET)
    with Party(system, USERS) as party:
        for connector in system.connectors:
            party.wait_answered(60)
            connector.kill()
            party.wait_answered(60)
            connector.start()
        party.wait_answered(60)
    finish_chat(party)


def test_redis_killed_while_people_talk_loses_nothing_that_was_answered(
    make_system: MakeSystem, finish_chat: FinishChat
) -> None:
    system = make_system(connectors=2, groups=1, **QUIET)
    with Party(system, USERS) as party:
        for _ in range(3):
            party.wait_answered(60)
            system.redis.kill()
            party.wait_unclear()
            system.redis.start()
        party.wait_answered(60)
    finish_chat(party)


@servers
def test_a_push_group_killed_while_a_backend_talks_loses_nothing(
    make_system: MakeSystem, finish_chat: FinishChat, servers: int
) -> None:
    system = make_system(connectors=2, groups=2, servers=servers, **QUIET)
    with Party(system, USERS) as party:
        for door in system.groups:
            party.wait_answered(60)
            door.kill()
            party.wait_unclear()
            door.start()
        party.wait_answered(60)
    finish_chat(party)


def coming_and_going(party: Party, guest: str) -> Callable[[Lane], None]:
    """He is added and talks a little; he is removed, or leaves, and is soon added again."""
    number = 0

    def step(lane: Lane) -> None:
        nonlocal number
        number += 1
        lane.add(party.group, guest)
        lane.say(guest, party.conversation)
        lane.remove(party.group, guest, leaves=number % 2 == 0)
        lane.say(guest, party.conversation)
        if number % 3 == 0:
            lane.add(party.group, guest)

    return step


def end_as_members(party: Party, *guests: str) -> None:
    """The last of those who came and went is there at the end."""
    lane = party.lane("end")
    for guest in guests:
        lane.add(party.group, guest)
        lane.say(guest, party.conversation)


@servers
def test_who_comes_and_goes_while_people_talk_hears_what_is_said_while_he_is_there(
    make_system: MakeSystem, finish_chat: FinishChat, servers: int
) -> None:
    """Also while a connector is killed: those it had come back in the middle of it."""
    system = make_system(connectors=2, groups=2, servers=servers, **QUIET)
    with Party(system, USERS[:3], ["gina", "gus", "greg"]) as party:
        for number, guest in enumerate(party.guests):
            party.lane(f"guest{number}", number).begin(coming_and_going(party, guest))
        party.wait_answered(150)
        system.connectors[0].kill()
        party.wait_answered(60)
        system.connectors[0].start()
        party.wait_answered(60)
        party.end_lanes()
        end_as_members(party, *party.guests[:2])
    finish_chat(party)


@pytest.mark.parametrize("fault", ["killed", "paused"])
def test_each_of_three_servers_hurt_while_people_talk_come_and_go_loses_nothing(
    make_system: MakeSystem, finish_chat: FinishChat, fault: str
) -> None:
    """What several servers must do is done by itself when they can."""
    system = make_system(connectors=2, groups=2, servers=3, **QUIET)
    with Party(system, USERS[:3], ["gina", "gus", "greg"]) as party:
        for number, guest in enumerate(party.guests):
            party.lane(f"guest{number}", number).begin(coming_and_going(party, guest))
        for server in system.servers:
            party.wait_answered(60)
            if fault == "killed":
                server.kill()
                party.wait_unclear()
                server.start()
            else:
                server.pause()
                party.wait_unclear()
                server.resume()
        party.wait_answered(60)
        party.end_lanes()
        end_as_members(party, *party.guests[:2])
    finish_chat(party)


def test_what_a_killed_daemon_left_for_other_servers_is_done_by_others(
    make_system: MakeSystem, finish_chat: FinishChat
) -> None:
    """Everybody who had begun something is killed while a server cannot take it."""
    system = make_system(connectors=2, groups=2, servers=3, **QUIET)
    with Party(system, USERS[:3], ["gina", "gus", "greg"]) as party:
        for number, guest in enumerate(party.guests):
            party.lane(f"guest{number}", number).begin(coming_and_going(party, guest))
        for server, connector, door in zip(
            system.servers, [*system.connectors, None], [None, *system.groups], strict=True
        ):
            party.wait_answered(60)
            hurt = [daemon for daemon in (connector, door) if daemon is not None]
            server.pause()
            party.wait_unclear()
            for daemon in hurt:
                daemon.kill()
            server.resume()
            for daemon in hurt:
                daemon.start()
        party.wait_answered(60)
        party.end_lanes()
        end_as_members(party, *party.guests[:2])
    finish_chat(party)


@servers
def test_a_group_dismissed_while_people_talk_ends_although_who_does_it_is_killed(
    make_system: MakeSystem, finish_chat: FinishChat, servers: int
) -> None:
    """With many members it takes a while to let them go; others do the rest."""
    system = make_system(connectors=2, groups=2, servers=servers, **QUIET)
    with Party(system, USERS) as party:
        party.add_away(4000 if servers == 1 else 450)
        party.wait_answered(60)
        dismissing = party.dismiss()
        system.groups[0].kill()
        left = party.members_left()
        dismissing.join()
        system.groups[0].start()
        party.wait_answered(30)
    print(f"{left} members were left when it was killed")
    party.wait_nothing_left()
    finish_chat(party)
