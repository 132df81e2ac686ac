"""docs/operating.md against the code: every kind of key has a line that says when it ends."""

from __future__ import annotations

import re
from pathlib import Path

from push.resharding.kinds import KINDS

TEXT = (Path(__file__).parents[2] / "docs" / "operating.md").read_text("utf-8")
TABLE = TEXT.split("| key | belongs to | ends |", 1)[1].split("\n\n", 1)[0]


def test_every_kind_of_key_is_in_the_table_once() -> None:
    first_cells = [line.split("|")[1] for line in TABLE.splitlines()[2:]]
    named = [name for cell in first_cells for name in re.findall(r"`([a-z-]+:?)`", cell)]

    assert sorted(named) == sorted(kind.name for kind in KINDS)
