"""Types of members that several resources share, their limits, and the checks of names."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from push.wire.bodies import MAX_LABEL_BYTES, MAX_OPAQUE_BYTES, check_utf8_length
from push.wire.idents import NAME_PATTERN, NAME_RULE, is_name
from push.wire.text import NAME_TEXT_PATTERN

MAX_SEQ = 2**53 - 1
DEFAULT_PAGE, MAX_PAGE = 50, 200  # items of a page
MAX_IDEMPOTENCY_KEY = 255  # characters
MAX_ADDRESS_CHARACTERS = 64
MAX_CURSOR_BYTES = 256

# As the value of a member of an answer: the member is left out, and a reader finds its default.
# Of any type, because it stands for a value of the member's.
ABSENT: Any = UNSET

# Of any form: a token that is not one is not registered, and is answered as such.
TokenText = Annotated[str, Meta(min_length=1, max_length=MAX_OPAQUE_BYTES)]
# The pattern is for the document: the check is `is_name`, which is exact about line ends.
Name = Annotated[str, Meta(extra_json_schema={"pattern": NAME_PATTERN})]
# Here too the pattern is for the document, and the check is `check_name_text`.
LabelText = Annotated[
    str,
    Meta(
        max_length=MAX_LABEL_BYTES,
        description=f"at most {MAX_LABEL_BYTES} bytes, no control characters",
        extra_json_schema={"pattern": NAME_TEXT_PATTERN},
    ),
]
Seq = Annotated[int, Meta(ge=0, le=MAX_SEQ)]
Limit = Annotated[int, Meta(ge=1, le=MAX_PAGE)]
Cursor = Annotated[str, Meta(max_length=MAX_CURSOR_BYTES)]
AnyJSON = Annotated[Any, Meta(description="any JSON value")]
Unconfirmed = Annotated[
    list[str],
    Meta(description="nodes that did not confirm the change within two seconds"),
]
SilentNodes = Annotated[
    list[str],
    Meta(description="nodes that did not answer in time: what they have is not in it"),
]

_decode_any = msgspec.json.Decoder().decode


# Default factories of members that are always written, also by a struct that omits its defaults.
# A reader does without them.


def null() -> None:
    return None


def no_items() -> list[str]:
    return []


class InEffect(msgspec.Struct, frozen=True):
    """The change is made, and in effect everywhere but on the nodes that are named."""

    silent: Annotated[
        list[str],
        Meta(
            description=(
                "nodes that did not confirm within two seconds: they find out before they next "
                "admit or authorise anybody"
            )
        ),
    ]


def check_names(field: str, *names: str | UnsetType) -> None:
    """Raises ValueError, which names the field, for a text that is not a name."""
    for name in names:
        if name is not UNSET and not is_name(name):
            raise ValueError(f"`{field}` expected {NAME_RULE}")


def check_numbers(field: str, value: msgspec.Raw) -> None:
    """JSON sets numbers no limits, but receivers do: such a number is refused here.

    Raises ValueError, which names the field.
    """
    try:
        _decode_any(value)
    except msgspec.DecodeError as error:
        raise ValueError(f"`{field}` {error}") from None


def check_text(field: str, text: str | UnsetType, max_bytes: int) -> None:
    """Raises ValueError, which names the field, for a text that is longer."""
    check_utf8_length(None if text is UNSET else text, field, max_bytes)
