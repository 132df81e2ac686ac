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


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`((?:push|tests)/[\w./]+)`", TEXT))))
def test_a_path_exists(path: str) -> None:
    assert (ROOT / path).exists()


def test_names_beside_a_path_are_in_it() -> None:
    named = re.findall(r"`(push/[\w./]+\.py)` \(`(\w+)`\)", TEXT)
    assert named
    for path, name in named:
        assert name in defined_in(ROOT / path), f"{path} has no {name}"


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
