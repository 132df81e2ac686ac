"""Reading JSON that a peer sent: whatever is wrong becomes a `RequestError` that names it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec

from push.wire.bodies import check_json_text, check_text
from push.wire.choices import choices_at, is_wrong_choice
from push.wire.errors import MAX_FIELD_CHARACTERS, RequestError, shortened

# How msgspec ends a message: where in the body, if not at its top.
_PLACE = re.compile(r"^(?P<what>.*?)(?: - at `\$(?P<path>.*)`)?$", re.DOTALL)
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<name>.*)`$", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(?P<name>.*)`$")
_OURS = re.compile(r"`(?P<name>\w+)` ")
_PYTHON_TYPES = {"`str`": "a string", "`int`": "an integer", "`bool`": "a boolean"}
_TYPE = re.compile("|".join(_PYTHON_TYPES))

_any_json = msgspec.json.Decoder(msgspec.Raw)


def decoder_for(
    kind: Any, prepared: Callable[[bytes], bytes] | None = None
) -> Callable[[bytes], Any]:
    """A function that makes a `kind` of JSON text or raises `RequestError` `malformed`, `invalid`.

    `prepared` gets what is at least UTF-8 and not too deep.
    """
    decode = msgspec.json.Decoder(kind).decode

    def read(raw: bytes) -> Any:
        try:
            check_json_text(raw)
        except ValueError as error:
            raise malformed(str(error)) from None
        if prepared is not None:
            raw = prepared(raw)
        try:
            return decode(raw)
        except msgspec.ValidationError as error:
            check_syntax(raw)
            raise invalid_body(str(error), kind) from None
        except (msgspec.DecodeError, RecursionError) as error:
            raise malformed(str(error)) from None

    return read


def check_utf8(raw: bytes) -> None:
    """Raises `RequestError` `malformed` for what is not UTF-8."""
    try:
        check_text(raw)
    except ValueError as error:
        raise malformed(str(error)) from None


def check_syntax(raw: bytes) -> None:
    """Raises `RequestError` `malformed` for what is not JSON.

    msgspec reports the first wrong thing it meets, which may be a field before bytes that are not
    JSON at all.
    """
    try:
        _any_json.decode(raw)
    except (msgspec.DecodeError, RecursionError) as error:
        raise malformed(str(error)) from None


def malformed(why: str) -> RequestError:
    why = why.removeprefix("JSON is malformed: ")
    return RequestError("malformed", f"the body is not JSON: {why}")


def invalid_body(message: str, kind: object = None) -> RequestError:
    """msgspec's message as `field` ("to.token") and a sentence. `kind`: what was to be read."""
    place = _PLACE.match(message)
    assert place is not None, "the pattern matches any text"
    what, path = place["what"], (place["path"] or "").lstrip(".")

    def inside(name: str) -> str:
        return f"{path}.{name}" if path else name

    if found := _UNKNOWN.match(what):
        field = inside(shortened(found["name"], MAX_FIELD_CHARACTERS))
        return RequestError("invalid", f"`{field}` is not a field of this request", field=field)
    if found := _MISSING.match(what):
        field = inside(found["name"])
        return RequestError("invalid", f"`{field}` is required", field=field)
    if found := _OURS.match(what):
        return RequestError("invalid", what, field=inside(found["name"]))
    choices = choices_at(kind, path) if kind is not None and is_wrong_choice(what) else ""
    if choices:
        what = f"expected one of {choices}"
    readable = _TYPE.sub(lambda word: _PYTHON_TYPES[word[0]], what)
    if not path:
        return RequestError("invalid", f"the body: {_lower(readable)}")
    return RequestError("invalid", f"`{path}`: {_lower(readable)}", field=path)


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
