"""Limits on real connections: who floods is slowed and ended, and nobody else notices."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import jwt
import pytest
import pytest_twisted
from msgspec import Struct
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from push.connector.limits.admission import AdmissionLimits
from push.connector.limits.connector_limits import ConnectorLimitSettings
from push.connector.limits.counts import (
    CONNECTIONS_PER_IP,
    CONNECTIONS_PER_USER,
    CONNECTS_PER_MINUTE,
    FRAMES_PER_SECOND,
    MAX_CONNECTIONS,
    MEMORY,
    WAITING_REQUESTS,
)
from push.connector.limits.read_queue import BYTES_PER_TURN, FRAMES_AT_ONCE_PER_TURN
from push.connector.limits.session_rates import Rates
from push.connector.listener import device_factory
from push.connector.requests.dispatch import Caller, Handler
from push.connector.transport.connection import SLICE_BYTES
from push.connector.transport.device_port import DevicePort
from push.session.events import Event, HeartbeatRequested
from push.wire.addresses import Networks
from push.wire.frames import encode_frame
from push.wire.signals import RequestName, Signal
from tests.waiting import WaitUntil

Make = Any
# That of the nodes of these tests (see conftest.py).
JWT_SECRET = b"a secret of at least thirty-two bytes"
PING = encode_frame(Signal.PING)
NO_RATES = Rates(0, 0)


class AnyObject(Struct):
    """The body of any request."""


def settings(**options: Any) -> ConnectorLimitSettings:
    return ConnectorLimitSettings(**{"rates": NO_RATES, **options})


@pytest.fixture
def flooded(make_node: Make, redis_url: str, dial: Make) -> Make:
    """`await flooded(**limits)`: a node with these limits that listens."""

    async def make(**options: Any) -> Any:
        node = await make_node(redis_url, connector_limits=settings(**options))
        node.listen()
        return node

    return make


@pytest.fixture
def sockets() -> Iterator[list[socket.socket]]:
    made: list[socket.socket] = []
    yield made
    for each in made:
        each.close()


def jwt_of(user: str) -> str:
    claims = {"sub": user, "aud": "push", "exp": int(time.time()) + 600}
    return jwt.encode(claims, JWT_SECRET, "HS256")


def dial_silently(node: Any, sockets: list[socket.socket], count: int) -> None:
    """So many connections that say nothing, from this process, whose reactor has to accept them."""
    for _ in range(count):
        made = socket.socket()
        made.setblocking(False)
        made.connect_ex(("127.0.0.1", node.ports[-1].getHost().port))
        sockets.append(made)


def acted(node: Any, limit: str) -> int:
    return int(node.gateway.limits.counts.acted[limit])


@pytest.mark.parametrize("web", [False, True], ids=["tcp", "ws"])
@pytest_twisted.ensureDeferred
async def test_a_turn_works_off_a_bounded_part_of_a_flood(
    make_node: Make, redis_url: str, dial: Make, wait_until: WaitUntil, web: bool
) -> None:
    node = await make_node(redis_url, connector_limits=settings())
    node.listen(web=web)
    flooders = [await dial(node, web=web) for _ in range(8)]
    for flooder in flooders:
        await flooder.register()
        await flooder.connect()
    quiet = await dial(node, web=web)
    await quiet.register()
    await quiet.connect()
    pings = 500  # of all together, several times what a turn may work off
    for flooder in flooders:
        if web:
            for _ in range(pings):
                flooder.send(Signal.PING, {}, message_id=0)
        else:
            flooder.transport.write(PING * pings)
    answered: list[int] = []
    events = node.gateway.events
    handle = events.handle
    done = [0]

    def counted(connection: Any, given: list[Event]) -> None:
        done[0] += sum(type(event) is HeartbeatRequested for event in given)
        handle(connection, given)

    events.handle = counted
    while done[0] < 8 * pings:
        before = done[0]
        await deferLater(reactor, 0)
        answered.append(done[0] - before)
    frame_bytes = len(PING)
    # Two turns, at most: that of the sockets, and that of the queue, before or after it.
    assert max(answered) <= 2 * (
        FRAMES_AT_ONCE_PER_TURN + (2 * SLICE_BYTES + BYTES_PER_TURN) // frame_bytes
    )
    await wait_until(lambda: all(len(each.of(Signal.PING)) == pings for each in flooders))
    await node.push("token", quiet._credentials["token"], data=1)
    await wait_until(lambda: quiet.numbers == [1])


@pytest_twisted.ensureDeferred
async def test_over_its_rate_a_session_is_read_no_more_and_then_ends(
    make_node: Make, redis_url: str, dial: Make, wait_until: WaitUntil
) -> None:
    """The rate is so small that the burst is over at once; the time is that of the rate's own."""
    node = await make_node(
        redis_url, connector_limits=settings(rates=Rates(frames_per_second=10, bytes_per_second=0))
    )
    node.listen()
    flooder = await dial(node)
    await flooder.register()
    await flooder.connect()
    flooder.transport.write(PING * 1_000)
    await wait_until(lambda: acted(node, FRAMES_PER_SECOND) > 0)
    assert len(flooder.of(Signal.PING)) < 200
    await wait_until(lambda: flooder.of(Signal.DISCONNECT))
    (end,) = flooder.of(Signal.DISCONNECT)
    assert json.loads(end.body)["code"] == "rate_limited"
    assert node.gateway.limits.counts.ended[FRAMES_PER_SECOND] == 1


