"""The same over real sockets, with a real client on the other side."""

from __future__ import annotations

import re
import socket
from typing import Any

import pytest_twisted
import treq
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.web.client import Agent, HTTPConnectionPool

from tests.waiting import DEADLINE_SECONDS


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
        with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_SECONDS) as connection:
            head = (
                b"POST /v1/push HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer push-key\r\n"
                b"Content-Length: 4194304\r\n\r\n"
            )
            connection.sendall(head)
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
        with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_SECONDS) as connection:
            connection.sendall(
                b"POST /v1/push HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer push-key\r\n"
                b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
                % (len(body), body)
            )

    await deferToThread(send_and_hang_up)
    await wait_until(lambda: behind.calls)
    behind.waiting.callback(None)
    await wait_until(lambda: behind.pushed)


@pytest_twisted.ensureDeferred
async def test_a_client_that_does_not_read_is_not_served_ahead(port: int) -> None:
    """Pipelined requests whose answers nobody reads wait, and cost no memory for their answers."""
    request = b"GET /docs HTTP/1.1\r\nHost: x\r\n\r\n"
    line, many = b"HTTP/1.1 200 ", 400

    # One that goes away meanwhile leaves nothing behind.
    def send_all_and_leave() -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_SECONDS) as connection:
            connection.sendall(request * many)
            while not count():
                pass

    def count() -> int:
        with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_SECONDS) as other:
            other.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            text = b"".join(iter(lambda: other.recv(65536), b"")).decode()
        found = re.search(r'push_http_requests_total{route="docs",status="200"} (\d+)', text)
        return int(found[1]) if found else 0

    def send_all_look_and_read() -> tuple[int, int, int]:
        with socket.socket() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.settimeout(DEADLINE_SECONDS)
            connection.connect(("127.0.0.1", port))
            connection.sendall(request * many)
            while (served := count()) == before:
                pass
            answers, size, tail = 0, 0, b""
            while answers < many:
                data = connection.recv(1 << 20)
                size += len(data)
                answers += (tail + data).count(line)
                tail = (tail + data)[1 - len(line) :]
            return served, count(), size

    await deferToThread(send_all_and_leave)
    before = await deferToThread(count)
    served, in_the_end, size = await deferToThread(send_all_look_and_read)
    assert size > many * 20_000, "else nothing had to wait"
    assert before < many / 2
    assert in_the_end - before == many
    assert served - before < many / 2
