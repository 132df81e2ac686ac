"""Lists in pages: the query of a page, and cursors.

A cursor is opaque to clients: the place after which the next page begins, as URL-safe base64 of a
MessagePack array that also names the list. So a cursor of another list, or a text that is none, is
refused. Nothing is kept between two pages.
"""

from __future__ import annotations

import binascii
from base64 import b64decode, urlsafe_b64encode
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from push.wire.api.common import DEFAULT_PAGE, MAX_CURSOR_BYTES, MAX_PAGE, Cursor, Limit
from push.wire.errors import RequestError

ListName = Literal[
    "attempts",
    "audit",
    "bans",
    "connections",
    "conversations",
    "deliveries",
    "events",
    "keys",
    "members",
    "recent",
    "topics",
    "waiting",
    "webhooks",
]

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Any]).decode


class PageQuery(Struct, forbid_unknown_fields=True, frozen=True):
    """Which page of a list."""

    cursor: Annotated[Cursor, Meta(description="`cursor` of the page before")] = ""
    limit: Annotated[
        Limit, Meta(description=f"items of a page, {DEFAULT_PAGE} by default, at most {MAX_PAGE}")
    ] = DEFAULT_PAGE


def make_cursor(of: ListName, *place: str | int) -> str:
    """The cursor of the page that begins after `place`."""
    cursor = urlsafe_b64encode(_encode([of[:4], *place])).rstrip(b"=").decode()
    assert len(cursor) <= MAX_CURSOR_BYTES, f"a place in {of} is too long for a cursor"
    return cursor


def read_cursor(of: ListName, cursor: str, *kinds: type) -> list[Any] | None:
    """The place of a cursor, a value of each of `kinds`; None for "", the first page.

    Raises `RequestError` `invalid` with field `cursor`: a client must not take the end of a list
    for what was a damaged cursor.
    """
    if not cursor:
        return None
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        name, *place = _decode(b64decode(padded, b"-_", validate=True))
    except (ValueError, binascii.Error, msgspec.DecodeError):
        raise _not_a_cursor() from None
    if name != of[:4] or [type(part) for part in place] != list(kinds):
        raise _not_a_cursor()
    return place


def _not_a_cursor() -> RequestError:
    return RequestError("invalid", "`cursor`: not a cursor of this list", field="cursor")
