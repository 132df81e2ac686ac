"""Below the apps: how much a client may send, how long it may take, and what if it goes away."""

from __future__ import annotations

import json
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from push.http.edge.cheap_timeout import LINGER_SECONDS
from push.http.framework.site import HEAD_SECONDS, REQUEST_SECONDS

MIB = 1024 * 1024
PUSH = {"to": {"all": True}, "data": 1}
HEAD = (
    b"POST %b HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer admin-key\r\n"
    b"Content-Type: application/json\r\n%b\r\n"
)


def head(path: bytes = b"/v1/push", length: int | None = None, extra: bytes = b"") -> bytes:
    how = b"Transfer-Encoding: chunked" if length is None else b"Content-Length: %d" % length
    return HEAD % (path, how + b"\r\n" + extra)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


# --- size --------------------------------------------------------------------------------------


def test_a_length_over_the_limit_is_refused_before_the_body(web: Any) -> None:
    connection = web.connect()
    connection.send(head(length=MIB + 1, extra=b"Expect: 100-continue\r\n"))
    (response,) = connection.responses()
    assert "1,048,576" in response.assert_problem("too_large")["detail"]
    assert response.headers["connection"] == "close"
    connection.close()


def test_a_body_in_chunks_is_refused_as_soon_as_it_is_too_large(web: Any) -> None:
    connection = web.connect()
    connection.send(head())
    for _ in range(16):
        connection.send(chunk(b" " * (MIB // 16)))
    assert connection.responses() == []
    connection.send(b"10\r\n")
    (response,) = connection.responses()
    response.assert_problem("too_large")
    connection.close()


@pytest.mark.parametrize("size", [b"100001", b"fffffffff", b"f" * 900])
def test_a_chunk_over_the_limit_is_refused_before_it_comes(web: Any, size: bytes) -> None:
    connection = web.connect()
    connection.send(head() + size + b"\r\n")
    (response,) = connection.responses()
    response.assert_problem("too_large")
    connection.close()


def test_what_comes_after_a_refusal_is_thrown_away_and_the_connection_ends(web: Any) -> None:
    connection = web.connect()
    connection.send(head(length=2 * MIB) + b"x" * 1000)
    for _ in range(8):
        connection.send(b"x" * (MIB // 4) + b"\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert len(connection.responses()) == 1
    assert connection.open
    assert connection.transport.write_closed
    web.clock.advance(LINGER_SECONDS)
    assert not connection.open


def test_a_body_of_just_the_limit_is_read(web: Any) -> None:
    body = json.dumps(PUSH).encode().ljust(MIB)
    assert web.push(body).status == 202
    connection = web.connect()
    connection.send(head() + chunk(body) + b"0\r\n\r\n")
    assert [response.status for response in connection.responses()] == [202]
    connection.close()


def test_a_batch_may_have_16_mib(web: Any) -> None:
    body = json.dumps([PUSH]).encode()
    assert web.request("POST", "/v1/push/batch", body.ljust(16 * MIB)).status == 200
    response = web.request("POST", "/v1/push/batch", body.ljust(16 * MIB + 1))
    assert "16,777,216" in response.assert_problem("too_large")["detail"]


@pytest.mark.parametrize(("key", "code"), [("wrong", "unauthenticated"), ("read-key", "forbidden")])
def test_a_large_batch_is_not_read_for_those_who_may_not_send_it(
    web: Any, key: str, code: str
) -> None:
    connection = web.connect()
    connection.send(head(b"/v1/push/batch", 8 * MIB).replace(b"admin-key", key.encode()))
    (response,) = connection.responses()
    response.assert_problem(code)
    connection.close()


def test_a_body_to_a_path_that_is_not_there_has_a_limit_too(web: Any) -> None:
    connection = web.connect()
    connection.send(head(b"/nope?x=/v1/push/batch", 2 * MIB))
    connection.responses()[0].assert_problem("too_large")
    connection.close()


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GARBAGE\r\n\r\n",
        b"GET / HTTP/3.0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"x" * 16000 + b"\r\nB: " + b"x" * 1000 + b"\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_what_is_not_http_is_malformed(web: Any, request_bytes: bytes) -> None:
    connection = web.connect()
    connection.send(request_bytes + b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    (response,) = connection.responses()
    response.assert_problem("malformed")
    web.clock.advance(LINGER_SECONDS)
    assert not connection.open


# --- time --------------------------------------------------------------------------------------


def drip(connection: Any, web: Any, data: bytes, every_seconds: float) -> float:
    """Send byte by byte until the end or until the connection is closed; returns the seconds."""
    passed = 0.0
    for position in range(len(data)):
        connection.send(data[position : position + 1])
        web.clock.advance(every_seconds)
        passed += every_seconds
        if not connection.open:
            break
    return passed


@pytest.mark.parametrize(
    "start", [b"", b"POST /v1/push HT", head(length=1000)[:-2], head(length=1000), head()]
)
def test_a_request_that_drips_in_is_cut_off_at_the_deadline(web: Any, start: bytes) -> None:
    connection = web.connect()
    connection.send(start)
    passed = drip(connection, web, b"1" * 900, 1.0)
    assert not connection.open
    assert passed <= REQUEST_SECONDS


def test_the_deadline_begins_with_the_request_and_not_with_the_connection(web: Any) -> None:
    body = json.dumps(PUSH).encode()
    connection = web.connect()
    for number in range(3):
        web.clock.advance(REQUEST_SECONDS - 3)  # idle
        start = head(length=len(body))
        drip(connection, web, start, (HEAD_SECONDS - 1) / len(start))
        drip(connection, web, body, (REQUEST_SECONDS - HEAD_SECONDS) / len(body))
        assert len(connection.responses()) == number + 1
    web.clock.advance(REQUEST_SECONDS)
    assert not connection.open  # idle for too long


@pytest.mark.parametrize("start", [b"G", b"GET / HTTP/1.1\r\nHost: x\r\n"])
def test_a_head_that_drips_in_is_cut_off_earlier(web: Any, start: bytes) -> None:
    connection = web.connect()
    web.clock.advance(REQUEST_SECONDS - 1)  # idle
    connection.send(start)
    passed = drip(connection, web, b"X-A: b\r\n" * 100, 0.5)
    assert not connection.open
    assert passed <= HEAD_SECONDS


def test_a_connection_that_is_ended_and_then_refused_leaves_nothing_to_be_done(web: Any) -> None:
    """Over TLS, a connection that is ended waits for the client's word, and reads meanwhile; and
    one that has ended must not be ended once more."""
    connection = web.connect()
    connection.transport.loseConnection = lambda: None
    connection.send(b"GET /healthz HT")
    web.clock.advance(HEAD_SECONDS)
    connection.send(b"\n\n")
    connection.responses()[0].assert_problem("malformed")
    connection.close()
    assert web.clock.getDelayedCalls() == []


def test_a_handler_that_takes_long_is_not_cut_off(web: Any) -> None:
    web.behind.waiting = Deferred()
    body = json.dumps(PUSH).encode()
    connection = web.connect()
    connection.send(head(length=len(body)) + body)
    web.clock.advance(10 * REQUEST_SECONDS)
    assert connection.open
    web.behind.waiting.callback(None)
    assert [response.status for response in connection.responses()] == [202]
    connection.close()


def test_requests_of_one_connection_are_answered_in_order(web: Any) -> None:
    body = json.dumps(PUSH).encode()
    connection = web.connect()
    connection.send(b"GET /nope HTTP/1.1\r\nHost: x\r\n\r\n" + head(length=len(body)) + body)
    connection.send(b"\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert [response.status for response in connection.responses()] == [404, 202, 200]
    connection.close()


# --- a client that goes away ---------------------------------------------------------------------


def test_a_push_that_has_begun_ends_though_the_client_is_gone(web: Any) -> None:
    web.behind.waiting = Deferred()
    body = json.dumps(PUSH).encode()
    connection = web.connect()
    connection.send(head(length=len(body)) + body)
    connection.close()
    assert web.behind.pushed == []
    web.behind.waiting.callback(None)
    assert len(web.behind.pushed) == 1
    assert connection.responses() == []
    metrics = web.request("GET", "/metrics", ip="127.0.0.1").content.decode()
    assert 'push_http_requests_total{route="push",status="202"} 1.0' in metrics


def test_a_fault_after_the_client_is_gone_is_logged(web: Any, flush_logged_errors: Any) -> None:
    web.behind.waiting = Deferred()
    body = json.dumps(PUSH).encode()
    connection = web.connect()
    connection.send(head(length=len(body)) + body)
    connection.close()
    web.behind.waiting.errback(ZeroDivisionError())
    assert len(flush_logged_errors(ZeroDivisionError)) == 1


def test_a_client_that_goes_away_in_the_middle_of_a_body_disturbs_nobody(web: Any) -> None:
    connection = web.connect()
    connection.send(head(length=1000) + b"{")
    connection.close()
    assert web.request("GET", "/healthz").status == 200


def test_the_last_net_answers_a_problem_too(
    web: Any, flush_logged_errors: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(web.site, "getResourceFor", fail)
    web.request("GET", "/healthz").assert_problem("internal")
    assert len(flush_logged_errors(ZeroDivisionError)) == 1
