"""Messages as server-sent events: what is written, and when a client comes back."""

from __future__ import annotations

import json

import pytest

from push.session.entry import Entry
from push.wire.bodies import ConnectAccepted, DisconnectBody, encode_body
from push.wire.codecs.events import EVENTS, NEVER_MS, RETRY_MS, piece, pieces, retry_ms
from push.wire.signals import ConnectStatus, DisconnectCode, Signal


def texts(data: bytes) -> list[bytes]:
    return [text for text, _ in pieces(data)]


def test_pieces_are_cut_as_they_were_joined() -> None:
    made = [(b"", 0), (b"a", 1), (b"b" * 100_000, 65_535), (b"\n\n", 0)]
    assert list(pieces(b"".join(piece(*each) for each in made))) == made
    assert list(pieces(b"")) == []


@pytest.mark.parametrize("body", [b'{"a":1}', b'{\n"a"\r\n:\r1}', '{"a":"ü\u2028"}'.encode()])
def test_a_message_is_one_line(body: bytes) -> None:
    [(text, message_id)] = pieces(EVENTS.push(Entry("id", 0, 1, body), 7))
    assert message_id == 7
    name, data, *end = text.split(b"\n")
    assert (name, end) == (b"event: message", [b"", b""])
    assert b"\r" not in text
    assert json.loads(data.removeprefix(b"data: ")) == json.loads(body)


def test_what_the_server_tells_is_not_acknowledged() -> None:
    data = EVENTS.encode(Signal.PUSH, 0, 0, b'{"kind":"follow"}')
    assert list(pieces(data)) == [(b'event: message\ndata: {"kind":"follow"}\n\n', 0)]


def test_an_accepted_request_has_a_head_and_a_comment() -> None:
    body = encode_body(ConnectAccepted(session="s1"))
    [text] = texts(EVENTS.encode(Signal.CONNECT_ACK, ConnectStatus.ACCEPTED, 0, body))
    head, _, first = text.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nContent-Type: text/event-stream\r\n" in head
    assert b"Access-Control" not in head
    assert first.startswith(b": session s1\nretry: ")


def test_what_only_a_device_that_speaks_is_answered_has_no_form() -> None:
    for signal in (Signal.SUB, Signal.AUTH, Signal.PING, Signal.PUB_ACK):
        assert EVENTS.encode(signal, 0, 1, b"{}") == b""


@pytest.mark.parametrize("code", list(DisconnectCode))
def test_a_client_that_knows_only_retry_comes_back_when_its_code_says(
    code: DisconnectCode,
) -> None:
    ended = DisconnectBody(code=code.value, reason="r")
    stays_away = code in ("taken_over", "kicked", "bad_frame", "frame_too_large")
    low, high = (NEVER_MS, NEVER_MS) if stays_away else RETRY_MS
    assert {low <= retry_ms(ended) <= high for _ in range(50)} == {True}
    [text] = texts(EVENTS.encode(Signal.DISCONNECT, 0, 0, encode_body(ended)))
    retry, name, data = text.strip().split(b"\n")
    assert retry.startswith(b"retry: ")
    assert name == b"event: disconnect"
    assert json.loads(data.removeprefix(b"data: ")) == {"code": code.value, "reason": "r"}


def test_after_is_waited_for_and_spread() -> None:
    draining = DisconnectBody(code="draining", after=5)
    assert len({retry_ms(draining) for _ in range(50)}) > 10
    assert all(0 <= retry_ms(draining) <= 5000 for _ in range(50))
    assert retry_ms(DisconnectBody(code="kicked", after=90)) == 90_000
    assert retry_ms(DisconnectBody(code="kicked", after=10**6)) == NEVER_MS
