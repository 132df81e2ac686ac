"""Connections that have come and are not served yet: who they are, and whose turn it is."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from push.http.edge.arrivals import Arrival, ArrivalsSocket, WaitingArrivals
from push.wire.addresses import Networks
from tests.waiting import DEADLINE_SECONDS, wait_for

NOBODY = Networks()


def owner_of(data: bytes) -> str:
    return "backend" if data.startswith(b"key") else ""


class Door:
    """A listening socket of loopback, and those who dial it."""

    def __init__(self) -> None:
        self.listening = ArrivalsSocket()
        self.listening.bind(("127.0.0.1", 0))
        self.listening.listen()
        self.listening.setblocking(False)
        self.clients: list[socket.socket] = []

    def dial(self, data: bytes = b"") -> socket.socket:
        client = socket.create_connection(self.listening.getsockname(), DEADLINE_SECONDS)
        self.clients.append(client)
        client.sendall(data)
        return client

    def arrival(self, data: bytes = b"") -> Arrival:
        """Of one that dials now."""
        self.dial(data)
        found: list[Arrival] = []

        def comes() -> bool:
            try:
                found.append(self.listening.next_arrival())
            except BlockingIOError:
                return False
            return True

        wait_for(comes)
        return found[0]


@pytest.fixture
def door() -> Iterator[Door]:
    found = Door()
    yield found
    for client in (found.listening, *found.clients):
        client.close()


def arrivals(door: Door, *addresses: str) -> list[Arrival]:
    """As if they came from there."""
    made = []
    for address in addresses:
        arrival = door.arrival()
        arrival.address, arrival.line = (address, 1), address
        made.append(arrival)
    return made


def is_closed(arrival: Arrival) -> bool:
    return arrival.socket.fileno() < 0


def close(*waiting: Arrival) -> None:
    for arrival in waiting:
        arrival.socket.close()


def test_who_comes_is_seen_by_what_was_brought_which_can_be_read_afterwards(door: Door) -> None:
    arrival = door.arrival(b"key of a backend")
    wait_for(lambda: (arrival.look(owner_of), not arrival.is_silent)[1])
    assert arrival.owner == "backend"
    assert arrival.socket.recv(100) == b"key of a backend"
    close(arrival)


def test_one_that_has_ended_without_a_byte_is_seen(door: Door) -> None:
    arrival = door.arrival()
    assert arrival.look(owner_of)
    door.clients[0].close()
    wait_for(lambda: not arrival.look(owner_of))
    assert arrival.owner == ""
    close(arrival)


def test_the_one_that_is_let_in_is_accepted_once(door: Door) -> None:
    arrival = door.arrival()
    door.listening.let_in = arrival
    assert door.listening.accept() == (arrival.socket, arrival.address)
    with pytest.raises(BlockingIOError):
        door.listening.accept()
    close(arrival)


def test_addresses_take_turns_and_each_has_an_order(door: Door) -> None:
    strangers = WaitingArrivals(10, NOBODY)
    waiting = arrivals(door, "192.0.2.1", "192.0.2.1", "192.0.2.1", "192.0.2.2")
    for arrival in waiting:
        strangers.add(arrival)
    first, second, third, of_another = waiting
    assert [strangers.pop() for _ in range(4)] == [first, of_another, second, third]
    assert strangers.size == 0
    close(*waiting)


@pytest.mark.parametrize("is_proxy", [False, True])
def test_an_address_that_has_most_places_gives_one_up(door: Door, is_proxy: bool) -> None:
    proxies = Networks(["192.0.2.1"] if is_proxy else [])
    strangers = WaitingArrivals(3, proxies)
    waiting = arrivals(door, "192.0.2.1", "192.0.2.1", "192.0.2.2")
    for arrival in waiting:
        strangers.add(arrival)
    assert strangers.is_full is is_proxy
    if not is_proxy:
        (late,) = arrivals(door, "192.0.2.3")
        strangers.add(late)
        assert [is_closed(each) for each in waiting] == [True, False, False]
        assert strangers.size == 3
        assert strangers.is_full, "three addresses have a place each"
    strangers.close()
    assert strangers.size == 0


def show_who_they_are(door: Door, strangers: WaitingArrivals) -> list[Arrival]:
    found: list[Arrival] = []
    wait_for(lambda: found.extend(strangers.recognised(owner_of)) or found)
    return found


def test_one_that_shows_a_key_later_waits_no_longer(door: Door) -> None:
    strangers = WaitingArrivals(10, NOBODY)
    late, silent = door.arrival(), door.arrival()
    for arrival in (late, silent):
        arrival.look(owner_of)
        strangers.add(arrival)
    assert strangers.recognised(owner_of) == []
    door.clients[0].sendall(b"key")
    assert show_who_they_are(door, strangers) == [late]
    assert strangers.pop() is silent
    close(late, silent)


def test_what_a_stranger_has_brought_is_looked_at_once(door: Door) -> None:
    looks: list[bytes] = []

    def look(data: bytes) -> str:
        looks.append(data)
        return ""

    strangers = WaitingArrivals(10, NOBODY)
    strangers.add(door.arrival(b"no key"))
    wait_for(lambda: strangers.recognised(look) == [] and looks)
    strangers.recognised(look)
    assert looks == [b"no key"]
    strangers.close()
