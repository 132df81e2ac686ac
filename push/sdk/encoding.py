"""From what an application gives to JSON: the one place of the SDK that encodes.

JSON has no form for NaN, infinity, bytes, half a surrogate pair or keys that are not strings; an
encoder that makes something else of them changes the application's data without a word. So they are
refused, with their place named, before anything is sent.
"""

from __future__ import annotations

import math
import secrets
from datetime import timedelta
from decimal import Decimal
from typing import Any

import msgspec

from push.sdk.errors import ConfigurationError, InvalidData, InvalidDataType

# The server takes 32 levels. This is only where our own recursion ends, also for a list that
# contains itself.
MAX_LEVELS = 100
MIN_INTEGER, MAX_INTEGER = -(2**63), 2**64 - 1  # what JSON parsers of other languages still read
MAX_SECONDS = 86_400.0
CLIENT_ID_BYTES = 15
_BYTES = (bytes, bytearray, memoryview)
# msgspec would write these as text, which no reader takes for what they were.
_INSTEAD = {
    Decimal: "give a float, or text",
    timedelta: "give a number of seconds, or text",
}
_CONTAINERS = (dict, list, tuple)


def encode_json(value: object, what: str = "data") -> bytes:
    """`value` as JSON; `what` is its name in errors.

    Dicts with string keys, lists, tuples, sets, str, int, float, bool and None; also dataclasses,
    msgspec structs, enums, UUID, and `datetime`'s date, time and datetime as ISO 8601 text. Raises
    `InvalidData` (a `ValueError`), and `InvalidDataType` (also a `TypeError`) for other classes.
    """
    try:
        plain = msgspec.to_builtins(value, builtin_types=(*_BYTES, *_INSTEAD))
        _check(plain, what, 1)
        return msgspec.json.encode(plain)
    except InvalidData:
        raise
    except TypeError as error:
        raise InvalidDataType(f"{what}: {error}") from None
    except RecursionError:
        raise InvalidData(f"{what}: nested too deep") from None
    except (ValueError, OverflowError) as error:
        raise InvalidData(f"{what}: {error}") from None


def check_text(text: object, what: str) -> str:
    """`text`, which must be a string that UTF-8 can carry. Raises like `encode_json`."""
    if not isinstance(text, str):
        raise InvalidDataType(f"{what}: a string is expected, not {type(text).__name__}")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise InvalidData(f"{what}: half of a surrogate pair is no character") from None
    return text


def client_id_or_new(client_id: str | None) -> str:
    """What makes a chat message one, however often it is sent. Raises like `encode_json`."""
    if client_id is None:
        return secrets.token_urlsafe(CLIENT_ID_BYTES)
    if not check_text(client_id, "client_id"):
        raise InvalidData("client_id: it is empty; leave it out to have one made")
    return client_id


def check_seconds(value: object, what: str) -> None:
    """Raises `ConfigurationError` unless `value` is a number of seconds over 0, a day at most."""
    is_bool = isinstance(value, bool)
    if is_bool or not isinstance(value, int | float) or not 0 < value <= MAX_SECONDS:
        raise ConfigurationError(f"{what}: a number of seconds over 0, not {value!r}")


def _check(value: Any, place: str, level: int) -> None:  # Any: told by its exact class
    kind = type(value)
    if kind is str:
        check_text(value, place)
    elif kind is float:
        if not math.isfinite(value):
            raise InvalidData(f"{place}: JSON has no {value}")
    elif kind is int:
        if not MIN_INTEGER <= value <= MAX_INTEGER:
            raise InvalidData(f"{place}: an integer of more than 64 bits")
    elif kind in _BYTES:
        raise InvalidDataType(f"{place}: bytes; give them as base64 text, with encoding='base64'")
    elif kind in _INSTEAD:
        raise InvalidDataType(f"{place}: {kind.__name__}; {_INSTEAD[kind]}")
    elif kind in _CONTAINERS:
        if level > MAX_LEVELS:
            raise InvalidData(f"{place[:100]}: nested deeper than {MAX_LEVELS} levels")
        _check_members(value, place, level)


def _check_members(value: Any, place: str, level: int) -> None:
    if not isinstance(value, dict):
        for index, member in enumerate(value):
            _check(member, f"{place}[{index}]", level + 1)
        return
    for key, member in value.items():
        if type(key) is not str:
            raise InvalidDataType(f"{place}: the key {repr(key)[:40]} is not a string")
        check_text(key, f"a key of {place}")
        _check(member, f"{place}.{key[:40]}", level + 1)
