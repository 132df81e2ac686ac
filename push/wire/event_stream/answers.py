"""What is answered to a request for a stream of events: its head, or why there is no stream.

Refusals are the problems of the HTTP interface (RFC 9457), with the same codes and statuses.
"""

from __future__ import annotations

from http import HTTPStatus

import msgspec
from msgspec import UNSET, UnsetType

from push.wire.bodies import ConnectRefused
from push.wire.errors import STATUS_OF_CODE, RequestError

RETRY_SECONDS = 1  # of `unavailable`, where nothing else is known
REDIRECT = HTTPStatus.TEMPORARY_REDIRECT

# Titles of the codes that can be answered here, as the HTTP interface has them (a test compares).
TITLES = {
    "malformed": "The request cannot be read",
    "unauthenticated": "No valid key",
    "banned": "Banned",
    "unknown_token": "Unknown token",
    "method_not_allowed": "Method not allowed",
    "invalid": "Invalid",
    "rate_limited": "Too many requests",
    "internal": "Internal error",
    "unavailable": "Unavailable",
}

ACCEPTED = (
    b"HTTP/1.1 200 OK\r\n"
    b"Content-Type: text/event-stream\r\n"
    b"Cache-Control: no-store\r\n"
    b"X-Accel-Buffering: no\r\n"  # or nginx would collect events
    b"Connection: close\r\n"
    b"\r\n"
)


class _Problem(msgspec.Struct):
    """As `push.http.framework.problems.Problem`; `servers`: where else the stream is served."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    field: str | UnsetType = UNSET
    servers: list[str] | UnsetType = UNSET


def refusal(error: RequestError, *, with_body: bool = True) -> bytes:
    """The whole answer to a request that cannot be served; the connection closes after it."""
    problem = _problem(error.code, error.http_status, error.detail)
    if error.field is not None:
        problem.field = error.field
    headers = _headers(error.code, error.after_seconds)
    if error.code == "method_not_allowed":
        headers.append(b"Allow: GET")
    return _answer(problem, headers, with_body=with_body)


def connect_refusal(body: ConnectRefused) -> bytes:
    """The answer that a CONNECT_ACK with `body` is over HTTP: another server is a redirect."""
    code = body.code or "unavailable"
    headers = _headers(code, body.after)
    if not body.servers:
        return _answer(_problem(code, STATUS_OF_CODE[code], body.detail or ""), headers)
    problem = _problem(code, REDIRECT, body.detail or "")
    problem.servers = body.servers
    headers.append(b"Location: " + body.servers[0].encode())
    return _answer(problem, headers)


def _problem(code: str, status: int, detail: str) -> _Problem:
    title = TITLES.get(code, HTTPStatus(status).phrase)
    return _Problem(f"/errors/{code}", title, int(status), detail, code)


def _headers(code: str, after_seconds: int | None) -> list[bytes]:
    if after_seconds is None and code in ("unavailable", "rate_limited"):
        after_seconds = RETRY_SECONDS
    headers = []
    if after_seconds is not None:
        headers.append(b"Retry-After: %d" % after_seconds)
    if code == "unauthenticated":
        headers.append(b'WWW-Authenticate: Bearer realm="push"')
    return headers


def _answer(problem: _Problem, headers: list[bytes], *, with_body: bool = True) -> bytes:
    body = msgspec.json.encode(problem)
    lines = [
        f"HTTP/1.1 {problem.status} {HTTPStatus(problem.status).phrase}".encode(),
        b"Content-Type: application/problem+json",
        b"Content-Length: %d" % len(body),
        b"Cache-Control: no-store",
        b"Connection: close",
        *headers,
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n" + (body if with_body else b"")
