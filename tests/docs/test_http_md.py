"""docs/http.md against the code: the targets of a push, and cursors."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

from push.wire.api.paging import ListName, read_cursor
from push.wire.api.push import PushTargetBody
from push.wire.api.push_targets import PUSH_TARGETS
from push.wire.errors import RequestError

DOCS = Path(__file__).parents[2] / "docs"
TEXT = (DOCS / "http.md").read_text("utf-8")


def test_the_table_of_targets_is_that_of_the_code() -> None:
    (table,) = re.findall(r"^\| target \| \|\n\|---\|---\|\n((?:\|.*\n)+)", TEXT, re.MULTILINE)
    rows = re.findall(r'^\| `"(\w+)"` \| (.*) \|$', table, re.MULTILINE)
    assert rows == [(target.name, target.description) for target in PUSH_TARGETS]


def test_the_body_of_a_push_has_these_targets() -> None:
    assert PushTargetBody.__struct_fields__ == tuple(target.name for target in PUSH_TARGETS)


def test_a_cursor_of_an_example_is_one() -> None:
    examples = {
        cursor
        for page in DOCS.glob("*.md")
        for cursor in re.findall(
            r"""(?:[?&]cursor=|"cursor": ")([^\s`"'&]+)""", page.read_text("utf-8")
        )
    }
    assert examples  # or the pattern finds none
    assert {cursor for cursor in examples if not _is_cursor(cursor)} == set()


def _is_cursor(text: str) -> bool:
    return any(_is_read(name, text, *kinds) for name in get_args(ListName) for kinds in KINDS)


# What the places of the lists are made of.
KINDS = ((str,), (int,), (str, str), (int, str))


def _is_read(name: ListName, text: str, *kinds: type) -> bool:
    try:
        return read_cursor(name, text, *kinds) is not None
    except RequestError:
        return False
