"""Devices behind a load balancer: PROXY headers on real sockets, before TCP and before TLS.

The load balancer is 127.0.0.1; whoever calls from 127.0.0.2 is none.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import ip_address
from typing import Any

import pytest
import pytest_twisted
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransportWithDisconnection
from twisted.logger import LogLevel, formatEvent, globalLogPublisher

from push.connector.limits.admission import Admission, AdmissionLimits
from push.connector.limits.counts import LimitCounts
from push.connector.transport.connection import DeviceConnection
from push.connector.transport.counters import Counters
from push.connector.transport.proxy import HeaderReader, ProxiedFactory
from push.session.server import ServerSession
from push.session.server_answers import SessionLimits
from push.wire.addresses import Networks
from push.wire.frames import encode_frame
from push.wire.proxy_header import V2_START
from push.wire.signals import ConnectStatus, Signal
from tests.waiting import WaitUntil

Make = Callable[..., Awaitable[Any]]
PROXIES = ["127.0.0.1"]
SUB = encode_frame(Signal.SUB, 0, 1, b'{"platform": "p", "app": "a"}')
BAD_FRAME = b"\xf8\x02\x63"


def v1(source: str, port: int = 4711) -> bytes:
    family, own = ("TCP6", "::1") if ":" in source else ("TCP4", "192.0.2.1")
    return f"PROXY {family} {source} {own} {port} 6789\r\n".encode()


def v2(source: str, port: int = 4711, tlvs: bytes = b"", command: int = 0x21) -> bytes:
    packed = ip_address(source).packed
    rest = packed + packed + struct.pack("!HH", port, 6789) + tlvs
    family = 0x11 if len(packed) == 4 else 0x21
    return V2_START + struct.pack("!BBH", command, family, len(rest)) + rest


def bytewise(data: bytes) -> list[bytes]:
    return [data[place : place + 1] for place in range(len(data))]


@pytest.fixture(params=["tcp", "tls"])
def behind(
    request: pytest.FixtureRequest, dial: Make, certificate: tuple[Any, Any]
) -> tuple[Callable[[Any], int], Make]:
    """`listen(node)` behind a load balancer, and `call(node, *pieces)`: a client on that port."""
    server, client = certificate if request.param == "tls" else (None, None)

    def listen(node: Any) -> int:
        return int(node.listen(tls=server, proxies=PROXIES))

    def call(node: Any, *header: bytes, **options: Any) -> Awaitable[Any]:
        return dial(node, tls=client, header=header, **options)

    return listen, call


def ips(node: Any) -> set[str]:
    return {connection.ip for connection in node.gateway.connections}


def bad_headers(node: Any) -> int:
    return int(node.gateway.counters.bad_proxy_headers)


@pytest.mark.parametrize(
    ("pieces", "ip"),
    [
        ([v1("198.51.100.7")], "198.51.100.7"),
        ([v1("2001:DB8::7")], "2001:db8::7"),
        ([v2("198.51.100.7")], "198.51.100.7"),
        ([v2("2001:db8::7", tlvs=b"\x04\x00\x01\x00" * 99)], "2001:db8::7"),
        (bytewise(v1("198.51.100.7")), "198.51.100.7"),
        (bytewise(v2("::ffff:198.51.100.7")), "198.51.100.7"),
        ([b"PROXY UNKNOWN\r\n"], "127.0.0.1"),
        ([b"PROXY UNKNOWN 198.51.100.7 192.0.2.1 1 2\r\n"], "127.0.0.1"),
        ([v2("198.51.100.7", command=0x20)], "127.0.0.1"),
    ],
    ids=[
        *("v1", "v1-ipv6", "v2", "v2-ipv6", "v1-bytewise", "v2-bytewise"),
        *("v1-unknown", "v1-unknown-long", "v2-local"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_device_is_known_by_the_address_of_the_header(
    node: Any, behind: Any, wait_until: WaitUntil, pieces: Sequence[bytes], ip: str
) -> None:
    listen, call = behind
    listen(node)

    client = await call(node, *pieces)
    pair = await client.register()
    accepted = await client.connect()
    assert accepted["status"] is ConnectStatus.ACCEPTED
    assert ips(node) == {ip}

    await node.push("token", pair["token"], data=1)
    await wait_until(lambda: client.numbers == [1])
    client.ack_all()
    await wait_until(lambda: node.gateway.counters.acknowledged == 1)
    assert bad_headers(node) == 0


@pytest_twisted.ensureDeferred
async def test_after_the_header_nothing_stands_between_connection_and_socket(
    node: Any, dial: Make
) -> None:
    node.listen(proxies=PROXIES)
    client = await dial(node, header=[v1("198.51.100.7", port=4711)])
    await client.register()

    (connection,) = node.gateway.connections
    assert connection.transport.protocol is connection
    assert connection.direct == connection.transport.getHandle().send
    assert connection.source == ("198.51.100.7", 4711)
    assert node.gateway.limits.admission.unnamed == set()


@pytest_twisted.ensureDeferred
async def test_a_frame_in_the_headers_segment_is_read(node: Any, dial: Make) -> None:
    node.listen(proxies=PROXIES)
    for header in (v1("198.51.100.7"), v2("198.51.100.7")):
        client = await dial(node, header=[header + SUB])
        assert "token" in json.loads((await client.answer(Signal.SUB, 1)).body)


@pytest_twisted.ensureDeferred
async def test_limits_count_by_the_real_address(
    make_node: Make, redis_url: str, behind: Any
) -> None:
    node = await make_node(redis_url, registrations_per_minute=1, failed_secrets_per_minute=1)
    listen, call = behind
    listen(node)
    first = await call(node, v1("198.51.100.7"))
    again = await call(node, v2("198.51.100.7"))
    other = await call(node, v2("2001:db8::7"))

    pair = await first.register()
    assert "token" in pair
    assert (await again.register())["code"] == "rate_limited"
    assert "token" in await other.register()

    wrong = {**pair, "secret": "x"}
    assert (await first.connect(**wrong))["status"] is ConnectStatus.BAD_CREDENTIALS
    assert (await again.connect(**wrong))["status"] is ConnectStatus.SERVER_UNAVAILABLE
    assert (await other.connect(**wrong))["status"] is ConnectStatus.BAD_CREDENTIALS


@pytest_twisted.ensureDeferred
async def test_who_is_no_load_balancer_is_served_as_it_is(
    node: Any, behind: Any, wait_until: WaitUntil
) -> None:
    listen, call = behind
    listen(node)

    client = await call(node, source="127.0.0.2")
    assert "token" in await client.register()
    assert ips(node) == {"127.0.0.2"}

    for header in (v1("198.51.100.7"), v2("198.51.100.7")):
        liar = await call(node, header, source="127.0.0.2")
        await wait_until(lambda liar=liar: liar.closed)
    assert bad_headers(node) == 0
    assert ips(node) == {"127.0.0.2"}


@pytest.mark.parametrize("header", [v1("198.51.100.7"), v2("198.51.100.7")], ids=["v1", "v2"])
@pytest_twisted.ensureDeferred
async def test_a_header_of_another_is_a_bad_frame(
    node: Any, dial: Make, wait_until: WaitUntil, header: bytes
) -> None:
    for options in ({}, {"proxies": PROXIES}):
        node.listen(**options)
        client = await dial(node, source="127.0.0.2", header=[header])
        await wait_until(lambda client=client: client.closed)
        assert client.ended_with == "bad_frame"


@pytest.fixture
def debug_lines() -> Any:
    """The text of what is logged at debug during the test."""
    lines: list[str] = []

    def collect(event: Any) -> None:
        if event["log_level"] is LogLevel.debug:
            lines.append(formatEvent(event))

    globalLogPublisher.addObserver(collect)
    yield lines
    globalLogPublisher.removeObserver(collect)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (SUB, "no PROXY header"),
        (BAD_FRAME, "no PROXY header"),
        (b"\x16\x03\x01\x02\x00\x01\x00", "no PROXY header"),  # TLS
        (b"GET / HTTP/1.1\r\n\r\n", "no PROXY header"),
        (b"PROXY TCP4 a b 1 2\r\n" + SUB, "an address is not one of TCP4"),
        (b"PROXY " + b"x" * 1000, "no end of line in 107 bytes"),
        (V2_START + b"\x21\x11\xff\xff", "65551 bytes, more than 4096"),
        (v2("198.51.100.7", command=0x31), "version and command are 0x31"),
        (V2_START + b"\x21\x31\x00\xd8" + bytes(216), "the protocol 0x31 is not TCP"),
    ],
    ids=["frame", "nonsense", "tls", "http", "v1", "v1-long", "v2-long", "version", "unix"],
)
@pytest_twisted.ensureDeferred
async def test_a_load_balancer_without_a_right_header_is_closed_at_once(
    node: Any,
    dial: Make,
    certificate: Any,
    wait_until: WaitUntil,
    debug_lines: list[str],
    data: bytes,
    reason: str,
) -> None:
    for number, tls in enumerate((None, certificate[0]), start=1):
        node.listen(tls=tls, proxies=PROXIES)
        client = await dial(node, header=[data])
        await wait_until(lambda client=client: client.closed)

        assert client.frames == []
        assert bad_headers(node) == number
        assert debug_lines[-1] == f"127.0.0.1 is a proxy, but: {reason}"
    assert not node.gateway.connections
    assert node.gateway.counters.bad_frames == 0


@pytest_twisted.ensureDeferred
async def test_a_header_that_does_not_come_in_time_ends_the_connection(
    make_node: Make, redis_url: str, behind: Any, dial: Make, wait_until: WaitUntil
) -> None:
    node = await make_node(redis_url, limits={"handshake_timeout_seconds": 0.2})
    listen, _ = behind
    listen(node)
    silent, slow = await dial(node), await dial(node, header=[b"PROXY TCP4 "])

    await wait_until(lambda: silent.closed and slow.closed)
    assert silent.frames == slow.frames == []
    assert bad_headers(node) == 2


@pytest_twisted.ensureDeferred
async def test_who_opens_no_session_after_its_header_is_closed(
    make_node: Make, redis_url: str, behind: Any, dial: Make, wait_until: WaitUntil
) -> None:
    node = await make_node(redis_url, limits={"handshake_timeout_seconds": 1.0})
    listen, _ = behind
    listen(node)
    client = await dial(node, header=[v1("198.51.100.7")])  # and no word of TLS or of frames

    await wait_until(lambda: client.closed and not node.gateway.connections)
    assert node.gateway.counters.accepted == 1
    assert bad_headers(node) == 0


@pytest_twisted.ensureDeferred
async def test_only_who_goes_away_within_its_header_is_counted(
    node: Any, dial: Make, wait_until: WaitUntil
) -> None:
    """A load balancer's look whether anybody listens is no error."""
    node.listen(proxies=PROXIES)
    waiting = node.gateway.limits.admission.unnamed
    for header, expected in ([], 0), ([b"PROXY TCP4 198.51"], 1):
        client = await dial(node, header=header)
        (reader,) = await wait_until(lambda: set(waiting))
        await wait_until(lambda r=reader, h=header: r._received == b"".join(h))
        client.transport.loseConnection()
        await wait_until(lambda: not waiting)
        assert bad_headers(node) == expected


