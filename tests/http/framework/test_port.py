"""A real port: what is read waits for its turn, whole and in order, and then is read."""

from __future__ import annotations

import gc
import json
import socket
import struct
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_twisted
from prometheus_client import CollectorRegistry
from twisted.internet import reactor
from twisted.internet.threads import deferToThread

from push.access.api_keys import Keyring
from push.daemons.config.value_types import ListenAddress
from push.daemons.process.listening import Listener
from push.http.edge.arrivals import WaitingArrivals
from push.http.edge.small_reads import REST_SECONDS, SmallReads
from push.http.framework.access import Guards
from push.http.framework.port import (
    SMALL_READ_BYTES,
    SMALL_READS_AT_ONCE,
    HttpPort,
    HttpTransport,
    RequestSender,
)
from push.http.framework.site import LimitedChannel, LimitedRequest, LimitedSite
from push.http.routes.apps import make_sub
from push.http.server import make_site
from push.runtime.turns import Turns
from push.wire.addresses import Networks
from push.wire.errors import RequestError
from push.wire.websocket.origins import Origins
from tests.http.conftest import Behind, make_api_of, make_request, parse_responses
from tests.waiting import DEADLINE_SECONDS

MIB = 1024 * 1024
PUSH = {"to": {"all": True}, "data": 1}


class Served:
    """A site on a port of loopback."""

    def __init__(self, site: LimitedSite) -> None:
        self.site = site
        self.listener = Listener(
            reactor, "http", "test", ListenAddress.parse("127.0.0.1:0"), site, HttpPort
        )

    @property
    def accepting(self) -> Turns:
        port: Any = self.listener._port
        accepting: Turns = port._accepting
        return accepting

    @property
    def strangers(self) -> WaitingArrivals:
        port: Any = self.listener._port
        strangers: WaitingArrivals = port._waiting_arrivals
        return strangers

    def exhaust(self) -> None:
        """As if strangers, and those that are known, had just used more than their time."""
        turns = self.site.turns
        turns._known_left = 0
        turns._turn.request()
        turns._paid_at = reactor.seconds() + 0.05  # type: ignore[attr-defined]


@pytest_twisted.async_yield_fixture
async def served(behind: Behind, keyring: Keyring, wait_until: Any) -> AsyncIterator[Served]:
    site = make_site(
        reactor,  # type: ignore[arg-type]
        [make_api_of(behind, reactor), make_sub(behind, behind, open_registration=False)],
        Guards(keyring, Origins(["same-host"])),
        registry=CollectorRegistry(),
        problems=list,
    )
    found = Served(site)
    found.listener.startService()
    yield found
    await found.listener.stopService()
    await wait_until(lambda: not reactor.getDelayedCalls())  # type: ignore[attr-defined]


def ask(port: int, data: bytes, count: int = 1, size: int = 0) -> list[Any]:
    """Send it, in pieces of `size` bytes, and read `count` answers."""
    with socket.create_connection(("127.0.0.1", port), DEADLINE_SECONDS) as client:
        for start in range(0, len(data), size or len(data)):
            client.sendall(data[start : start + (size or len(data))])
        received = b""
        while received.count(b"HTTP/1.1 ") < count:
            piece = client.recv(65536)
            assert piece, received
            received += piece
        return parse_responses(received)


@pytest_twisted.ensureDeferred
async def test_what_waits_for_its_turn_is_read_whole_and_in_order(
    served: Served, behind: Behind
) -> None:
    """While strangers have no time left, neither a connection nor what it sends is looked at."""
    numbers = [{"to": {"user": f"u{number}"}, "data": "x" * 5000} for number in range(40)]
    data = b"".join(make_request("POST", "/v1/push", each) for each in numbers)
    for _ in range(3):
        behind.pushed.clear()
        served.exhaust()
        answers = await deferToThread(ask, served.listener.port, data, len(numbers), 7000)
        assert [answer.status for answer in answers] == [202] * len(numbers)
        assert [target.names[0] for target, _ in behind.pushed] == [
            f"u{number}" for number in range(len(numbers))
        ]
    assert served.site.turns.waiting == 0


