"""docs/architecture.md against the code: its files and names, and the rules that comments cite."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from tests.docs.test_contributing_md import defined_in

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "architecture.md").read_text("utf-8")
RULES = TEXT.split("\n## The rules\n", 1)[1].split("\n## ", 1)[0]
CODE = [
    path
    for folder in ("push", "tests", "benchmarks", "twisted", "etc")
    for path in sorted((ROOT / folder).rglob("*"))
    if path.suffix in (".py", ".lua", ".toml", ".sh")
]


def test_the_rules_are_numbered_without_a_gap() -> None:
    assert re.findall(r"^(\d+)\. \*\*", RULES, re.MULTILINE) == [str(n) for n in range(1, 19)]


def test_each_path_exists() -> None:
    paths = set(re.findall(r"`((?:push|tests)/[\w./]+)`", TEXT))
    assert len(paths) > 50
    assert {path for path in paths if not (ROOT / path).exists()} == set()


# A file, and the names in it.
NAMED = re.compile(r"`(push/[\w./]+\.(?:py|lua))`(?: \(((?:`\w+`(?:, )?)+)\))?")
# How many files and functions a reader of a way meets at most; each call of Redis has more.
WAYS = {
    "A push, from HTTP to the socket": (26, 37),
    "An acknowledgement, to the stored cursor": (10, 10),
    "A message to a group, to its members": (19, 20),
    "A connection, from `CONNECT` to open": (20, 24),
}


def steps_of(text: str) -> list[tuple[str, list[str]]]:
    return [(path, re.findall(r"\w+", names)) for path, names in NAMED.findall(text)]


def test_names_beside_a_path_are_in_it() -> None:
    found = [(path, name) for path, names in steps_of(TEXT) for name in names]
    assert len(found) > 90
    for path, name in found:
        assert name in defined_in(ROOT / path), f"{path} has no {name}"


def test_each_way_to_wait_is_where_the_table_says() -> None:
    table = TEXT.split("\n### Who waits for a turn\n", 1)[1].split("\n### ", 1)[0]
    rows = re.findall(r"^\| `(\w+)` \(`(push/[\w./]+)`\)", table, re.MULTILINE)
    assert len(rows) == table.count("\n| ") - 1  # all but the heading
    assert {name for name, path in rows if name not in defined_in(ROOT / path)} == set()


@pytest.mark.parametrize("title", WAYS)
def test_a_way_is_connected_and_short(title: str) -> None:
    """A file of the way refers to each function of it, beside its definition. What leaves the way
    (a second table) counts for neither figure."""
    way = TEXT.split(f"\n### {title}\n", 1)[1].split("\n### ", 1)[0]
    table = way.strip().split("\n\n")[0]
    steps = steps_of(table)
    assert table.startswith("| step | where |")
    files = {path for path, _ in steps}
    texts = [(ROOT / path).read_text("utf-8") for path in files]
    functions = [name for _, names in steps for name in names]
    for name in functions[1:]:  # the first is Twisted's to call
        calls = rf"(?<!def )(?<!class )(?<!function )\b{name}\b(?!`)"
        assert any(re.search(calls, text) for text in texts), f"nothing calls {name}"
    most_files, most_functions = WAYS[title]
    assert len(files) <= most_files
    assert len(functions) <= most_functions


def test_what_comments_cite_is_there() -> None:
    """As in (architecture, rule 12), (architecture, rules 2 and 3), (protocol.md, "JWT")."""
    cited = 0
    for path in CODE:
        # A comment may go over the end of a line.
        text = re.sub(r"\s*\n\s*(?:#|--)?\s*", " ", path.read_text("utf-8"))
        for words in re.findall(r"\barchitecture, rules? ([\d, and]+)", text):
            numbers = [int(number) for number in re.findall(r"\d+", words)]
            assert all(1 <= number <= 18 for number in numbers), f"{path}: rule {words}"
            cited += len(numbers)
        for page, title in re.findall(r'\b(architecture|\w+\.md), "([^"]+)"', text):
            assert title in headings(page.removesuffix(".md")), f"{path}: {page}, {title}"
            cited += 1
        assert not re.search(r"\((?:design|contract),", text), f"{path} cites a page that is gone"
    assert cited > 30


@cache
def headings(page: str) -> set[str]:
    text = (ROOT / "docs" / f"{page}.md").read_text("utf-8")
    return set(re.findall(r"^##+ (.+)$", text, re.MULTILINE))
