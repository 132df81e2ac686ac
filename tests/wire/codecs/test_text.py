"""The JSON text form of frames: by names, complete with the header of a WebSocket frame."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from push.wire.codecs.text import TEXT, decode_text
from push.wire.errors import ProtocolError
from push.wire.frames import Frame
from push.wire.signals import ConnectStatus, DisconnectCode, RequestName, Signal


class Pushed(NamedTuple):
    id: str
    offset: int
    body: bytes


def text_of(data: bytes) -> bytes:
    """The text of a frame that a server sends."""
    assert data[0] == 0x81
    size, start = data[1], 2
    if size >= 126:
        start = 4 if size == 126 else 10
        size = int.from_bytes(data[2:start], "big")
    assert len(data) == start + size
    return data[start:]


def decoded(**members: Any) -> Frame:
    return decode_text(json.dumps(members).encode())


def test_what_is_left_out_is_empty() -> None:
    empty = Frame(Signal.PING, 0, 0, b"")
    assert decoded(signal="PING") == empty
    assert decoded(signal="PING", subSignal="", messageId=0, content={}) == empty
    assert decoded(signal="PING", subSignal=None, messageId=None, content=None) == empty
    assert decoded(signal="PING", more=[1], content={}) == empty


def test_the_body_is_the_content_as_it_was_sent() -> None:
    text = '{"content": {"a" :  "ä", "b": [1e2]} , "messageId":7,"signal":"SUB"}'
    assert decode_text(text.encode()) == Frame(
        Signal.SUB, 0, 7, '{"a" :  "ä", "b": [1e2]}'.encode()
    )


@pytest.mark.parametrize("name", RequestName.__members__)
def test_requests_are_known_by_their_names(name: str) -> None:
    frame = decoded(signal="PUBLISH", subSignal=name, messageId=1)
    assert frame.sub_signal == RequestName[name]
    answer = json.loads(text_of(TEXT.encode(Signal.PUB_ACK, frame.sub_signal, 1, b'{"ok":true}')))
    assert answer == {
        "signal": "PUB_ACK",
        "subSignal": name,
        "messageId": 1,
        "content": {"ok": True},
    }


@pytest.mark.parametrize("name", ["NEW", "1", "ms", "ACCEPTED", '"\\\n', "ä" * 64])
def test_an_unknown_name_goes_back_as_it_came(name: str) -> None:
    frame = decoded(signal="PUBLISH", subSignal=name)
    assert frame.sub_signal == name
    back = json.loads(text_of(TEXT.encode(Signal.PUB_ACK, frame.sub_signal, 0, b"")))
    assert back["subSignal"] == name


@pytest.mark.parametrize("status", ConnectStatus)
def test_the_result_of_a_connect_has_a_name(status: ConnectStatus) -> None:
    answer = json.loads(text_of(TEXT.encode(Signal.CONNECT_ACK, status, 3, b"")))
    assert (answer["signal"], answer["subSignal"]) == ("CONNECT_ACK", status.name)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (b"", "not JSON"),
        (b'{"signal":"PING"', "not JSON"),
        (b'{"signal":"PING"} x', "not JSON"),
        (b'{"signal":"PING","content":{"a":}}', "not JSON"),
        (b"[]", "object"),
        (b"7", "object"),
        (b"{}", "signal"),
        (b'{"signal":null}', "signal"),
        (b'{"signal":3}', "signal"),
        (b'{"signal":"3"}', "signal"),
        (b'{"signal":"ping"}', "signal"),
        (b'{"signal":"PING","subSignal":0}', "subSignal"),
        (b'{"signal":"PING","subSignal":"' + b"x" * 65 + b'"}', "subSignal"),
        (b'{"signal":"PING","subSignal":"\\ud800"}', ""),
        (b'{"signal":"PING","messageId":-1}', "messageId"),
        (b'{"signal":"PING","messageId":65536}', "messageId"),
        (b'{"signal":"PING","messageId":1e99}', "messageId"),
        (b'{"signal":"PING","messageId":"1"}', "messageId"),
        (b'{"signal":"PING","messageId":false}', "messageId"),
        (b'{"signal":"PING","content":[]}', "content"),
        (b'{"signal":"PING","content":"{}"}', "content"),
        (b'{"signal":"PING","content":false}', "content"),
        (b'{"signal":"PING","content":' + b'{"a":' * 33 + b"1" + b"}" * 33 + b"}", "content"),
    ],
)
def test_what_is_wrong_is_named(text: bytes, named: str) -> None:
    with pytest.raises(ProtocolError) as raised:
        decode_text(text)
    assert raised.value.code is DisconnectCode.BAD_FRAME
    assert named in raised.value.reason
    assert len(raised.value.reason) <= 200


def test_content_may_nest_as_deep_as_a_body_may() -> None:
    deepest = b'{"a":' * 31 + b"[1]" + b"}" * 31
    assert decode_text(b'{"signal":"SUB","content":' + deepest + b"}").body == deepest


def test_signals_that_may_not_come_now_are_refused() -> None:
    decoder = TEXT.new_decoder(1000, frozenset({Signal.SUB}))
    assert [frame.signal for frame in decoder.feed(b'{"signal":"SUB"}')] == [Signal.SUB]
    with pytest.raises(ProtocolError, match="PING is not accepted here"):
        decoder.feed(b'{"signal":"PING"}')


@pytest.mark.parametrize("size", [0, 20, 100, 65_536])
def test_a_push_has_the_same_length_whatever_its_number(size: int) -> None:
    body = json.dumps({"data": "x" * size}).encode()
    messages = {n: TEXT.push(Pushed("i", 1, body), n) for n in (0, 1, 99, 65_535)}
    assert len({len(data) for data in messages.values()}) == 1
    for number, data in messages.items():
        text = text_of(data)
        assert len(text) == len(body) + TEXT.push_envelope_bytes
        assert json.loads(text) == {
            "signal": "PUSH",
            "messageId": number,
            "content": {"data": "x" * size},
        }


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def is_frame_or_bad_frame(text: bytes) -> bool:
    try:
        decode_text(text)
    except ProtocolError as error:
        return error.code is DisconnectCode.BAD_FRAME
    return True


@given(JSON)
def test_any_json_is_a_frame_or_a_bad_frame(value: Any) -> None:
    for members in ({"signal": value}, {"signal": "PING", "messageId": value, "content": value}):
        assert is_frame_or_bad_frame(json.dumps(members).encode())


@given(st.binary(max_size=200))
def test_any_bytes_are_a_frame_or_a_bad_frame(raw: bytes) -> None:
    assert is_frame_or_bad_frame(raw)
    assert is_frame_or_bad_frame(b'{"signal":"PING","content":' + raw + b"}")


SHORT = ['{"signal":"PUB_ACK","messageId":%s}', '{"signal": "PUB_ACK", "messageId": %s}']
LONG = [
    '{"messageId":%s,"signal":"PUB_ACK"}',
    '{"signal":"PUB_ACK","messageId":%s,"content":{}}',
    '{"signal":"PING","messageId":%s}',
    '{"signal":"PUB_ACK","messageId":%s} ',
    '{"signal":"PUB_ACK","messageId":%s}{}',
]


@pytest.mark.parametrize("number", ["1", "17", "65535"])
@pytest.mark.parametrize("text", SHORT)
def test_an_acknowledgement_is_known_the_short_way(text: str, number: str) -> None:
    raw = (text % number).encode()
    assert TEXT.acknowledged_ids(raw) == (int(number),)
    assert decode_text(raw) == Frame(Signal.PUB_ACK, 0, int(number), b"")


@pytest.mark.parametrize(
    "number", ["1", "0", "65536", "99999", "017", "-1", "1.5", '"1"', "100000"]
)
@pytest.mark.parametrize("text", [*SHORT, *LONG])
def test_all_else_is_decoded(text: str, number: str) -> None:
    if text not in SHORT or number != "1":
        assert TEXT.acknowledged_ids((text % number).encode()) == ()
