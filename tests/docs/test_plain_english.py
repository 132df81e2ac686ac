"""The words that documents and texts of modules do not use, because readers stumble over them."""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = sorted(path.parent.name for path in (ROOT / "push").glob("*/__init__.py"))
PAGES = [
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "changelog.d").glob("*.md")),
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "tests" / "README.md",
]

START = r"(?:^|[.;:|(] )[*–-]* ?"  # of a sentence, a point or a cell of a table

# A pattern, and what to write instead. What a page has in code (names of tests, commands, answers
# of the server) is not looked at. A space of a pattern may be the end of a line.
NOT_USED = {
    r"\b(?:whom|whoever)\b": "a noun: the client that, the user that, anyone that",
    rf"{START}who\b(?! may do what)(?![^.|]*\?)": "a noun before it: a client that",
    r"\b(?:of|to|for|by|from|than|at) who\b": "a noun before it: a user who",
    rf"{START}what (?:is|was|has|waits|stands|came|expired)\b(?![^.|]*\?)": "messages that are",
    r"\b(?:he|him|his|himself|she|hers?|herself)\b": "they, their",
    r"\b(?:is|are|was|were|be|been|while|goes|go|went|still|who) away\b(?! from)": "is offline",
    r"\b(?:is|are|was|comes?|came) back\b": "reconnected, reachable again",
    r"\b(?:stands?|stood)\b(?! for\b)": "is",
    r"\b(?:is|are|was) said\b": "says, by its subject",
    r"\btold of\b": "is notified of",
    r"\b(?:hears?|heard|unheard)\b(?! from)": "subscribes, receives",
    r"\bin vain\b": "without an acknowledgement",
    r"\bfor (?:good|ever)\b": "permanently, forever",
    r"\bbeyond\b": "over, past, more than",
    r"\b(?:doors?|houses?)\b": "interface, source tree",
    r"\b(?:of (?:theirs|ours|yours|mine))\b": "their own, our own",
    r"\banew\b": "again, new",
    r"\bno more\b(?! (?:than|connections|sessions)\b)": "no longer",
    r"\bbehind (?:it|that|them|this|one|another|an unack\w+|the cursor)\b": "after",
    r"\bfrom behind\b|\bbehind (?:an? offset|the (?:id|offset|stored))": "after, before",
    r"\b(?:take[sn]? out|took out)\b": "removes",
    r"\bat the begin\b": "at the beginning",
    r"\b(?:known|spoken) here\b": "invalid, not supported",
    r"\bpeople talk\b": "users write",
}


def prose(path: Path) -> str:
    """A page without code, line by line as it is."""
    text = path.read_text("utf-8")
    for code in (r"^ *```.*?^ *```", r"`[^`]*`", r"\]\([^)]*\)", r"<[^>]*>"):
        text = re.sub(code, _blank, text, flags=re.DOTALL | re.MULTILINE)
    return text


def _blank(found: re.Match[str]) -> str:
    return "~" + "\n" * found[0].count("\n")


def test_each_page_is_in_plain_english() -> None:
    found = [line for page in PAGES for line in not_used_in(prose(page), page.name)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_texts_of_modules_are_in_plain_english(folder: str) -> None:
    """Comments, docstrings, help texts, texts of logs and details of errors."""
    paths = sorted((ROOT / "push" / folder).rglob("*.py"))
    found = [
        line for path in paths for line in not_used_in(texts_of(path), str(path.relative_to(ROOT)))
    ]
    assert not found, "\n".join(found)


def test_scripts_are_commented_in_plain_english() -> None:
    paths = sorted((ROOT / "push" / "lua").rglob("*.lua"))
    found = [
        line
        for path in paths
        for line in not_used_in(comments_of_lua(path), str(path.relative_to(ROOT)))
    ]
    assert len(paths) > 100
    assert not found, "\n".join(found)


def comments_of_lua(path: Path) -> str:
    """What is after `--`, on its line."""
    lines = path.read_text("utf-8").split("\n")
    comments = (line.partition("--")[2].strip() if "--" in line else "" for line in lines)
    return re.sub(r"`[^`]*`", _blank, "\n".join(comments))


def texts_of(path: Path) -> str:
    return texts_in(path.read_text("utf-8"))


def texts_in(source: str) -> str:
    """The comments and strings of a module, on their lines. A comment goes on on the next line."""
    lines = [""] * (source.count("\n") + 2)
    last_comment = 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        number = token.start[0]
        if token.type == tokenize.COMMENT:
            goes_on = number == last_comment + 1 and not lines[number - 1]
            lines[number - 1] += token.string.lstrip("# ") if goes_on else f" {token.string}"
            last_comment = number
        elif token.type == tokenize.STRING:
            for place, line in enumerate(token.string.split("\n"), number - 1):
                lines[place] += f" {line}"
    return "\n".join(lines)


def not_used_in(text: str, name: str) -> Iterator[str]:
    for pattern, instead in NOT_USED.items():
        expression = re.compile(pattern.replace(" ", r"\s+"), re.IGNORECASE | re.MULTILINE)
        for match in expression.finditer(text):
            line = text.count("\n", 0, match.end()) + 1
            around = " ".join(text[max(0, match.start() - 50) : match.end() + 50].split())
            yield f"{name}:{line}: {match[0].strip()!r}: {instead}: {around}"


def test_wrong_words_are_found_in_comments_and_docstrings_but_not_in_code() -> None:
    source = (
        '"""It is beyond that."""\n'
        "def f():\n"
        '    """Of whom it is."""\n'
        "    whom = 1\n"
        "    f()\n"
        "    # It is told\n"
        "    # of that.\n"
    )
    found = not_used_in(texts_in(source), "x.py")
    assert sorted(line.split(": ")[0] for line in found) == ["x.py:1", "x.py:3", "x.py:7"]


def test_each_pattern_finds_something() -> None:
    """A pattern that matches nothing would hold nothing."""
    samples = (
        "Whom it is for. Who sends it. To who sends it. What is away, is back, stands, is said. He "
        "is told of it, hears in vain, for good, beyond the doors, of theirs, anew, no more, "
        "behind it, behind an offset, takes out, at the begin, not known here. People talk."
    )
    for pattern in NOT_USED:
        assert re.search(pattern, samples, re.IGNORECASE), pattern