@pytest_twisted.ensureDeferred
async def test_a_stop_ends_those_who_wait_for_a_header(
    make_node: Make, redis_url: str, behind: Any, dial: Make, wait_until: WaitUntil
) -> None:
    node = await make_node(redis_url)
    listen, _ = behind
    listen(node)
    waiting = node.gateway.limits.admission.unnamed
    client = await dial(node, header=[b"PROXY "])
    await wait_until(lambda: waiting)

    await node.stop()
    await wait_until(lambda: client.closed)
    assert bad_headers(node) == 0


# --- in memory -------------------------------------------------------------------------------


class Device(DeviceConnection):
    """A connection that only notes what it got."""

    def __init__(self, protocol: ServerSession) -> None:
        super().__init__(None, "tls", protocol)  # type: ignore[arg-type]
        self.got: list[bytes] = []

    def connectionMade(self) -> None:
        self.got.append(self.ip.encode() + b" made. ")

    def dataReceived(self, data: bytes) -> None:
        self.got.append(data)


class Line:
    """A client on a transport in memory."""

    def __init__(self, *, host: str = "127.0.0.1", clock: Clock | None = None) -> None:
        self.clock = clock or Clock()
        self.device = Device(ServerSession(SessionLimits(), self.clock.seconds()))
        self.counters = Counters()
        made = Factory.forProtocol(lambda: self.device)
        self.factory = ProxiedFactory(
            self.clock,
            made,
            Networks(PROXIES),
            self.counters,
            Admission(AdmissionLimits(), LimitCounts(), set()),
        )
        kind = IPv6Address if ":" in host else IPv4Address
        peer = kind("TCP", host, 1)
        self.transport = StringTransportWithDisconnection(peerAddress=peer)
        self.transport.protocol = self.factory.buildProtocol(peer)
        self.transport.protocol.makeConnection(self.transport)

    def send(self, data: bytes) -> None:
        self.transport.protocol.dataReceived(data)


