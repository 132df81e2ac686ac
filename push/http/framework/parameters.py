"""The parameters of paths: what each kind may be, for the check and for the document.

Every parameter of a path is of one of these kinds, so no handler sees a segment that means
something else in a URL (`..`), in a Redis key or in a log.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from push.wire.errors import RequestError
from push.wire.idents import (
    CONVERSATION_PATTERN,
    NAME_PATTERN,
    NAME_RULE,
    OPAQUE_PATTERN,
    TOKEN_PATTERN,
    is_conversation,
    is_name,
    is_opaque,
    is_token,
)


class ParameterKind(NamedTuple):
    """`pattern` and `text` are for the document; `is_valid` decides, and `rule` says what it
    expects."""

    pattern: str
    is_valid: Callable[[str], bool]
    rule: str
    text: str


_ID = OPAQUE_PATTERN.replace("64", "128")  # a node's name is longer than a message's id
_CODE = r"^[a-z_]{1,64}$"
_SEQ = r"^[0-9]{1,16}$"
_FILE = r"^[a-z0-9][a-z0-9_-]{0,31}(?:\.[a-z]{1,8}){1,2}$"
_FOLDER = r"^[a-z]{1,16}$"


def _matching(pattern: str) -> Callable[[str], bool]:
    compiled = re.compile(pattern)
    return lambda text: compiled.fullmatch(text) is not None


def _name(text: str) -> ParameterKind:
    return ParameterKind(NAME_PATTERN, is_name, NAME_RULE, text)


KINDS: Mapping[str, ParameterKind] = {
    "code": ParameterKind(
        _CODE, _matching(_CODE), "a code of lower-case letters", "the `code` of a problem"
    ),
    "conversation": ParameterKind(
        CONVERSATION_PATTERN,
        is_conversation,
        "user:<the other user> or group:<group>",
        "as the user sees it: `user:<the other>` or `group:<group>`",
    ),
    "file": ParameterKind(_FILE, _matching(_FILE), "the name of a file", "a file of the page"),
    "folder": ParameterKind(
        _FOLDER, _matching(_FOLDER), "the name of a folder", "a folder of the page"
    ),
    "group": _name("the id of a group"),
    "id": ParameterKind(
        _ID,
        _matching(_ID),
        "the id of a message or the name of a node",
        "the id that the push was answered with",
    ),
    "key": _name("the name of a key"),
    "node": _name("the name of a node"),
    "seq": ParameterKind(_SEQ, _matching(_SEQ), "the seq of a message", "the seq of the message"),
    "session": ParameterKind(
        OPAQUE_PATTERN, is_opaque, "an id that this server has made", "the id of a session"
    ),
    "token": ParameterKind(
        TOKEN_PATTERN,
        is_token,
        "a token; its form or check character is wrong",
        "the token of a device",
    ),
    "topic": _name("the name of a topic"),
    "user": _name("the id of a user"),
    "webhook": ParameterKind(
        OPAQUE_PATTERN, is_opaque, "an id that this server has made", "the id of an endpoint"
    ),
}


def check_path_parameters(path: Mapping[str, str]) -> None:
    """Raises `RequestError` `invalid` for the first parameter that is not what its name says."""
    for name, value in path.items():
        if not KINDS[name].is_valid(value):
            raise RequestError("invalid", f"`{name}`: expected {KINDS[name].rule}", field=name)
