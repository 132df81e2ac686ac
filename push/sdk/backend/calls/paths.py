"""Paths of the HTTP API, with names that a path may contain.

URL libraries and proxies remove `.` and `..` from a path and split it at `/`, so a name like that
would make a request about something else. It is refused here, before anything is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from urllib.parse import quote

from push.sdk.encoding import check_text
from push.sdk.errors import InvalidData
from push.wire.errors import shortened
from push.wire.idents import NAME_RULE, is_conversation, is_name, is_offset, is_opaque

_NAME = (is_name, NAME_RULE)
_OPAQUE = (is_opaque, "as the server has given it")
_RULES: Mapping[str, tuple[Callable[[str], bool], str]] = {
    "conversation": (is_conversation, "user:<the other user> or group:<group>"),
    "group": _NAME,
    "key": _NAME,
    "message": _OPAQUE,
    "node": _NAME,
    "seq": (is_offset, "the number of a message"),
    "session": _OPAQUE,
    "token": _OPAQUE,
    "topic": _NAME,
    "user": _NAME,
    "webhook": _OPAQUE,
}


def path_of(template: str, **names: str) -> str:
    """`/v1/users/{user}` with a user's name in it: the braces say of what kind it is.

    Raises `InvalidData` for a name that cannot be one of its kind (`InvalidDataType`: no string).
    """
    return template.format(**{kind: _segment(kind, name) for kind, name in names.items()})


def check_id(kind: str, name: str) -> None:
    """Raises `InvalidData` for a name that cannot be one of its kind."""
    is_valid, rule = _RULES[kind]
    if not is_valid(check_text(name, kind)):
        given = shortened(ascii(name), 100)
        raise InvalidData(f"{given} cannot name a {kind}: expected {rule}")


def _segment(kind: str, name: str) -> str:
    check_id(kind, name)
    return quote(name, safe="")
