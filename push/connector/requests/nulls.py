"""`null` in an optional member of what a device sends means that the member is absent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import NamedTuple

import msgspec
from msgspec import Raw, Struct
from msgspec.inspect import Metadata, RawType, StructType, type_info

_members_of = msgspec.json.Decoder(dict[str, Raw]).decode
_encode = msgspec.json.Encoder().encode


class _Shape(NamedTuple):
    optional: frozenset[str]  # members that may be absent, and whose value null says nothing
    inner: Mapping[str, _Shape]  # members that are objects with such members


@cache
def nulls_taken_out_for(kind: type[Struct]) -> Callable[[bytes], bytes]:
    """A function that takes them out of the JSON of a `kind`; its other values stay as they are.

    Where any JSON value is allowed (`data`, `extra`), null is one. A text that is not a JSON object
    is returned unchanged: the decoder refuses it.
    """
    info = type_info(kind)
    assert isinstance(info, StructType)
    shape = _shape_of(info)

    def take_out(raw: bytes) -> bytes:
        return _take_out(raw, shape) if b"null" in raw else raw

    return take_out


def _shape_of(info: StructType) -> _Shape:
    optional, inner = set(), {}
    for field in info.fields:
        kind = field.type.type if isinstance(field.type, Metadata) else field.type
        if isinstance(kind, StructType):
            inner[field.encode_name] = _shape_of(kind)
        if not field.required and not isinstance(kind, RawType):
            optional.add(field.encode_name)
    return _Shape(frozenset(optional), inner)


def _take_out(raw: bytes | Raw, shape: _Shape) -> bytes:
    try:
        members = _members_of(raw)
    except (msgspec.DecodeError, RecursionError):
        return bytes(raw)
    for name in shape.optional & members.keys():
        if bytes(members[name]) == b"null":
            del members[name]
    for name in shape.inner.keys() & members.keys():
        members[name] = Raw(_take_out(members[name], shape.inner[name]))
    return _encode(members)