@pytest_twisted.ensureDeferred
async def test_acknowledgements_of_what_was_sent_are_free(
    make_node: Make, redis_url: str, dial: Make, wait_until: WaitUntil
) -> None:
    node = await make_node(
        redis_url, connector_limits=settings(rates=Rates(frames_per_second=2, bytes_per_second=0))
    )
    node.listen()
    client = await dial(node, acks=True)
    await client.register()
    await client.connect()
    for n in range(200):
        await node.push("token", client._credentials["token"], data=n)
    await wait_until(lambda: client.numbers == list(range(200)))
    await wait_until(lambda: node.gateway.counters.acknowledged == 200)
    assert acted(node, FRAMES_PER_SECOND) == 0
    client.transport.write(encode_frame(Signal.PUB_ACK, 0, 999) * 30)
    await wait_until(lambda: acted(node, FRAMES_PER_SECOND) > 0)


@pytest_twisted.ensureDeferred
async def test_requests_that_wait_are_bounded_by_their_bytes(
    flooded: Make, dial: Make, wait_until: WaitUntil
) -> None:
    node = await flooded()
    client = await dial(node)
    await client.register()
    await client.connect()
    gate: Deferred[None] = Deferred()

    async def slow(_caller: Caller, _body: AnyObject) -> None:
        await gate

    node.gateway.requests._handlers = {int(RequestName.CL): Handler(AnyObject, slow)}
    body = b'{"padding":"' + b"x" * 100_000 + b'"}'
    for number in range(1, 41):
        client.write_frame(Signal.PUBLISH, RequestName.CL, number, body)
    await wait_until(lambda: acted(node, WAITING_REQUESTS) > 0)
    for _ in range(20):
        await deferLater(reactor, 0)
    requests = node.gateway.requests
    assert requests.waiting_bytes <= 256 * 1024 + 2 * len(body)
    gate.callback(None)
    await wait_until(lambda: len(client.of(Signal.PUB_ACK)) == 40)
    assert requests.waiting_bytes == 0


