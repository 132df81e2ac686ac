"""Clients that send bytes of which nothing can be made, or nothing any more: all of it counts, or
is not read for a while."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from contextlib import closing, suppress
from typing import Any

import pytest
import pytest_twisted

from push.connector.limits.connector_limits import ConnectorLimitSettings
from push.connector.limits.counts import FRAMES_PER_SECOND
from push.connector.limits.session_rates import Rates
from push.connector.transport.tls import MOST_PIECES, DeviceTls
from tests.connector.stream_client import connect_stream
from tests.waiting import WaitUntil

HANDSHAKE, SERVER_SAYS = b"\x16\x03\x01", 22  # RFC 8446, 5.1


def dial(node: Any) -> socket.socket:
    made = socket.create_connection(("127.0.0.1", node.ports[-1].getHost().port))
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    made.setblocking(False)
    return made


@pytest.fixture
def put_off(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], list[Any]]:
    """`put_off(node)`: the connections that its gateway does not read for a while."""

    def noted(node: Any) -> list[Any]:
        found: list[Any] = []
        reads = node.gateway.reads
        original = reads.put_off

        def note(connection: Any) -> None:
            found.append(connection)
            original(connection)

        monkeypatch.setattr(reads, "put_off", note)
        return found

    return noted


def hello() -> bytes:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with suppress(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing).do_handshake()
    return outgoing.read()


@pytest_twisted.ensureDeferred
async def test_a_handshake_in_many_pieces_is_put_off_and_answered(
    node: Any,
    certificate: tuple[Any, Any],
    wait_until: WaitUntil,
    put_off: Callable[[Any], list[Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    node.listen(tls=certificate[0], web=False)
    found, came = put_off(node), []
    original = DeviceTls.dataReceived

    def noted(self: DeviceTls, data: bytes) -> None:
        came.append(len(data))
        original(self, data)

    monkeypatch.setattr(DeviceTls, "dataReceived", noted)
    words = hello()
    with closing(dial(node)) as client:
        for number in range(MOST_PIECES):
            client.send(words[number : number + 1])
            await wait_until(lambda until=number: sum(came) > until)
        assert not found, "a handshake may come in a few pieces"
        client.send(words[MOST_PIECES : MOST_PIECES + 1])
        await wait_until(lambda: found)
        client.send(words[MOST_PIECES + 1 : -1])
        client.send(words[-1:])
        answers: list[int] = []

        def is_answered() -> bool:
            with suppress(BlockingIOError):
                answers.extend(client.recv(100))
            return bool(answers)

        await wait_until(is_answered)
        assert answers[0] == SERVER_SAYS
    await wait_until(lambda: not node.gateway.connections)


@pytest.mark.parametrize("carrier", ["tcp", "tls"])
@pytest_twisted.ensureDeferred
async def test_what_is_said_after_the_end_is_put_off(
    node: Any,
    carrier: str,
    certificate: tuple[Any, Any],
    wait_until: WaitUntil,
    put_off: Callable[[Any], list[Any]],
) -> None:
    node.listen(tls=certificate[0] if carrier == "tls" else None, web=False)
    found = put_off(node)
    with closing(dial(node)) as client:
        if carrier == "tls":
            # Its long first record never comes to an end.
            client.send(HANDSHAKE + (16_000).to_bytes(2, "big") + b"\x01\x00\x3e\x7c")
        else:
            client.send(b"\x00" * 20)  # is no frame
            await wait_until(lambda: node.gateway.counters.bad_frames)

        def has_talked() -> bool:
            with suppress(BlockingIOError):
                client.send(b"x")
            return bool(found)

        await wait_until(has_talked)
    await wait_until(lambda: not node.gateway.connections)


@pytest_twisted.ensureDeferred
async def test_what_was_on_its_way_at_the_end_is_read_at_once(
    node: Any, wait_until: WaitUntil, put_off: Callable[[Any], list[Any]]
) -> None:
    """As the answer to a Close frame: else what has ended would take its place for a while."""
    node.listen(web=False)
    found = put_off(node)
    with closing(dial(node)) as client:
        client.send(b"\x00" * 20)  # is no frame
        await wait_until(lambda: node.gateway.counters.bad_frames)
        client.send(b"x")
    await wait_until(lambda: not node.gateway.connections)
    assert not found


@pytest_twisted.ensureDeferred
async def test_the_client_of_a_stream_that_talks_is_over_its_rates(
    make_node: Any, redis_url: str, wait_until: WaitUntil
) -> None:
    rates = Rates(frames_per_second=2, bytes_per_second=0)
    settings = ConnectorLimitSettings(rates=rates)
    node = await make_node(redis_url, connector_limits=settings)
    node.listen(web=True)
    pair = await node.devices.register(
        platform="p", app="a", device=None, token=None, secret=None, ip="127.0.0.1"
    )
    client = await connect_stream(node.reactor, node.ports[-1].getHost().port, None)
    client.ask("/v1/stream", {"Push-Token": pair.token, "Push-Secret": pair.secret}, "GET")
    await wait_until(lambda: client.status == 200)
    acted = node.gateway.limits.counts.acted

    def has_talked_too_much() -> bool:
        client.transport.write(b"x")
        return bool(acted[FRAMES_PER_SECOND])

    await wait_until(has_talked_too_much)
    (connection,) = node.gateway.connections
    assert connection.paused is not None
    assert connection.paused.stopped, "its socket is not read while it is over its rate"
    assert node.gateway.sessions, "its session lives on for a while"
    client.transport.abortConnection()
