"""The items of a batch: read and pushed a part at a time, so that others are served in between."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import UNSET, Raw, UnsetType

from push.http.framework.route import MAX_BODY_BYTES
from push.wire.api.push import MAX_BATCH_ITEMS
from push.wire.errors import RequestError
from push.wire.reading import check_syntax, check_utf8, invalid_body, malformed

# A part of a batch is what one turn of the reactor works off.
PART_ITEMS = 100
PART_BYTES = MAX_BODY_BYTES

Item = TypeVar("Item")


class Sized(msgspec.Struct, Generic[Item], frozen=True):
    """Something that took `size` bytes of a body."""

    item: Item
    size: int


# An array of at most so many values, none of which is looked into. As a list of Raw it would be
# made whole before it is known to be too long: of 16 MiB of `1,1,1` that takes half a second.
_Array = msgspec.defstruct(
    "Array",
    [(f"item{number}", Raw | UnsetType, UNSET) for number in range(MAX_BATCH_ITEMS)],
    array_like=True,
    forbid_unknown_fields=True,
)
_decode = msgspec.json.Decoder(_Array).decode


def read_items(raw: bytes) -> list[Raw]:
    """The items of a batch, unread: one that is wrong must not spoil the others.

    Raises `RequestError` `malformed` or `invalid`. How deep an item nests is judged with it.
    """
    check_utf8(raw)
    try:
        array: Any = _decode(raw)
    except msgspec.ValidationError as error:
        if "at most length" in str(error):
            raise _wrong_number() from None  # and nothing of what comes behind is looked at
        check_syntax(raw)
        raise invalid_body(str(error)) from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise malformed(str(error)) from None
    items = [item for item in msgspec.structs.astuple(array) if item is not UNSET]
    if not items:
        raise _wrong_number()
    return items


def _wrong_number() -> RequestError:
    return RequestError("invalid", f"the body: expected an array of 1 to {MAX_BATCH_ITEMS:,} items")


def check_item_size(size: int, max_bytes: int) -> None:
    """Raises `RequestError` `too_large` for what is not worth reading."""
    if size > max_bytes:
        raise RequestError(
            "too_large", f"the item has {size:,} bytes where at most {max_bytes:,} are accepted"
        )


def parts_of(items: list[Sized[Item]]) -> Iterator[list[Item]]:
    """The items in order, in parts of at most `PART_ITEMS`, and of `PART_BYTES` if they are not
    single ones."""
    part: list[Item] = []
    left = PART_BYTES
    for each in items:
        if part and (len(part) == PART_ITEMS or each.size > left):
            yield part
            part, left = [], PART_BYTES
        part.append(each.item)
        left -= each.size
    if part:
        yield part
