"""docs/http.md against the code: the targets of a push."""

from __future__ import annotations

import re
from pathlib import Path

from push.wire.api.push import PushTargetBody
from push.wire.api.push_targets import PUSH_TARGETS

TEXT = (Path(__file__).parents[2] / "docs" / "http.md").read_text("utf-8")


def test_the_table_of_targets_is_that_of_the_code() -> None:
    (table,) = re.findall(r"^\| target \| \|\n\|---\|---\|\n((?:\|.*\n)+)", TEXT, re.MULTILINE)
    rows = re.findall(r'^\| `"(\w+)"` \| (.*) \|$', table, re.MULTILINE)
    assert rows == [(target.name, target.description) for target in PUSH_TARGETS]


def test_the_body_of_a_push_has_these_targets() -> None:
    assert PushTargetBody.__struct_fields__ == tuple(target.name for target in PUSH_TARGETS)
