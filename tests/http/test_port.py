"""The same over real sockets, with a real client on the other side."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest_twisted
import treq
from prometheus_client import CollectorRegistry
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.web.client import Agent, HTTPConnectionPool

from push.access.api_keys import Keyring
from push.http.routes.push import make_api
from push.http.server import make_site


@pytest_twisted.async_yield_fixture
async def port(behind: Any, keyring: Keyring, wait_until: Any) -> AsyncIterator[int]:
    from twisted.internet import reactor

    site = make_site(
        reactor,
        [make_api(*[behind] * 9)],
        keyring=keyring,
        registry=CollectorRegistry(),
        problems=list,
    )
    listening: Any = reactor.listenTCP(0, site, interface="127.0.0.1")  # type: ignore[attr-defined]
    yield listening.getHost().port
    await listening.stopListening()
    # Each connection has a time-out: the server has noticed the end of all.
    await wait_until(lambda: not reactor.getDelayedCalls())  # type: ignore[attr-defined]


async def call(method: str, url: str, **options: Any) -> tuple[int, Any]:
    from twisted.internet import reactor

    pool = HTTPConnectionPool(reactor, persistent=False)
    response = await treq.request(method, url, agent=Agent(reactor, pool=pool), **options)
    return response.code, await response.json()


@pytest_twisted.ensureDeferred
async def test_a_push_over_a_socket(port: int, behind: Any) -> None:
    status, answer = await call(
        "POST",
        f"http://127.0.0.1:{port}/v1/push",
        json={"to": {"user": "anna"}, "data": "hello"},
        headers={"Authorization": "Bearer push-key"},
    )
    assert (status, answer["streams"]) == (202, 1)
    assert behind.pushed[0][0].names == ("anna",)


@pytest_twisted.ensureDeferred
async def test_a_client_busy_sending_too_much_reads_why(port: int) -> None:
    """Plain sockets: send 4 MiB without looking, then read the answer."""

    def send_all_then_read() -> bytes:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.sendall(b"POST /v1/push HTTP/1.1\r\nContent-Length: 4194304\r\n\r\n")
            for _ in range(64):
                connection.sendall(b"x" * 65536)
            return connection.recv(65536)

    answer = await deferToThread(send_all_then_read)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'"code":"too_large"' in answer


@pytest_twisted.ensureDeferred
async def test_a_client_that_hangs_up_does_not_stop_its_push(
    port: int, behind: Any, wait_until: Any
) -> None:
    behind.waiting = Deferred()
    body = b'{"to":{"all":true},"data":1}'

    def send_and_hang_up() -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.sendall(
                b"POST /v1/push HTTP/1.1\r\nAuthorization: Bearer push-key\r\n"
                b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
                % (len(body), body)
            )

    await deferToThread(send_and_hang_up)
    await wait_until(lambda: behind.calls)
    behind.waiting.callback(None)
    await wait_until(lambda: behind.pushed)
