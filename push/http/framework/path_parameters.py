"""The parameters of paths: what each may be, for the check before a handler and for the document.

Every route's parameters are of this list, so no handler sees a segment that means something else
in a URL (`..`), in a Redis key or in a log.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from push.wire.errors import Refusal
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


class PathParameter(NamedTuple):
    """`pattern` is for the document; `is_valid` decides, and `rule` says what it expects."""

    pattern: str
    is_valid: Callable[[str], bool]
    rule: str


_ID = OPAQUE_PATTERN.replace("64", "128")  # a node's name is longer than a message's id
_CODE = r"^[a-z_]{1,64}$"
_SEQ = r"^[0-9]{1,16}$"
_NAME = PathParameter(NAME_PATTERN, is_name, NAME_RULE)
_OPAQUE = PathParameter(OPAQUE_PATTERN, is_opaque, "an id that this system has made")


def _matching(pattern: str) -> Callable[[str], bool]:
    compiled = re.compile(pattern)
    return lambda text: compiled.fullmatch(text) is not None


PATH_PARAMETERS: Mapping[str, PathParameter] = {
    "code": PathParameter(_CODE, _matching(_CODE), "a code of lower-case letters"),
    "conversation": PathParameter(
        CONVERSATION_PATTERN, is_conversation, "user:<the other user> or group:<group>"
    ),
    "group": _NAME,
    "id": PathParameter(_ID, _matching(_ID), "the id of a message or the name of a node"),
    "seq": PathParameter(_SEQ, _matching(_SEQ), "the seq of a message"),
    "session": _OPAQUE,
    "token": PathParameter(
        TOKEN_PATTERN, is_token, "a token; its form or check character is wrong"
    ),
    "topic": _NAME,
    "user": _NAME,
}


def check_path_parameters(path: Mapping[str, str]) -> None:
    """Raises `Refusal` `invalid` for the first parameter that is not what its name says."""
    for name, value in path.items():
        parameter = PATH_PARAMETERS[name]
        if not parameter.is_valid(value):
            raise Refusal("invalid", f"`{name}` in the path: expected {parameter.rule}", field=name)
