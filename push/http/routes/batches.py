"""The items of a batch: read and pushed a part at a time, so that others are served in between."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Sequence
from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from push.http.framework.route import MAX_BODY_BYTES
from push.runtime.owner_queue import FairSemaphore
from push.runtime.ports import Clock
from push.runtime.timers import sleep
from push.wire.api.push import MAX_BATCH_ITEMS
from push.wire.errors import RequestError
from push.wire.reading import check_syntax, check_utf8, invalid_body, malformed

# A part of a batch is what one turn of the reactor works off.
PART_ITEMS = 100
PART_BYTES = MAX_BODY_BYTES

# An array of at most so many values, none of which is looked into. As a list of Raw it would be
# made whole before it is known to be too long: of 16 MiB of `1,1,1` that takes half a second.
_Array = msgspec.defstruct(
    "Array",
    [(f"item{number}", Raw | UnsetType, UNSET) for number in range(MAX_BATCH_ITEMS)],
    array_like=True,
    forbid_unknown_fields=True,
)
_decode = msgspec.json.Decoder(_Array).decode
_decode_any = msgspec.json.Decoder(Raw).decode
_TRAILING = re.compile(r"JSON is malformed: trailing characters \(byte (\d+)\)")
_SPACE = re.compile(rb"[ \t\r\n]*")


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


class PartTurns:
    """A turn of the reactor works off one part, however many batches there are: each owner of such
    has one after the other."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._one = FairSemaphore(1)

    async def next(self, owner: Hashable) -> None:
        """Returns in a turn for a part of a batch of the owner; nothing else is waited for before
        that is worked off."""
        async with self._one.turn(owner):
            await sleep(self._clock, 0)


async def read_items_in_turns(
    turns: PartTurns, owner: Hashable, raw: bytes
) -> Sequence[bytes | memoryview]:
    """As `read_items`; a large body is read a part at a time, so that others are served."""
    begins = _after_space(raw, 0)
    if len(raw) <= PART_BYTES or raw[begins : begins + 1] != b"[":
        return list(map(bytes, read_items(raw)))
    items: list[memoryview] = []
    read_bytes = 0
    for item in _items_of(raw):
        items.append(item)
        read_bytes += len(item)
        if read_bytes > PART_BYTES:
            await turns.next(owner)
            read_bytes = 0
    return items


def _items_of(raw: bytes) -> Iterator[memoryview]:
    """The items of an array one after the other; each is looked at when it is asked for."""
    whole = memoryview(raw)
    start = _after_space(raw, _after_space(raw, 0) + 1)
    if raw[start : start + 1] == b"]":
        raise _wrong_number()
    for _ in range(MAX_BATCH_ITEMS):
        size, next_byte = _size_of_value(whole[start:])
        item = whole[start : start + size]
        check_utf8(bytes(item))
        yield item
        start += size + 1
        if next_byte == ord("]"):
            if _after_space(raw, start) < len(raw):
                raise malformed(f"trailing characters (byte {start})")
            return
        if next_byte != ord(","):
            raise malformed(f"expected ',' or ']' (byte {start - 1})")
    raise _wrong_number()


def _after_space(raw: bytes, start: int) -> int:
    found = _SPACE.match(raw, start)
    return found.end() if found else start


def _size_of_value(text: memoryview) -> tuple[int, int]:
    """How many bytes the JSON value has that `text` begins with, and the byte that follows it.

    msgspec looks at the value only, and says where it found something after it.
    """
    try:
        _decode_any(text)
    except (msgspec.DecodeError, RecursionError) as error:
        found = _TRAILING.fullmatch(str(error))
        if found is None:
            raise malformed(str(error)) from None
        size = int(found[1]) - 1  # it counts from 1
        return size, text[size]
    raise malformed("Input data was truncated")


def _wrong_number() -> RequestError:
    return RequestError("invalid", f"the body: expected an array of 1 to {MAX_BATCH_ITEMS:,} items")


def too_large_item(size: int, max_bytes: int) -> RequestError:
    """It is not worth reading."""
    return RequestError(
        "too_large", f"the item has {size:,} bytes where at most {max_bytes:,} are accepted"
    )


def parts_of(items: Sequence[bytes | memoryview]) -> Iterator[Sequence[bytes | memoryview]]:
    """The items in order, in parts of at most `PART_ITEMS`, and of `PART_BYTES` if they are not
    single ones."""
    begins, left = 0, PART_BYTES
    for place, item in enumerate(items):
        if place > begins and (place - begins == PART_ITEMS or len(item) > left):
            yield items[begins:place]
            begins, left = place, PART_BYTES
        left -= len(item)
    if items:
        yield items[begins:]
