"""What a listener would tell a client of its address."""

from __future__ import annotations

import socket
from collections import Counter
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import LoopingCall

from push.daemons.config.value_types import ListenAddress
from push.daemons.process.listening import Listener, reachable_name
from push.runtime.bounded_port import ACCEPTS_PER_TURN


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]", "[0:0:0:0:0:0:0:0]", "[::0]"])
def test_the_unspecified_address_is_told_as_this_hosts_name(host: str) -> None:
    name = reachable_name()
    expected = f"tls://{f'[{name}]' if ':' in name else name}:0"
    assert (
        Listener(None, "tls", "x", ListenAddress(f"{host}:6790"), None).public_url("tls")
        == expected
    )


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "192.0.2.7", "push.example"])
def test_another_address_is_told_as_it_is(host: str) -> None:
    listener = Listener(None, "tls", "x", ListenAddress(f"{host}:6790"), None)
    assert listener.public_url("tls") == f"tls://{host}:0"


@pytest_twisted.ensureDeferred
async def test_a_few_connections_are_accepted_in_a_turn(wait_until: Any) -> None:
    """Hundreds that wait do not come in at once: each is read before many more are there."""
    from twisted.internet import reactor

    turn, accepted = [0], Counter[int]()

    class Counting(Factory):
        noisy = False

        def buildProtocol(self, addr: Any) -> Protocol:
            accepted[turn[0]] += 1
            return Protocol()

    def next_turn() -> None:
        turn[0] += 1

    listener = Listener(reactor, "http", "x", ListenAddress("127.0.0.1:0"), Counting())
    listener.privilegedStartService()
    turns = LoopingCall(next_turn)
    clients = [socket.create_connection(("127.0.0.1", listener.port)) for _ in range(100)]
    try:
        turns.start(0)
        await wait_until(lambda: accepted.total() == len(clients))
    finally:
        turns.stop()
        for client in clients:
            client.close()
        await listener.stopService()
    assert max(accepted.values()) <= ACCEPTS_PER_TURN
