"""What comments and docstrings name is there. (Their words: `test_plain_english.py`.)"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "push"
DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def blocks_of(source: str) -> Iterator[tuple[int, str]]:
    """Docstrings, and comments on consecutive lines, each with its first line's number."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, DOCUMENTED) and (text := ast.get_docstring(node)):
            yield node.body[0].lineno, text
    number, lines = 0, list[str]()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            if token.start[0] != number + len(lines):
                if lines:
                    yield number, "\n".join(lines)
                number, lines = token.start[0], []
            lines.append(token.string.lstrip("# "))
    if lines:
        yield number, "\n".join(lines)


# `EventSender`, `EventSender.send`, `_take_turn`: what nothing but code can have.
OUR_NAMES = re.compile(r"`(?:\w+\.)*([A-Z][a-z]\w*|_[a-z]+_\w+)(?:\.\w+)*(?:\([^`]*)?`")


def test_what_comments_name_is_in_the_code() -> None:
    """Nobody finds a class under its former name."""
    sources = {path: path.read_text("utf-8") for path in sorted(PACKAGE.rglob("*.py"))}
    words = {word for source in sources.values() for word in words_of(source)}
    named = [
        (path, line, name)
        for path, source in sources.items()
        if OUR_NAMES.search(source)  # to read all others by token would be most of the work
        for line, text in blocks_of(source)
        for name in OUR_NAMES.findall(text)
    ]
    assert len(named) > 100
    gone = [f"{path}:{line}: {name}" for path, line, name in named if name not in words]
    assert gone == []


def words_of(source: str) -> set[str]:
    """Those of its code, without docstrings and comments."""
    code = re.sub(r'"""(?:.|\n)*?"""|#.*', "", source)
    return set(re.findall(r"\w+", code))
