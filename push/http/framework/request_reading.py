"""Reading what a client sent: content type, query, JSON. A mistake in it is a `RequestError`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from typing import TypeVar
from urllib.parse import unquote_to_bytes

import msgspec
from msgspec import Struct, inspect

from push.wire.api.common import MAX_IDEMPOTENCY_KEY
from push.wire.errors import MAX_FIELD_CHARACTERS, RequestError, shortened
from push.wire.reading import invalid_body

Query = TypeVar("Query", bound=Struct)

MAX_QUERY_PARAMETERS = 100
MAX_VALUE_CHARACTERS = 300  # of a query parameter; a cursor has up to 256

_NUMBER = re.compile("[0-9]{1,16}")
_TRUTH = {"true": True, "false": False}
_ENCODED_SEPARATOR = re.compile(rb"%(?:2f|5c)", re.IGNORECASE)


class NoBody(Struct, forbid_unknown_fields=True):
    """The body of a request that needs none: an empty object may be sent."""


def check_content_type(values: Sequence[bytes] | None) -> None:
    """Raises `RequestError` `unsupported_media_type` unless it is JSON in UTF-8."""
    if values is not None and len(values) == 1 and _is_json(values[0]):
        return
    given = "none" if not values else ", ".join(v.decode("latin-1") for v in values)
    raise RequestError(
        "unsupported_media_type",
        f"Content-Type must be application/json in UTF-8; it was: {given[:100]}",
        field="Content-Type",
    )


def check_content_encoding(values: Sequence[bytes] | None) -> None:
    """Raises `RequestError` `unsupported_media_type` for a body that is compressed."""
    for value in values or ():
        if value.strip().lower() not in (b"", b"identity"):
            raise RequestError(
                "unsupported_media_type",
                "a body must come as it is, without a Content-Encoding; it was: "
                f"{value.decode('latin-1')[:100]}",
                field="Content-Encoding",
            )


@lru_cache(64)  # most clients say the same
def _is_json(value: bytes) -> bool:
    essence, *parameters = value.lower().split(b";")
    return essence.strip() == b"application/json" and all(map(_harmless, parameters))


def _harmless(parameter: bytes) -> bool:
    name, _, value = parameter.strip().partition(b"=")
    return name != b"charset" or value.strip(b'"') in (b"utf-8", b"utf8", b"us-ascii")


def read_query(uri: bytes, kind: type[Query]) -> Query:
    """The parameters as a `kind`; an unknown, repeated, missing or wrong one is `invalid` and
    named.

    Not the framework's parsing, which drops a name without a value.
    """
    types = _types_of(kind)
    found: dict[str, str | int | bool] = {}
    for item in uri.partition(b"?")[2].split(b"&", MAX_QUERY_PARAMETERS):
        if not item:
            continue
        name, _, value = (_text(part) for part in item.partition(b"="))
        type_ = types.get(name)
        name = shortened(name, MAX_FIELD_CHARACTERS)
        if type_ is None:
            raise RequestError("invalid", f"`{name}` is not a parameter here", field=name)
        if name in found:
            raise RequestError("invalid", f"`{name}` is given twice", field=name)
        found[name] = _value_of(value, type_, name)
    try:
        return msgspec.convert(found, kind)
    except msgspec.ValidationError as error:
        raise invalid_body(str(error), kind) from None


@cache
def _types_of(kind: type[Struct]) -> Mapping[str, type[inspect.Type]]:
    """The parameters of a query, and what the text of each is to be read as."""
    info = inspect.type_info(kind)
    assert isinstance(info, inspect.StructType)
    return {field.encode_name: _plain(field.type) for field in info.fields}


def _plain(info: inspect.Type) -> type[inspect.Type]:
    """`IntType`, `BoolType`, or anything else for text."""
    if isinstance(info, inspect.Metadata):
        return _plain(info.type)
    return type(info)


def _value_of(text: str, type_: type[inspect.Type], name: str) -> str | int | bool:
    if type_ is inspect.IntType:
        if not _NUMBER.fullmatch(text):
            raise RequestError("invalid", f"`{name}`: expected a whole number", field=name)
        return int(text)
    if type_ is inspect.BoolType:
        if text not in _TRUTH:
            raise RequestError("invalid", f"`{name}`: expected true or false", field=name)
        return _TRUTH[text]
    return text


def read_idempotency_key(values: Sequence[bytes] | None) -> str | None:
    """The header `Idempotency-Key`; raises `RequestError` `invalid` for one that is not a key."""
    if not values:
        return None
    if len(values) > 1:
        raise RequestError("invalid", "`Idempotency-Key` is given twice", field="Idempotency-Key")
    return check_idempotency_key(values[0].decode("latin-1").strip(), "Idempotency-Key")


def check_idempotency_key(key: str, field: str) -> str:
    if not (1 <= len(key) <= MAX_IDEMPOTENCY_KEY and key.isascii() and key.isprintable()):
        raise RequestError(
            "invalid",
            f"`{field}`: expected 1 to {MAX_IDEMPOTENCY_KEY} printable ASCII characters",
            field=field,
        )
    return key


def _text(part: bytes) -> str:
    text = unquote_to_bytes(part.replace(b"+", b" ")).decode("utf-8", "replace")
    return text[:MAX_VALUE_CHARACTERS]


def check_addressable(uri: bytes) -> None:
    """Raises `RequestError` for a path that the router would misread: `malformed` if it is not
    text, `invalid` if a separator is encoded, because the router sees decoded segments joined
    again, `not_found` if its first segment is empty, which the router would leave out."""
    path = uri.partition(b"?")[0]
    if path.startswith(b"//"):
        raise RequestError("not_found", "there is nothing at this path")
    if b"%" not in path:
        return
    try:
        unquote_to_bytes(path).decode()
    except UnicodeDecodeError:
        raise RequestError("malformed", "the path is not UTF-8") from None
    if _ENCODED_SEPARATOR.search(path):
        raise RequestError("invalid", "a segment of the path has an encoded slash or backslash")