@pytest_twisted.ensureDeferred
async def test_answers_that_are_not_read_are_not_made(
    flooded: Make, dial: Make, wait_until: WaitUntil
) -> None:
    node = await flooded()
    client = await dial(node)
    await client.register()
    await client.connect()
    made = [0]
    text = "x" * 50_000

    async def large(_caller: Caller, _body: AnyObject) -> Any:
        from push.wire.bodies import RequestAnswer

        made[0] += 1
        return RequestAnswer(ok=True, detail=text)

    node.gateway.requests._handlers = {int(RequestName.CL): Handler(AnyObject, large)}
    client.transport.pauseProducing()
    for number in range(1, 61):
        client.write_frame(Signal.PUBLISH, RequestName.CL, number, b"")
    (connection,) = node.gateway.connections
    await wait_until(lambda: connection.has_unread_answers or made[0] == 60)
    for number in range(61, 65):
        client.write_frame(Signal.PUBLISH, RequestName.CL, number, b"")
    if made[0] < 60:  # else the sockets took it all
        assert connection.waiting_bytes <= 64 * 1024 + 2 * len(text)
        # A change that waits for what is being carried out does not wait for this session.
        await node.gateway.requests.until_done([connection.device])
    client.transport.resumeProducing()
    await wait_until(lambda: len(client.of(Signal.PUB_ACK)) == 64)
    assert made[0] == 64


@pytest_twisted.ensureDeferred
async def test_a_client_that_flaps_is_told_to_stay_away(
    flooded: Make, dial: Make, wait_until: WaitUntil
) -> None:
    node = await flooded(connects_per_minute=2)
    client = await dial(node)
    await client.register()
    await client.connect()
    pair = client._credentials
    afters = []
    for _ in range(3):
        again = await dial(node)
        again.send(Signal.CONNECT, pair)
        await wait_until(lambda again=again: again.of(Signal.CONNECT_ACK))
        (answer,) = again.of(Signal.CONNECT_ACK)
        body = json.loads(answer.body)
        afters.append((body.get("code"), body.get("after")))
    assert afters == [(None, None), ("rate_limited", 5), ("rate_limited", 10)]
    assert acted(node, CONNECTS_PER_MINUTE) == 2


@pytest_twisted.ensureDeferred
async def test_of_one_user_so_many_connections_and_a_take_over_is_not_one_more(
    flooded: Make, dial: Make, wait_until: WaitUntil
) -> None:
    node = await flooded(connections_per_user=2)
    clients = []
    for _ in range(2):
        client = await dial(node)
        await client.register()
        await client.connect(**client._credentials, jwt=jwt_of("ann"))
        clients.append(client)
    third = await dial(node)
    third.send(Signal.CONNECT, {"jwt": jwt_of("ann")})
    await wait_until(lambda: third.of(Signal.CONNECT_ACK))
    answer = json.loads(third.of(Signal.CONNECT_ACK)[0].body)
    assert (answer["code"], answer["after"]) == ("rate_limited", 60)
    assert acted(node, CONNECTIONS_PER_USER) == 1
    other = await dial(node)
    await other.connect(jwt=jwt_of("bob"))
    again = await dial(node)
    await again.connect(**clients[0]._credentials, jwt=jwt_of("ann"))
    await wait_until(lambda: clients[0].of(Signal.DISCONNECT))
    assert len(clients[1].of(Signal.DISCONNECT)) == 0


@pytest_twisted.ensureDeferred
async def test_short_of_memory_nothing_new_begins_and_sessions_live_on(
    flooded: Make, dial: Make, wait_until: WaitUntil
) -> None:
    node = await flooded()
    client = await dial(node)
    await client.register()
    await client.connect()
    short = [True]
    node.gateway.limits._is_short_of_memory = lambda: short[0]
    client.write_frame(Signal.PUBLISH, RequestName.CL, 7, b"")
    await wait_until(lambda: client.of(Signal.PUB_ACK))
    answer = json.loads(client.of(Signal.PUB_ACK)[0].body)
    assert (answer["ok"], answer["code"], answer["after"]) == (False, "unavailable", 5)
    late = await dial(node)
    late.send(Signal.CONNECT, client._credentials)
    await wait_until(lambda: late.of(Signal.CONNECT_ACK))
    refusal = json.loads(late.of(Signal.CONNECT_ACK)[0].body)
    assert (refusal["code"], refusal["after"]) == ("unavailable", 10)
    await node.push("token", client._credentials["token"], data=1)
    await wait_until(lambda: client.numbers == [1])
    assert acted(node, MEMORY) == 2
    short[0] = False
    client.write_frame(Signal.PUBLISH, RequestName.CL, 8, b"")
    await wait_until(lambda: len(client.of(Signal.PUB_ACK)) == 2)
    assert json.loads(client.of(Signal.PUB_ACK)[1].body).get("code") != "unavailable"


