"""Reading what a client sent: content type, query, JSON. Whatever is wrong becomes a `Refusal`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import unquote_to_bytes

import msgspec
from msgspec import Struct

from push.http.routes import Parameter
from push.wire.bodies import MAX_OPAQUE_BYTES, check_json_text
from push.wire.errors import Refusal

MAX_QUERY_PARAMETERS = 100
MAX_IDEMPOTENCY_KEY = 255
DEFAULT_LIMIT, MAX_LIMIT = 50, 200
LIMIT_PARAMETER = Parameter(
    "limit", f"items of a page, {DEFAULT_LIMIT} unless told, at most {MAX_LIMIT}"
)

# How msgspec ends a message: where in the body, if not at its top.
_PLACE = re.compile(r"^(?P<what>.*?)(?: - at `\$(?P<path>.*)`)?$", re.DOTALL)
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<name>.*)`$", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(?P<name>.*)`$")
_OURS = re.compile(r"`(?P<name>\w+)` ")
_PYTHON_TYPES = {"`str`": "a string", "`int`": "an integer", "`bool`": "a boolean"}
_TYPE = re.compile("|".join(_PYTHON_TYPES))

_any_json = msgspec.json.Decoder(msgspec.Raw)


class NoBody(Struct, forbid_unknown_fields=True):
    """The body of a request that needs none: an empty object may be sent."""


def decoder_for(kind: Any) -> Callable[[bytes], Any]:
    """A function that makes a `kind` of JSON text or raises `Refusal` `malformed`, `invalid`."""
    decode = msgspec.json.Decoder(kind).decode

    def read(raw: bytes) -> Any:
        check_json(raw)
        try:
            return decode(raw)
        except msgspec.ValidationError as error:
            check_syntax(raw)
            raise invalid_body(str(error)) from None
        except (msgspec.DecodeError, RecursionError) as error:
            raise malformed(str(error)) from None

    return read


def check_json(raw: bytes) -> None:
    """Raises `Refusal` `malformed` for what is not UTF-8 or nests deeper than 32."""
    try:
        check_json_text(raw)
    except ValueError as error:
        raise malformed(str(error)) from None


def check_syntax(raw: bytes) -> None:
    """Raises `Refusal` `malformed` for what is not JSON.

    msgspec reports the first wrong thing it meets, which may be a field before bytes that are not
    JSON at all.
    """
    try:
        _any_json.decode(raw)
    except (msgspec.DecodeError, RecursionError) as error:
        raise malformed(str(error)) from None


def malformed(why: str) -> Refusal:
    why = why.removeprefix("JSON is malformed: ")
    return Refusal("malformed", f"the body is not JSON: {why}")


def invalid_body(message: str) -> Refusal:
    """msgspec's message as `field` ("to.token") and a sentence."""
    place = _PLACE.match(message)
    assert place is not None, "the pattern matches any text"
    what, path = place["what"], (place["path"] or "").lstrip(".")

    def inside(name: str) -> str:
        return f"{path}.{name}" if path else name

    if found := _UNKNOWN.match(what):
        field = inside(found["name"])
        return Refusal("invalid", f"`{field}` is not a field of this request", field=field)
    if found := _MISSING.match(what):
        field = inside(found["name"])
        return Refusal("invalid", f"`{field}` is required", field=field)
    if found := _OURS.match(what):
        return Refusal("invalid", what, field=inside(found["name"]))
    readable = _TYPE.sub(lambda kind: _PYTHON_TYPES[kind[0]], what)
    if not path:
        return Refusal("invalid", f"the body: {_lower(readable)}")
    return Refusal("invalid", f"`{path}`: {_lower(readable)}", field=path)


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def check_content_type(values: Sequence[bytes] | None) -> None:
    """Raises `Refusal` `unsupported_media_type` unless it is JSON in UTF-8."""
    if values is not None and len(values) == 1:
        essence, *parameters = values[0].lower().split(b";")
        if essence.strip() == b"application/json" and all(map(_harmless, parameters)):
            return
    given = "none" if not values else ", ".join(v.decode("latin-1") for v in values)
    raise Refusal(
        "unsupported_media_type",
        f"Content-Type must be application/json in UTF-8; it was: {given[:100]}",
        field="Content-Type",
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
        if parameter is None:
            raise Refusal("invalid", f"`{name}` is not a parameter here", field=name)
        if name in found:
            raise Refusal("invalid", f"`{name}` is given twice", field=name)
        if parameter.values and value not in parameter.values:
            raise Refusal(
                "invalid", f"`{name}` must be one of {', '.join(parameter.values)}", field=name
            )
        found[name] = value
    for parameter in allowed:
        if parameter.required and parameter.name not in found:
            raise Refusal("invalid", f"`{parameter.name}` is required", field=parameter.name)
    return found


def read_limit(query: Mapping[str, str]) -> int:
    """The parameter `limit` of a list; raises `Refusal` `invalid`."""
    text = query.get("limit", str(DEFAULT_LIMIT))
    if not (text.isascii() and text.isdigit() and len(text) <= 3 and 1 <= int(text) <= MAX_LIMIT):
        raise Refusal("invalid", f"`limit`: expected 1 to {MAX_LIMIT}", field="limit")
    return int(text)


def read_cursor(query: Mapping[str, str]) -> str:
    """The parameter `cursor` of a list, "" when absent; raises `Refusal` `invalid`: nobody should
    take the end of a list for what was a slip of the pen."""
    cursor = query.get("cursor", "")
    if len(cursor.encode()) > MAX_OPAQUE_BYTES or not (cursor.isascii() and cursor.isprintable()):
        raise Refusal("invalid", "`cursor`: not the cursor of a page", field="cursor")
    return cursor


def read_idempotency_key(values: Sequence[bytes] | None) -> str | None:
    """The header `Idempotency-Key`; raises `Refusal` `invalid` for one that is not a key."""
    if not values:
        return None
    if len(values) > 1:
        raise Refusal("invalid", "`Idempotency-Key` is given twice", field="Idempotency-Key")
    return check_idempotency_key(values[0].decode("latin-1").strip(), "Idempotency-Key")


def check_idempotency_key(key: str, field: str) -> str:
    if not (1 <= len(key) <= MAX_IDEMPOTENCY_KEY and key.isascii() and key.isprintable()):
        raise Refusal(
            "invalid",
            f"`{field}`: expected 1 to {MAX_IDEMPOTENCY_KEY} printable ASCII characters",
            field=field,
        )
    return key


def _text(part: bytes) -> str:
    return unquote_to_bytes(part.replace(b"+", b" ")).decode("utf-8", "replace")[:200]


def check_addressable(uri: bytes) -> None:
    """Raises `Refusal` `malformed` for a path that cannot be text, before the router sees it."""
    if not uri.startswith(b"/"):
        raise Refusal("malformed", "the request target must be a path")
    if b"%" in uri or not uri.isascii():
        try:
            unquote_to_bytes(uri.partition(b"?")[0]).decode()
        except UnicodeDecodeError:
            raise Refusal("malformed", "the path is not UTF-8") from None
