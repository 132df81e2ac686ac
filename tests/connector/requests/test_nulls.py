"""`null` in what may be absent (docs/protocol.md, "Bodies")."""

from __future__ import annotations

import json
from typing import Annotated

import pytest
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from push.connector.requests.nulls import nulls_taken_out_for
from push.wire.errors import RequestError
from push.wire.reading import decoder_for


class Inner(Struct):
    name: str
    role: str | UnsetType = UNSET


class Outer(Struct):
    to: Inner
    data: Raw
    limit: Annotated[int, Meta(ge=1)] = 50
    names: list[str] | UnsetType = UNSET
    extra: Raw | UnsetType = UNSET
    other: Inner | UnsetType = UNSET


decode = decoder_for(Outer, nulls_taken_out_for(Outer))


def test_null_in_an_optional_member_means_that_it_is_absent() -> None:
    read = decode(
        b'{"to": {"name": "a", "role": null}, "data": 1, "limit": null, "names":\n null ,'
        b' "other": null}'
    )
    assert read == Outer(Inner("a"), Raw(b"1"))


def test_null_is_a_value_where_any_json_may_stand() -> None:
    read = decode(b'{"to":{"name":"a"},"data": null,"extra":null}')
    assert (bytes(read.data), bytes(read.extra)) == (b"null", b"null")


def test_what_else_is_there_stays_as_it_was_written() -> None:
    written = b'{"limit": 1e400, "limit": null, "name": "null"}'
    body = b'{"to": {"name": "null"}, "data": ' + written + b', "limit": null, "x": [null]}'
    assert bytes(decode(body).data) == written


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({"to": None, "data": 1}, "invalid", "to"),
        ({"to": {"name": None}, "data": 1}, "invalid", "to.name"),
        ({"to": {"name": "a"}, "data": 1, "names": [None]}, "invalid", "names[0]"),
        ([None], "invalid", None),
        (None, "invalid", None),
    ],
)
def test_null_elsewhere_is_refused(body: object, code: str, field: str | None) -> None:
    with pytest.raises(RequestError) as caught:
        decode(json.dumps(body).encode())
    assert (caught.value.code, caught.value.field) == (code, field)


@pytest.mark.parametrize("raw", [b"{null", b'{"data":null} x', b"null null", b'{"to":{"a":null}'])
def test_what_is_no_json_is_malformed(raw: bytes) -> None:
    with pytest.raises(RequestError) as caught:
        decode(raw)
    assert caught.value.code == "malformed"
