"""What a request for a stream asks for; every wrong one is named."""

from __future__ import annotations

from typing import Any

import pytest

from push.http.framework.problems import ERRORS, refusal_answer
from push.wire.errors import RequestError
from push.wire.event_stream.answers import TITLES, refusal
from push.wire.event_stream.request import (
    RequestHead,
    is_stream,
    parse_head,
    read_request,
    stream_url,
)

PAIR = ((b"push-token", b"t"), (b"push-secret", b"s"))


def head(*headers: tuple[bytes, bytes], target: bytes = b"/v1/stream") -> RequestHead:
    return RequestHead(b"GET", target, headers)


def test_credentials_are_those_of_connect() -> None:
    asked = read_request(head(*PAIR, (b"authorization", b"bearer  j ")))
    assert (asked.token, asked.secret, asked.jwt) == ("t", "s", "j")
    assert not asked.by_id
    assert asked.cursors == {}


@pytest.mark.parametrize(
    ("query", "by_id"), [(b"", False), (b"?", False), (b"?ack=written", False), (b"?ack=id&", True)]
)
def test_ack(query: bytes, by_id: bool) -> None:
    assert read_request(head(*PAIR, target=b"/v1/stream" + query)).by_id is by_id


@pytest.mark.parametrize(
    ("values", "read"),
    [([b"a.1"], "a.1"), ([b"x" * 65], ""), ([b"\xff"], ""), ([b""], ""), ([b"a", b"b"], "")],
)
def test_a_last_event_id_that_cannot_be_ours_is_unknown(values: list[bytes], read: str) -> None:
    given = [(b"last-event-id", value) for value in values]
    assert read_request(head(*PAIR, *given)).last_event_id == read


@pytest.mark.parametrize(
    ("headers", "code", "field"),
    [
        ([*PAIR, PAIR[0]], "invalid", "Push-Token"),
        ([*PAIR, PAIR[1]], "invalid", "Push-Secret"),
        ([PAIR[1]], "invalid", "Push-Token"),
        (
            [(b"authorization", b"Bearer a"), (b"authorization", b"Bearer b")],
            "unauthenticated",
            None,
        ),
        ([(b"authorization", b"")], "unauthenticated", None),
    ],
)
def test_what_is_wrong_is_named(headers: Any, code: str, field: str | None) -> None:
    with pytest.raises(RequestError) as refused:
        read_request(head(*headers))
    assert (refused.value.code, refused.value.field) == (code, field)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (b"/v1/stream", True),
        (b"/v1/stream?ack=id", True),
        (b"http://a/v1/stream", True),
        (b"HTTPS://a:1/v1/stream?x", True),
        (b"/v1/stream/", False),
        (b"/ws?/v1/stream", False),
        (b"http://v1/stream", False),
        (b"*", False),
    ],
)
def test_which_requests_are_for_a_stream(target: bytes, expected: bool) -> None:
    assert is_stream(target) is expected


def test_a_head_is_read_with_names_in_lower_case() -> None:
    read = parse_head(b"GET /v1/stream?ack=id HTTP/1.1\r\nHost: a\r\nPUSH-TOKEN: t\r\n\r\n")
    assert read.method == b"GET"
    assert read.target == b"/v1/stream?ack=id"
    assert read.values(b"push-token") == [b"t"]


def test_a_stream_is_beside_the_websocket() -> None:
    assert stream_url("ws://[::1]:6791/ws") == "http://[::1]:6791/v1/stream"
    assert stream_url("wss://push.example.com/x/ws") == "https://push.example.com/v1/stream"


@pytest.mark.parametrize("code", sorted(TITLES))
def test_a_refusal_is_the_problem_of_the_http_interface(code: str) -> None:
    """Title, status, body and headers of both are the same."""
    error = RequestError(code, "why", field="f" if code == "invalid" else None)
    if code == "rate_limited":
        error.after_seconds = 3
    answer = refusal_answer(error)
    head_, body = refusal(error).split(b"\r\n\r\n", 1)
    assert TITLES[code] == ERRORS[code].title
    assert head_.startswith(b"HTTP/1.1 %d " % answer.status)
    for name, value in (*answer.headers, (b"Content-Type", answer.content_type)):
        assert name + b": " + value in head_.split(b"\r\n")
    assert body == answer.body