@pytest_twisted.ensureDeferred
async def test_silent_connections_are_bounded_and_cost_nothing_more(
    flooded: Make, sockets: list[socket.socket], dial: Make, wait_until: WaitUntil
) -> None:
    node = await flooded(admission=AdmissionLimits(max_connections=16))
    dial_silently(node, sockets, 60)
    await wait_until(lambda: acted(node, MAX_CONNECTIONS) == 60 - 24)
    assert len(node.gateway.connections) == 24  # 16, and 8 that would be told why not
    for each in sockets:
        each.close()
    await wait_until(lambda: not node.gateway.connections)
    client = await dial(node)
    await client.register()


@pytest_twisted.ensureDeferred
async def test_an_address_has_so_many_connections(
    flooded: Make, sockets: list[socket.socket], dial: Make, wait_until: WaitUntil
) -> None:
    node = await flooded(admission=AdmissionLimits(connections_per_ip=3))
    dial_silently(node, sockets, 10)
    await wait_until(lambda: acted(node, CONNECTIONS_PER_IP) == 7)
    other = await dial(node, source="127.0.0.2")
    await other.register()
    for each in sockets:
        each.close()
    await wait_until(lambda: len(node.gateway.connections) == 1)
    again = await dial(node)
    await again.register()
    assert node.gateway.limits.admission._of_ip == {"127.0.0.1": 1, "127.0.0.2": 1}


@pytest_twisted.ensureDeferred
async def test_behind_a_load_balancer_the_address_of_the_header_counts(
    make_node: Make, redis_url: str, dial: Make, wait_until: WaitUntil
) -> None:
    exempt = Networks(["127.0.0.1"])
    limits = AdmissionLimits(connections_per_ip=1, exempt=exempt)
    node = await make_node(redis_url, connector_limits=settings(admission=limits))
    node.listen(proxies=["127.0.0.1"])

    async def behind(ip: str) -> Any:
        return await dial(node, header=[f"PROXY TCP4 {ip} 192.0.2.1 1 6789\r\n".encode()])

    first, second = await behind("198.51.100.1"), await behind("198.51.100.2")
    await first.register()
    await second.register()
    third = await behind("198.51.100.1")
    await wait_until(lambda: third.closed)
    assert acted(node, CONNECTIONS_PER_IP) == 1


@pytest_twisted.ensureDeferred
async def test_a_listener_accepts_at_its_rate(
    make_node: Make, redis_url: str, sockets: list[socket.socket], wait_until: WaitUntil
) -> None:
    """More wait, and are accepted then: nobody is refused."""
    limits = AdmissionLimits(accepts_per_second=5)
    node = await make_node(redis_url, connector_limits=settings(admission=limits))
    factory = device_factory(reactor, node.gateway)
    port = DevicePort(0, factory, 50, "127.0.0.1", reactor)
    port.startListening()
    node.ports.append(port)
    seconds = reactor.seconds
    began = seconds()
    dial_silently(node, sockets, 12)
    await wait_until(lambda: node.gateway.counters.accepted >= 5)
    await wait_until(lambda: node.gateway.counters.accepted == 12)
    assert seconds() - began >= 1.0  # a lower bound: 5 at once, 7 more at 5 a second
