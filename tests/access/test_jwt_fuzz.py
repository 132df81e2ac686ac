"""A JWT is text that anybody can send: whatever it is, it is accepted or cleanly refused."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from push.access.claims import Claims
from push.access.jwt import JwtVerifier
from push.wire.bodies import MAX_JWT_BYTES
from push.wire.errors import MAX_TEXT_CHARACTERS, RequestError
from push.wire.idents import is_name
from tests.access.test_jwt import ALL, EC, ED, RSA, SECRET, pem, segment, signed_hs256, verifier
from tests.amounts import amount

MANY = settings(max_examples=amount(80, 500), deadline=None)
WITHOUT_A_KEY = verifier()
WITH_A_KEY = verifier(SECRET, issuer="me")

# Pieces of JSON that other parsers take, or take differently, or fail on.
HOSTILE = (
    *('"\\ud800"', '"\\udc00\\ud800"', '"\\u0000"', '"\ufeff"', '"\u202e"', "NaN", "Infinity"),
    *("-Infinity", "1e400", "-1e400", "1" * 5_000, "-0", "1e308", "0.1", "00", "1.", ".5", "1e"),
    *("true", "null", "[]", "{}", '""', '"a"', "[[]]", '{"a":{}}', '["a","a"]', "'a'", "a", ""),
    *("[" * 60 + "]" * 60, '{"a":' * 60 + "1" + "}" * 60, "[" * 3_000, '"' + "x" * 3_000 + '"'),
    *(
        "9007199254740993",
        "1e18",
        "253402300800",
        "-1",
        "1700000000",
        "99999999999",
        '"1700000000"',
    ),
    *('{"a":1,"a":2}', "[1,]", '"\\x41"', '"\t"', "\u00a01", "1 1", "/**/1"),
)
members = st.sampled_from(
    (
        *("alg", "kid", "crit", "b64", "typ", "jwk", "sub", "exp", "nbf", "iat", "aud", "iss"),
        *("token", "topics", "\\ud800", "a"),
    )
)
values = st.sampled_from(HOSTILE) | st.text(max_size=8).map(json.dumps) | st.integers().map(str)


def good(**changes: str) -> dict[str, str]:
    soon = str(int(time.time()) + 600)
    claims = {"sub": '"alice"', "aud": '"push"', "iss": '"me"', "exp": soon}
    return {**claims, **changes}


def object_of(pairs: list[tuple[str, str]]) -> bytes:
    """JSON text of an object, well-formed or not, with names that may come twice."""
    text = "{" + ",".join(f'"{name}":{value}' for name, value in pairs) + "}"
    return text.encode("utf-8", "surrogatepass")


def judge(check: JwtVerifier, text: str) -> Claims | RequestError:
    try:
        claims = check.verify(text)
    except RequestError as refusal:
        _check_refusal(refusal)
        return refusal
    assert is_name(claims.user)
    assert all(map(is_name, claims.topics))
    assert claims.token is None or claims.token.isascii()
    assert 0 < claims.expires_s < 2**53 // 1000
    return claims


def _check_refusal(refusal: RequestError) -> None:
    assert (refusal.code, refusal.field) == ("unauthenticated", "jwt")
    assert refusal.detail.encode()
    assert len(refusal.detail) <= MAX_TEXT_CHARACTERS


def refused(text: str) -> None:
    for check in (WITHOUT_A_KEY, WITH_A_KEY):
        assert isinstance(judge(check, text), RequestError), text


@MANY
@given(header=st.lists(st.tuples(members, values), max_size=4))
def test_any_header(header: list[tuple[str, str]]) -> None:
    for pairs in (header, [("alg", '"HS256"'), *header], [*header, ("alg", '"HS256"')]):
        text = signed_hs256(object_of(pairs), object_of(list(good().items())), SECRET)
        judge(WITH_A_KEY, text)
        assert isinstance(judge(WITHOUT_A_KEY, text), RequestError)


@MANY
@given(payload=st.lists(st.tuples(members, values), max_size=4))
def test_any_payload(payload: list[tuple[str, str]]) -> None:
    for pairs in (payload, [*good().items(), *payload], [*payload, *good().items()]):
        judge(WITH_A_KEY, signed_hs256({"alg": "HS256"}, object_of(pairs), SECRET))


@MANY
@given(raw=st.binary(max_size=60), place=st.integers(0, 2))
def test_any_bytes_in_base64(raw: bytes, place: int) -> None:
    parts = [segment({"alg": "HS256"}), segment({}), segment(b"x")]
    parts[place] = segment(raw)
    refused(b".".join(parts).decode())


@MANY
@given(text=st.text(max_size=80) | st.from_regex(r"[A-Za-z0-9_=.-]{0,80}", fullmatch=True))
def test_any_text(text: str) -> None:
    refused(text)


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("name", ["alg", "kid", "crit", "b64", "typ"])
def test_each_hostile_value_in_a_header(name: str, value: str) -> None:
    header = object_of([("alg", '"HS256"'), (name, value)])
    text = signed_hs256(header, object_of(list(good().items())), SECRET)
    judge(WITH_A_KEY, text)
    assert isinstance(judge(WITHOUT_A_KEY, text), RequestError)
    if name in ("crit", "b64"):
        assert isinstance(judge(WITH_A_KEY, text), RequestError)


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("name", ["sub", "exp", "nbf", "iat", "aud", "iss", "token", "topics", "x"])
def test_each_hostile_value_in_a_payload(name: str, value: str) -> None:
    payload = object_of(list(good(**{name: value}).items()))
    judge(WITH_A_KEY, signed_hs256({"alg": "HS256"}, payload, SECRET))


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": "true"},
        {"exp": "null"},
        {"exp": '"9999999999"'},
        {"exp": "[9999999999]"},
        {"exp": "1e400"},
        {"exp": "NaN"},
        {"exp": "-1"},
        {"nbf": '"0"'},
        {"nbf": "{}"},
        {"nbf": "1e300"},
        {"iat": "true"},
        {"iat": '""'},
        {"iat": "1e300"},
        {"aud": "null"},
        {"aud": "{}"},
        {"aud": "[1]"},
        {"aud": '["push", 1]'},
        {"aud": "[]"},
        {"iss": "null"},
        {"iss": '["me"]'},
        {"iss": "5"},
        {"sub": "null"},
        {"sub": '["alice"]'},
        {"sub": '"."'},
        {"sub": '".."'},
        {"sub": '"a/b"'},
        {"sub": '"alice\\n"'},
        {"sub": '"\\ud800"'},
        {"token": "5"},
        {"token": '""'},
        {"token": '".."'},
        {"token": '"a/b"'},
        {"token": '"\\ud800"'},
        {"token": '"' + "x" * 65 + '"'},
        {"topics": "null"},
        {"topics": '"news"'},
        {"topics": '[["news"]]'},
        {"topics": '["."]'},
        {"topics": '["news", ".."]'},
        {"topics": '["a b"]'},
        {"topics": '["\\ud800"]'},
    ],
)
def test_claims_of_a_wrong_kind_are_refused(changes: dict[str, str]) -> None:
    payload = object_of(list(good(**changes).items()))
    refused(signed_hs256({"alg": "HS256"}, payload, SECRET))


def test_the_longest_jwt() -> None:
    longest = text = ""
    padding = 5_900
    while len(text) <= MAX_JWT_BYTES:
        longest, padding = text, padding + 1
        payload = object_of(list(good(x='"' + "x" * padding + '"').items()))
        text = signed_hs256({"alg": "HS256"}, payload, SECRET)
    assert len(longest) >= MAX_JWT_BYTES - 2
    assert isinstance(judge(WITH_A_KEY, longest), Claims)
    for too_long in (text, "a" * 100_000):
        refusal = judge(WITH_A_KEY, too_long)
        assert isinstance(refusal, RequestError)
        assert "8,192" in refusal.detail


def test_an_end_in_a_far_future_is_a_time() -> None:
    for exp in ("1e18", "253402300800", "1" + "0" * 18):
        payload = object_of(list(good(exp=exp).items()))
        claims = judge(WITH_A_KEY, signed_hs256({"alg": "HS256"}, payload, SECRET))
        assert isinstance(claims, Claims)
        json.dumps(claims.expires_s * 1000)


@pytest.mark.parametrize("algorithm", ALL)
def test_signatures_of_any_length_are_refused(algorithm: str) -> None:
    check = verifier(SECRET, pem(RSA), pem(EC), pem(ED))
    for size in (*range(100), 255, 256, 257, 512):
        for raw in (bytes(size), b"\xff" * size):
            parts = segment({"alg": algorithm}), segment(b"{}"), segment(raw)
            assert isinstance(judge(check, b".".join(parts).decode()), RequestError)
