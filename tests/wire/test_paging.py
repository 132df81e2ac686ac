"""Cursors of lists: opaque, of one list each, and of any place that a name can be."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from contextlib import suppress
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from push.wire.api.common import MAX_CURSOR_BYTES
from push.wire.api.paging import ListName, make_cursor, read_cursor
from push.wire.errors import RequestError

LONGEST_NAME = "n" * 128
LONGEST_CONVERSATION = f"group:{LONGEST_NAME}"
NOW_US = 1_800_000_000_000_000
LISTS: tuple[ListName, ...] = get_args(ListName)


def encoded(value: Any) -> str:
    return urlsafe_b64encode(msgspec.msgpack.encode(value)).rstrip(b"=").decode()


def refused(of: ListName, cursor: str, *kinds: type) -> RequestError:
    with pytest.raises(RequestError) as caught:
        read_cursor(of, cursor, *kinds)
    return caught.value


@pytest.mark.parametrize("of", LISTS)
def test_the_longest_place_fits_and_is_read_back(of: ListName) -> None:
    cursor = make_cursor(of, NOW_US, LONGEST_CONVERSATION)
    assert len(cursor) <= MAX_CURSOR_BYTES
    assert set(cursor) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
    assert read_cursor(of, cursor, int, str) == [NOW_US, LONGEST_CONVERSATION]


def test_the_first_page_has_none() -> None:
    assert read_cursor("topics", "", str) is None


@pytest.mark.parametrize("of", LISTS)
def test_a_cursor_of_another_list_is_refused(of: ListName) -> None:
    for other in set(LISTS) - {of}:
        error = refused(of, make_cursor(other, "a"), str)
        assert (error.code, error.field) == ("invalid", "cursor")


@pytest.mark.parametrize(
    "cursor",
    [
        "x",
        "~",
        "bob~1",
        "nonsense",
        "ä",
        "\ufffd",
        "AAA=",
        " ",
        make_cursor("topics", "a") + "A",
        make_cursor("topics", "a")[:-1],
        encoded("topi"),
        encoded([]),
        encoded(["topi"]),
        encoded(["topi", 1]),
        encoded(["topi", True]),
        encoded(["topi", None]),
        encoded(["topi", "a", "b"]),
        encoded({"topi": "a"}),
        encoded([["topi"], "a"]),
    ],
)
def test_what_is_no_cursor_is_refused_and_named(cursor: str) -> None:
    error = refused("topics", cursor, str)
    assert (error.code, error.field) == ("invalid", "cursor")


@given(st.text(max_size=300))
def test_no_text_is_anything_but_a_place_or_refused(text: str) -> None:
    place: list[Any] | None = []
    with suppress(RequestError):
        place = read_cursor("topics", text, str)
    assert place in (None, []) or (len(place) == 1 and isinstance(place[0], str))