@pytest.mark.parametrize("host", ["127.0.0.1", "::ffff:127.0.0.1"])
def test_a_load_balancer_is_known_on_a_socket_of_ipv6_too(host: str) -> None:
    assert isinstance(Line(host=host).transport.protocol, HeaderReader)


@pytest.mark.parametrize("host", ["127.0.0.2", "::1", "::ffff:127.0.0.2", "fe80::1%eth0"])
def test_others_get_their_protocol_at_once(host: str) -> None:
    line = Line(host=host)
    assert line.transport.protocol is line.device


def test_the_time_for_the_header_is_part_of_the_handshakes() -> None:
    clock = Clock()
    line = Line(clock=clock)
    clock.advance(7)
    line.send(v1("198.51.100.7"))
    assert line.device.protocol.next_deadline() == SessionLimits().handshake_timeout_seconds
    assert clock.getDelayedCalls() == []


@given(
    st.sampled_from([v1("198.51.100.7"), v1("2001:db8::7"), v2("198.51.100.7"), v2("2001:db8::7")]),
    st.binary(max_size=40),
    st.data(),
)
def test_wherever_the_stream_is_cut_all_behind_the_header_arrives(
    header: bytes, behind: bytes, data: st.DataObject
) -> None:
    stream = header + behind
    cuts = sorted(data.draw(st.sets(st.integers(1, len(stream) - 1), max_size=6)))
    line = Line()
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        line.send(stream[start:end])
    assert line.device.source is not None
    made = line.device.source[0].encode() + b" made. "
    assert b"".join(line.device.got) == made + behind
    assert line.clock.getDelayedCalls() == []


@given(st.lists(st.binary(min_size=1, max_size=30), min_size=1, max_size=5))
def test_random_bytes_end_a_connection_and_nothing_else(pieces: list[bytes]) -> None:
    line = Line()
    for piece in pieces:
        if line.transport.connected:
            line.send(piece)
    if line.transport.connected:
        line.transport.loseConnection()
    assert line.clock.getDelayedCalls() == []
    assert line.factory.waiting == set()
    assert line.device.got == []


def test_without_a_header_a_device_of_ipv4_is_known_by_that_address_on_an_ipv6_socket() -> None:
    line = Line(host="::ffff:192.0.2.7")
    assert line.device.ip == "192.0.2.7"
