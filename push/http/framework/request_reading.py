"""Reading what a client sent: content type, query, JSON. Whatever is wrong becomes a
`RequestError`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from urllib.parse import unquote_to_bytes

from msgspec import Struct

from push.http.framework.parameters import check_kind
from push.http.framework.route import Parameter
from push.wire.bodies import MAX_OPAQUE_BYTES
from push.wire.errors import MAX_FIELD_CHARACTERS, RequestError, shortened

MAX_QUERY_PARAMETERS = 100
MAX_IDEMPOTENCY_KEY = 255
DEFAULT_LIMIT, MAX_LIMIT = 50, 200
LIMIT_PARAMETER = Parameter(
    "limit", f"items of a page, {DEFAULT_LIMIT} unless told, at most {MAX_LIMIT}"
)


_ENCODED_SEPARATOR = re.compile(rb"%(?:2f|5c)", re.IGNORECASE)


class NoBody(Struct, forbid_unknown_fields=True):
    """The body of a request that needs none: an empty object may be sent."""


def check_content_type(values: Sequence[bytes] | None) -> None:
    """Raises `RequestError` `unsupported_media_type` unless it is JSON in UTF-8."""
    if values is not None and len(values) == 1:
        essence, *parameters = values[0].lower().split(b";")
        if essence.strip() == b"application/json" and all(map(_harmless, parameters)):
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


def _harmless(parameter: bytes) -> bool:
    name, _, value = parameter.strip().partition(b"=")
    return name != b"charset" or value.strip(b'"') in (b"utf-8", b"utf8", b"us-ascii")


def read_query(uri: bytes, allowed: Sequence[Parameter]) -> dict[str, str]:
    """The parameters by name; an unknown, repeated, missing or wrong one is `invalid` and named.

    Not the framework's parsing, which drops a name without a value.
    """
    known = {parameter.name: parameter for parameter in allowed}
    found: dict[str, str] = {}
    for item in uri.partition(b"?")[2].split(b"&", MAX_QUERY_PARAMETERS):
        if not item:
            continue
        name, _, value = (_text(part) for part in item.partition(b"="))
        parameter = known.get(name)
        name = shortened(name, MAX_FIELD_CHARACTERS)
        if parameter is None:
            raise RequestError("invalid", f"`{name}` is not a parameter here", field=name)
        if name in found:
            raise RequestError("invalid", f"`{name}` is given twice", field=name)
        if parameter.values and value not in parameter.values:
            raise RequestError(
                "invalid", f"`{name}` must be one of {', '.join(parameter.values)}", field=name
            )
        if parameter.kind:
            check_kind(parameter.kind, name, value)
        found[name] = value
    for parameter in allowed:
        if parameter.required and parameter.name not in found:
            raise RequestError("invalid", f"`{parameter.name}` is required", field=parameter.name)
    return found


def read_limit(query: Mapping[str, str]) -> int:
    """The parameter `limit` of a list; raises `RequestError` `invalid`."""
    text = query.get("limit", str(DEFAULT_LIMIT))
    if not (text.isascii() and text.isdigit() and len(text) <= 3 and 1 <= int(text) <= MAX_LIMIT):
        raise RequestError("invalid", f"`limit`: expected 1 to {MAX_LIMIT}", field="limit")
    return int(text)


def read_cursor(query: Mapping[str, str]) -> str:
    """The parameter `cursor` of a list, "" when absent; raises `RequestError` `invalid`: nobody
    should take the end of a list for what was a slip of the pen."""
    cursor = query.get("cursor", "")
    if len(cursor.encode()) > MAX_OPAQUE_BYTES or not (cursor.isascii() and cursor.isprintable()):
        raise RequestError("invalid", "`cursor`: not the cursor of a page", field="cursor")
    return cursor


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
    return unquote_to_bytes(part.replace(b"+", b" ")).decode("utf-8", "replace")[:200]


def check_addressable(uri: bytes) -> None:
    """Raises `RequestError` for a path that the router would misread: `malformed` if it is not
    text,
    `invalid` if a separator is encoded, because the router sees decoded segments joined again."""
    path = uri.partition(b"?")[0]
    if b"%" not in path:
        return
    try:
        unquote_to_bytes(path).decode()
    except UnicodeDecodeError:
        raise RequestError("malformed", "the path is not UTF-8") from None
    if _ENCODED_SEPARATOR.search(path):
        raise RequestError("invalid", "a segment of the path has an encoded slash or backslash")