@pytest_twisted.ensureDeferred
async def test_nothing_is_left_of_a_connection_that_ends_while_it_waits(
    served: Served, behind: Behind, wait_until: Callable[..., Any]
) -> None:
    turns = served.site.turns
    turns._paid_at = reactor.seconds() + 3600  # type: ignore[attr-defined]
    with socket.create_connection(("127.0.0.1", served.listener.port)) as client:
        client.sendall(make_request("POST", "/v1/push", PUSH, key="app-key"))
        await wait_until(lambda: turns.waiting)
    turns._paid_at = 0.0
    turns._rest.cancel()
    turns._end_rest()
    await wait_until(lambda: not turns.waiting and not served.site.connection_limits.size)


def send_byte_by_byte(port: int, data: bytes) -> tuple[bytes, float]:
    """The answer, and how many seconds it took."""
    begun = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), DEADLINE_SECONDS) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for place in range(len(data)):
            client.sendall(data[place : place + 1])
            time.sleep(0)  # the server may read it
        answer = client.recv(65536)
    return answer, time.monotonic() - begun


@pytest_twisted.ensureDeferred
async def test_a_connection_whose_bytes_come_one_by_one_is_read_rarely(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As often as it may be at once, and then after each rest: not for each byte."""
    reads: list[int] = []
    receive = LimitedChannel.dataReceived

    def counted(channel: LimitedChannel, data: bytes) -> None:
        reads.append(len(data))
        receive(channel, data)

    monkeypatch.setattr(LimitedChannel, "dataReceived", counted)
    data = make_request("POST", "/v1/push", {"to": {"all": True}, "data": "x" * 5000})
    answer, seconds = await deferToThread(send_byte_by_byte, served.listener.port, data)
    assert answer.startswith(b"HTTP/1.1 202 "), answer
    at_rest = [size for size in reads if size < SMALL_READ_BYTES]
    assert len(at_rest) <= SMALL_READS_AT_ONCE + 2 + seconds / REST_SECONDS, reads


@pytest_twisted.ensureDeferred
async def test_small_requests_on_one_connection_do_not_let_it_rest(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    rests: list[object] = []
    monkeypatch.setattr(SmallReads, "add", lambda _self, connection: rests.append(connection))
    count = 5 * SMALL_READS_AT_ONCE
    answers = await deferToThread(ask_in_turn, served.listener.port, count)
    assert [answer.status for answer in answers] == [202] * count
    assert rests == []


def ask_in_turn(port: int, count: int) -> list[Any]:
    data = make_request("POST", "/v1/push", PUSH)
    head, body = data[: data.index(b"\r\n\r\n") + 4], data[data.index(b"\r\n\r\n") + 4 :]
    received = b""
    with socket.create_connection(("127.0.0.1", port), DEADLINE_SECONDS) as client:
        for number in range(count):
            client.sendall(head)  # as many clients do: the body comes by itself
            client.sendall(body)
            while received.count(b"HTTP/1.1 ") <= number:
                piece = client.recv(65536)
                assert piece, received
                received += piece
    return parse_responses(received)


def large_things(size: int) -> dict[int, str]:
    """Bytes of at least that size that anything holds, by their identity; and what holds them."""
    return {
        id(part): f"{len(part):,} bytes in {type(each).__name__} {each!r:.200}"
        for each in gc.get_objects()
        for part in gc.get_referents(each)
        if isinstance(part, bytes | bytearray) and len(part) >= size
    }


async def left_behind(served: Served, data: bytes, size: int) -> list[str]:
    """What large things are held after some more of such requests, without a collection."""
    await deferToThread(ask, served.listener.port, data)
    gc.collect()
    gc.disable()
    try:
        before = large_things(size)
        for _ in range(5):
            await deferToThread(ask, served.listener.port, data)
        return [what for key, what in large_things(size).items() if key not in before]
    finally:
        gc.enable()


_BODY = json.dumps({"to": {"all": True}, "data": "x" * 500_000}).encode()
_DEVICE = json.dumps({"platform": "x" * 500_000, "app": "x"}).encode()
_NESTED = b'{"a":' * 80_000 + b"1" + b"}" * 80_000


@pytest.mark.parametrize(
    ("path", "key", "body", "status"),
    [
        ("/v1/push", "push-key", _BODY.replace(b"x" * 300_000, b""), 202),
        ("/v1/push", "push-key", _BODY, 413),
        ("/v1/push", "push-key", _NESTED, 400),
        ("/v1/push", "push-key", b'{"unknown":"' + b"x" * 500_000 + b'"}', 422),
        ("/v1/push", None, _BODY, 401),
        ("/v1/devices", "app-key", _DEVICE, 422),
        ("/v1/devices", "app-key", _NESTED, 400),
        ("/nothing/there", "app-key", _BODY, 404),
    ],
)
@pytest_twisted.ensureDeferred
async def test_nothing_keeps_the_body_of_a_request_that_was_answered(
    nothing_older: None, served: Served, path: str, key: str | None, body: bytes, status: int
) -> None:
    """Neither a cycle nor an exception: a MiB for each refused request was the rest of it."""
    data = make_request("POST", path, body, key=key)
    (answer,) = await deferToThread(ask, served.listener.port, data)
    assert answer.status == status
    assert await left_behind(served, data, 60_000) == []


def leave(port: int, data: bytes) -> None:
    """Send it, and reset the connection."""
    with socket.create_connection(("127.0.0.1", port), DEADLINE_SECONDS) as client:
        client.sendall(data)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


PARTS = (LimitedChannel, LimitedRequest, HttpTransport, RequestSender, RequestError)


@pytest.mark.parametrize(
    ("data", "act"),
    [
        (make_request("GET", "/healthz"), ask),
        (make_request("GET", "/nothing/there"), ask),
        (make_request("DELETE", "/healthz"), ask),
        (make_request("GET", "/v1/messages/m1"), ask),
        (make_request("POST", "/v1/push", PUSH), ask),
        (make_request("POST", "/v1/push", PUSH, key=None), ask),
        (make_request("POST", "/v1/push", {"to": 1}), ask),
        (make_request("POST", "/v1/push", _BODY, key=None), ask),
        (b"GET / HTTP/1.1\r\n\r\n", ask),
        (b"\0\xff\r\n\r\n", ask),
        (make_request("POST", "/v1/push", PUSH)[:-1], leave),
        (make_request("GET", "/healthz")[:20], leave),
    ],
    ids=[
        *("answered", "not_found", "method", "parameter", "push", "no_key", "invalid"),
        *("large", "no_host", "garbage", "cut_body", "cut_head"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_nothing_of_a_request_waits_for_the_garbage_collector(
    nothing_older: None,
    served: Served,
    data: bytes,
    act: Callable[[int, bytes], object],
    wait_until: Any,
) -> None:
    """A flood of them would stop everybody while it is at work."""

    async def once() -> None:
        await deferToThread(act, served.listener.port, data)
        await wait_until(lambda: not served.site.connection_limits.size)

    await once()  # what the first one loads
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        for _ in range(3):
            await once()
        gc.collect()
        found = {type(each).__name__ for each in gc.garbage if isinstance(each, PARTS)}
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert found == set()


@pytest_twisted.ensureDeferred
async def test_backends_and_health_do_not_wait_behind_strangers(
    served: Served, wait_until: Any
) -> None:
    """On a new connection, by what it brings first."""
    port, turns = served.listener.port, served.site.turns
    waiting = socket.create_connection(("127.0.0.1", port))
    asking = [socket.create_connection(("127.0.0.1", port)) for _ in range(2)]
    await wait_until(lambda: served.site.connection_limits.size == 3)
    turns._paid_at = reactor.seconds() + 3600  # type: ignore[attr-defined]
    waiting.sendall(make_request("POST", "/v1/push", PUSH, key="app-key"))
    await wait_until(lambda: turns.strangers_waiting == 1)
    requests = (make_request("POST", "/v1/push", PUSH), make_request("GET", "/healthz", key=None))
    for client, request, status in zip(asking, requests, (202, 200), strict=True):
        client.settimeout(DEADLINE_SECONDS)
        client.sendall(request)
        answer = await deferToThread(client.recv, 65536)
        assert parse_responses(answer)[0].status == status
    assert turns.strangers_waiting == 1
    turns._paid_at = 0.0
    turns._rest.cancel()
    turns._end_rest()
    answer = await deferToThread(waiting.recv, 65536)
    assert parse_responses(answer)[0].status == 403
    for client in (waiting, *asking):
        client.close()
    await wait_until(lambda: not served.site.connection_limits.size)


@pytest_twisted.ensureDeferred
async def test_who_is_known_is_let_in_while_strangers_wait_to_be(
    served: Served, wait_until: Any
) -> None:
    """A new connection, by what it has brought when it was accepted, or brings later."""
    port, accepting = served.listener.port, served.accepting
    accepting._paid_at = reactor.seconds() + 3600  # type: ignore[attr-defined]
    stranger, late = (socket.create_connection(("127.0.0.1", port)) for _ in range(2))
    await wait_until(lambda: served.strangers.size == 2)
    late.sendall(make_request("POST", "/v1/push", PUSH))
    for request, status in (
        (make_request("POST", "/v1/push", PUSH), 202),
        (make_request("GET", "/healthz", key=None), 200),
    ):
        with socket.create_connection(("127.0.0.1", port), DEADLINE_SECONDS) as client:
            client.sendall(request)  # before the reactor can accept it
            answer = await deferToThread(client.recv, 65536)
        assert parse_responses(answer)[0].status == status
    late.settimeout(DEADLINE_SECONDS)
    answer = await deferToThread(late.recv, 65536)
    assert parse_responses(answer)[0].status == 202
    assert served.strangers.size == 1
    stranger.settimeout(DEADLINE_SECONDS)
    stranger.sendall(make_request("POST", "/v1/push", PUSH, key="app-key"))
    accepting._paid_at = 0.0
    accepting._rest.cancel()
    accepting._end_rest()
    answer = await deferToThread(stranger.recv, 65536)
    assert parse_responses(answer)[0].status == 403
    for client in (stranger, late):
        client.close()
    await wait_until(lambda: not served.site.connection_limits.size)


@pytest_twisted.ensureDeferred
async def test_a_port_that_closes_closes_those_that_wait(served: Served, wait_until: Any) -> None:
    served.accepting._paid_at = reactor.seconds() + 3600  # type: ignore[attr-defined]
    client = socket.create_connection(("127.0.0.1", served.listener.port))
    client.settimeout(DEADLINE_SECONDS)
    await wait_until(lambda: served.strangers.size == 1)
    served.accepting._rest.cancel()
    await served.listener.start_closing()
    assert await deferToThread(client.recv, 1) == b""
    client.close()


@pytest_twisted.ensureDeferred
async def test_when_nobody_more_may_wait_the_rest_stays_with_the_system(
    served: Served, wait_until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    port, accepting, strangers = served.listener.port, served.accepting, served.strangers
    monkeypatch.setattr(strangers, "_most", 2)
    monkeypatch.setattr(strangers, "_proxies", Networks(["127.0.0.1"]))
    accepting._paid_at = reactor.seconds() + 3600  # type: ignore[attr-defined]
    clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(3)]
    await wait_until(lambda: strangers.size == 2)
    for client in clients:
        client.settimeout(DEADLINE_SECONDS)
        client.sendall(make_request("POST", "/v1/push", PUSH, key="app-key"))
    accepting._paid_at = 0.0
    accepting._rest.cancel()
    accepting._end_rest()
    for client in clients:
        answer = await deferToThread(client.recv, 65536)
        assert parse_responses(answer)[0].status == 403
        client.close()
    await wait_until(lambda: not served.site.connection_limits.size)
