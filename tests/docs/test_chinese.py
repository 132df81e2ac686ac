"""The Chinese pages: the same code, links and shape as the English ones, which other tests run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAIRS = [
    pytest.param(ROOT / "README.zh-CN.md", ROOT / "README.md", id="README"),
    *(
        pytest.param(page, ROOT / "docs" / page.name, id=page.stem)
        for page in sorted((ROOT / "docs" / "zh").glob("*.md"))
    ),
]

pairs = pytest.mark.parametrize(("chinese", "english"), PAIRS)


def code(page: Path) -> list[str]:
    return re.findall(r"^```.*?^```$", page.read_text("utf-8"), re.DOTALL | re.MULTILINE)


def prose(page: Path) -> str:
    return re.sub(r"(?ms)^```.*?^```$", "", page.read_text("utf-8"))


def targets(page: Path) -> set[Path]:
    """The files that a page leads to; a Chinese page in the place of its English one."""
    found = re.findall(r"\]\(([^)#\s:]+)[^)]*\)", prose(page))
    files = {(page.parent / target).resolve() for target in found}
    return {ROOT / "docs" / file.name if file.parent.name == "zh" else file for file in files}


def shape(page: Path) -> list[str]:
    """Headings by their level, tables by their columns, points of lists."""
    return re.findall(r"^(?:#+ |\|(?:-+\|)+$|\d+\. |\* )", prose(page), re.MULTILINE)


def names(page: Path) -> list[str]:
    """What a reader types or sees: all that is written as code."""
    return sorted(set(re.findall(r"`([^`]+)`", prose(page))))


def test_the_pages_of_a_beginner_are_there() -> None:
    assert {"start", "concepts", "console"} <= {str(pair.id) for pair in PAIRS}


@pairs
def test_code_blocks_are_equal_in_both_languages(chinese: Path, english: Path) -> None:
    assert code(chinese) == code(english)
    assert code(english)


@pairs
def test_headings_tables_and_lists_are_the_same(chinese: Path, english: Path) -> None:
    assert shape(chinese) == shape(english)


@pairs
def test_names_in_the_text_are_the_same(chinese: Path, english: Path) -> None:
    assert names(chinese) == names(english)


@pairs
def test_a_page_leads_to_the_same_pages_and_to_the_other_language(
    chinese: Path, english: Path
) -> None:
    own = {chinese.resolve(), english.resolve()}
    # The README of China says which pages are in Chinese.
    assert targets(english) - own <= targets(chinese) | {ROOT / "README.zh-CN.md"}
    assert english.resolve() in targets(chinese)


@pairs
def test_a_page_is_in_chinese(chinese: Path, english: Path) -> None:
    """A cell or a paragraph that was left in English has no Chinese character."""
    for line in re.sub(r"`[^`]*`|\]\([^)]*\)", "", prose(chinese)).splitlines():
        words = re.findall(r"[A-Za-z]{2,}", line)
        assert len(words) < 8 or re.search(r"[\u4e00-\u9fff]", line), line


def test_the_readme_leads_to_the_chinese_one() -> None:
    assert "[中文](README.zh-CN.md)" in (ROOT / "README.md").read_text("utf-8")
