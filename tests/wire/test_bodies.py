"""Bodies: round trips, forward compatibility, limits; a wrong field is named."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from push.wire.bodies import (
    MAX_JSON_DEPTH,
    MAX_JWT_BYTES,
    AuthRequest,
    ConnectAccepted,
    ConnectRefused,
    ConnectRequest,
    DisconnectBody,
    Empty,
    PingBody,
    RequestAnswer,
    SubAnswer,
    SubRequest,
    check_json_text,
    decode_body,
    encode_body,
    json_depth_exceeds,
)
from push.wire.errors import ProtocolError
from push.wire.signals import DisconnectCode
from tests.amounts import amount

KINDS = [SubRequest, ConnectRequest, AuthRequest, PingBody, DisconnectBody, Empty]


def read(kind: type[Any], body: Any, what: str = "IT") -> Any:
    raw = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
    return decode_body(kind, raw, what)


def reason(kind: type[Any], body: Any) -> str:
    with pytest.raises(ProtocolError) as caught:
        read(kind, body)
    assert caught.value.code is DisconnectCode.BAD_FRAME
    return caught.value.reason


def check_error(error: ProtocolError) -> None:
    """It ends the connection with `bad_frame`, names the signal, and can be sent."""
    assert error.code is DisconnectCode.BAD_FRAME
    assert error.reason.startswith("IT body: ")
    encode_body(DisconnectBody(reason=error.reason))


# --- Round trips ---------------------------------------------------------------------------------

# Names have no control characters.
short = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=12)
pair = {"token": short, "secret": short}
seconds = st.integers(1, 2**31 - 1)
offsets = st.integers(0, 10**16 - 1).map(str)
labels = st.dictionaries(short, offsets, max_size=3)

bodies = st.one_of(
    st.builds(SubRequest, platform=short, app=short, key=st.none() | short, device=short, **pair),
    st.builds(SubAnswer, ok=st.booleans(), code=st.none() | short, detail=short, after=seconds),
    st.builds(ConnectRequest, cursors=labels, sdk=st.none() | short, window=seconds, **pair),
    st.builds(ConnectRequest, jwt=short, heartbeat=st.none() | seconds),
    st.builds(
        ConnectAccepted,
        session=short,
        user=st.none() | short,
        truncated=st.lists(short, max_size=2),
        streams=labels,
    ),
    st.builds(ConnectRefused, code=short, servers=st.lists(short, max_size=2), after=seconds),
    st.builds(PingBody, interval=st.none() | seconds, time=st.none() | st.integers(0, 2**53)),
    st.builds(AuthRequest, jwt=short),
    st.builds(RequestAnswer, ok=st.booleans(), code=short, field=st.none() | short),
    st.builds(DisconnectBody, code=short, reason=short, servers=st.lists(short, max_size=2)),
)


@given(bodies)
def test_what_was_encoded_is_decoded(body: msgspec.Struct):
    assert decode_body(type(body), encode_body(body), "IT") == body


@given(bodies)
def test_what_is_encoded_is_a_json_object_in_utf_8(body: msgspec.Struct):
    assert isinstance(json.loads(encode_body(body).decode()), dict)


@given(st.sampled_from(KINDS), st.binary(max_size=60))
def test_random_bytes_give_a_body_or_bad_frame(kind: type[Any], raw: bytes):
    try:
        body = decode_body(kind, raw, "IT")
    except ProtocolError as error:
        check_error(error)
    else:
        assert isinstance(body, kind)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
members = sorted({name for kind in KINDS for name in kind.__struct_fields__})


@given(st.sampled_from(KINDS), st.dictionaries(st.sampled_from(members), json_values, max_size=4))
def test_any_json_object_gives_a_body_or_bad_frame(kind: type[Any], value: dict[str, Any]):
    """Values of any type in the documented members; NaN and lone surrogates are not JSON."""
    try:
        assert isinstance(read(kind, json.dumps(value).encode()), kind)
    except ProtocolError as error:
        check_error(error)


# --- What is not a body --------------------------------------------------------------------------


def test_an_empty_body_means_an_empty_object():
    assert decode_body(PingBody, b"", "PING") == PingBody()
    with pytest.raises(ProtocolError, match=r"SUB body: .*`platform`"):
        decode_body(SubRequest, b"", "SUB")


@pytest.mark.parametrize(
    "raw", [b"[]", b"1", b'"{}"', b"null", b" ", b"{", b"{}{}", b"{} x", b"{'a':1}", b'{"a":1,}']
)
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_one_json_object_is_refused(kind: type[Any], raw: bytes):
    assert reason(kind, raw)


@pytest.mark.parametrize("raw", [b'{"a":"\xff"}', b'{"a":"\xed\xa0\x80"}', b"\xff\xfe{\x00}\x00"])
def test_text_that_is_not_utf_8_is_refused_even_in_an_unknown_member(raw: bytes):
    assert "not UTF-8 at byte" in reason(PingBody, raw)


def test_a_lone_surrogate_in_an_escape_is_refused():
    assert "JSON" in reason(SubRequest, b'{"platform":"\\udfff","app":"a"}')


def test_unknown_members_are_ignored():
    later = {"jwt": "j", "later": {"deep": [1, None]}}
    assert read(AuthRequest, later) == AuthRequest(jwt="j")
    assert read(Empty, {"anything": 1}) == Empty()


def test_a_reason_is_short_enough_to_be_sent():
    assert len(reason(SubRequest, {"platform": 1, "app": "x" * 100_000})) <= 500


# --- Depth ---------------------------------------------------------------------------------------


def nested(depth: int, opening: str = "[", closing: str = "]") -> bytes:
    return ('{"x":' + opening * (depth - 1) + closing * (depth - 1) + "}").encode()


def test_json_may_nest_32_deep_and_no_deeper():
    assert MAX_JSON_DEPTH == 32
    objects = '{"x":' * 32 + "1" + "}" * 32
    assert read(PingBody, objects.encode()) == PingBody()
    assert "deeper than 32" in reason(PingBody, nested(33))
    assert "deeper than 32" in reason(PingBody, ('{"x":' * 33 + "1" + "}" * 33).encode())
    deep = ('{"x":[' + ",".join(["[]"] * 40) + "," + "[" * 31 + "]" * 31 + "]}").encode()
    assert "deeper than 32" in reason(PingBody, deep)


def test_many_arrays_beside_each_other_are_not_deep():
    assert read(PingBody, {"x": [[], {}, [[]]] * 500}) == PingBody()


def test_brackets_in_strings_do_not_count():
    assert read(PingBody, {"x": "[{" * 100, 'k"[\\': ['\\"[[[['] * 40}) == PingBody()


def test_a_million_brackets_are_refused_without_recursion():
    assert "deeper than 32" in reason(PingBody, b"[" * 1_000_000)
    assert "deeper than 32" in reason(PingBody, b'{"x":' * 200_000)


def depth_by_the_book(raw: bytes) -> tuple[int, bool]:
    """The deepest nesting, character by character, until the text breaks; whether it does not."""
    depth = deepest = 0
    in_string = escaped = False
    for character in raw:
        if in_string:
            if escaped:
                escaped = False
            elif character == ord("\\"):
                escaped = True
            elif character == ord('"'):
                in_string = False
        elif character == ord('"'):
            in_string = True
        elif character in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in b"]}":
            depth -= 1
        if depth < 0 or (character == ord("\\") and not in_string):
            return deepest, False
    return deepest, not (depth or in_string)


PIECES = [b"[", b"[[", b"{", b"]", b"}", b'"', b"\\", b"a", b"\n", b"[]", b"\xff", b'\\"', b'"["']
TEXTS = st.lists(st.sampled_from(PIECES), max_size=60).map(b"".join)
# Whole texts, which lists of pieces seldom are.
NESTED = st.recursive(
    st.sampled_from([b"1", b'"]["', b'"\\\\"', b'"\\"["', b'""', b"{}"]),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda parts: b"[" + b",".join(parts) + b"]"),
        inner.map(lambda part: b'{"{":' + part + b"}"),
        st.tuples(inner, st.integers(1, 9)).map(lambda p: b"[" * p[1] + p[0] + b"]" * p[1]),
        st.tuples(inner, st.integers(1, 5)).map(lambda p: b"[" + b",".join([p[0]] * p[1]) + b"]"),
    ),
    max_leaves=12,
)


@settings(max_examples=amount(150, 1000), deadline=None)
@given(st.one_of(TEXTS, NESTED), st.integers(1, 9))
def test_depth_is_counted_outside_strings_and_bounded_in_broken_text(raw: bytes, limit: int):
    deepest, is_whole = depth_by_the_book(raw)
    exceeds = json_depth_exceeds(raw, limit)
    if is_whole:
        assert exceeds == (deepest > limit)
    elif not exceeds:
        assert deepest <= 2 * limit


def test_nested_texts_of_the_test_above_are_whole():
    assert depth_by_the_book(b'[{"{":["][","\\\\","\\"["]}]') == (3, True)
    assert depth_by_the_book(b'"[') == (0, False)
    assert depth_by_the_book(b"]") == (0, False)


def test_the_text_check_does_not_judge_syntax():
    check_json_text(b'{"a":')
    check_json_text(b"")


# --- Fields --------------------------------------------------------------------------------------

SUB = {"platform": "linux", "app": "a"}
CONNECT = {"token": "t", "secret": "s"}


@pytest.mark.parametrize(
    ("kind", "body", "field"),
    [
        (SubRequest, {"app": "a"}, "platform"),
        (SubRequest, {"platform": "p"}, "app"),
        (SubRequest, SUB | {"platform": 1}, "platform"),
        (SubRequest, SUB | {"platform": "p" * 65}, "platform"),
        (SubRequest, SUB | {"platform": "é" * 33}, "platform"),
        (SubRequest, SUB | {"app": "é" * 33}, "app"),
        (SubRequest, SUB | {"device": "é" * 65}, "device"),
        (SubRequest, SUB | {"device": "d" * 129}, "device"),
        (SubRequest, SUB | {"key": ["k"]}, "key"),
        (SubRequest, SUB | {"token": "é" * 33, "secret": "s"}, "token"),
        (ConnectRequest, {}, "token"),
        (ConnectRequest, {"token": "t"}, "secret"),
        (ConnectRequest, {"secret": "s", "jwt": "j"}, "token"),
        (ConnectRequest, CONNECT | {"token": "t" * 65}, "token"),
        (ConnectRequest, CONNECT | {"secret": "é" * 33}, "secret"),
        (ConnectRequest, {"jwt": "j" * (MAX_JWT_BYTES + 1)}, "jwt"),
        (ConnectRequest, CONNECT | {"heartbeat": "30"}, "heartbeat"),
        (ConnectRequest, CONNECT | {"heartbeat": True}, "heartbeat"),
        (ConnectRequest, CONNECT | {"window": 0}, "window"),
        (ConnectRequest, CONNECT | {"window": 2**31}, "window"),
        (ConnectRequest, CONNECT | {"max_frame": 4095}, "max_frame"),
        (ConnectRequest, CONNECT | {"sdk": "é" * 33}, "sdk"),
        (ConnectRequest, CONNECT | {"cursors": ["all"]}, "cursors"),
        (ConnectRequest, CONNECT | {"cursors": {"all": 7}}, "cursors"),
        (AuthRequest, {}, "jwt"),
        (AuthRequest, {"jwt": None}, "jwt"),
        (AuthRequest, {"jwt": "j" * (MAX_JWT_BYTES + 1)}, "jwt"),
        (PingBody, {"interval": 1.5}, "interval"),
        (DisconnectBody, {"code": 7}, "code"),
        (DisconnectBody, {"reason": "r" * 1025}, "reason"),
        (DisconnectBody, {"after": "soon"}, "after"),
    ],
)
def test_a_wrong_missing_or_out_of_range_field_is_named(
    kind: type[Any], body: dict[str, Any], field: str
):
    assert field in reason(kind, body)


def test_limits_in_bytes_are_reached_exactly():
    body = SUB | {"platform": "é" * 32, "app": "a" * 64, "device": "é" * 64}
    assert read(SubRequest, body).device == "é" * 64
    assert read(ConnectRequest, CONNECT | {"max_frame": 4096}).max_frame == 4096
    assert read(ConnectRequest, {"jwt": "j" * MAX_JWT_BYTES}).token is None


def test_null_means_absent_where_a_member_is_optional():
    assert read(ConnectRequest, CONNECT | {"jwt": None, "heartbeat": None}).heartbeat is None


# --- What the server sends -----------------------------------------------------------------------


def test_an_accepted_connect_says_null_for_no_user_and_lists_what_is_truncated():
    body = ConnectAccepted(session="s", user=None, truncated=[], heartbeat=30)
    assert json.loads(encode_body(body)) == {
        "session": "s",
        "user": None,
        "heartbeat": 30,
        "truncated": [],
    }


def test_a_registration_is_the_pair_or_ok_false():
    assert encode_body(SubAnswer(token="t", secret="s")) == b'{"token":"t","secret":"s"}'
    refused = encode_body(SubAnswer(ok=False, code="invalid", detail="d"))
    assert json.loads(refused) == {"ok": False, "code": "invalid", "detail": "d"}


def test_an_answer_always_says_ok():
    assert json.loads(encode_body(RequestAnswer(ok=True, expires=5))) == {"ok": True, "expires": 5}
