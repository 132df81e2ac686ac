"""docs/logs.md has every event of the log, and every call that logs names its event."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from string import Formatter
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "push"
# Clients, which log by the standard library, and commands, which have no log.
OTHERS = ("sdk", "pushctl", "demo", "testing", "resharding")
LEVELS = ("debug", "info", "warn", "error", "critical")
NO_FIELDS = {"event", "failure"}


class LogCall(NamedTuple):
    where: str
    level: str
    event: str
    text: str
    fields: set[str]


@cache
def calls() -> tuple[tuple[Path, ast.Call], ...]:
    """All of the code that are given something by its place: to read the code takes longest."""
    return tuple(
        (path, node)
        for path in sorted(PACKAGE.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and node.args
    )


@cache
def log_calls() -> tuple[LogCall, ...]:
    return tuple(_log_calls())


def _log_calls() -> Iterator[LogCall]:
    """The calls of `log.info(…)` and the like, anywhere in the server."""
    for path, node in calls():
        name = path.relative_to(PACKAGE)
        if name.parts[0] in OTHERS or not isinstance(node.func, ast.Attribute):
            continue
        logger, method = node.func.value, node.func.attr
        of = getattr(logger, "id", getattr(logger, "attr", ""))
        if of not in ("log", "_log") or method not in (*LEVELS, "failure"):
            continue
        keywords = {each.arg: each.value for each in node.keywords if each.arg}
        event = ast.literal_eval(keywords.get("event", ast.Constant("")))
        level = "critical" if method == "failure" else method
        text = ast.literal_eval(node.args[0])
        yield LogCall(f"{name}:{node.lineno}", level, event, text, set(keywords) - NO_FIELDS)


def rows() -> Iterator[str]:
    """Of the table of all events."""
    calls: defaultdict[str, list[LogCall]] = defaultdict(list)
    for call in log_calls():
        calls[call.event].append(call)
    for event, of_event in sorted(calls.items()):
        levels = ", ".join(sorted({call.level for call in of_event}, key=LEVELS.index))
        fields = ", ".join(f"`{name}`" for name in sorted({n for c in of_event for n in c.fields}))
        texts = ", ".join(f"`{text}`" for text in dict.fromkeys(call.text for call in of_event))
        yield f"| `{event}` | {levels} | {fields} | {texts} |"


def test_every_call_that_logs_names_its_event() -> None:
    """`log.info("…", …, event="redis.connected")`: the name stays when the text changes."""
    unnamed = [
        call.where
        for call in log_calls()
        if not re.fullmatch(r"[a-z]+(?:_[a-z]+)*\.[a-z]+(?:_[a-z]+)*", call.event)
    ]
    assert unnamed == []


def test_the_document_has_every_event() -> None:
    """`python -m tests.docs.test_logs_md` prints the rows of the table as they should be."""
    text = (ROOT / "docs" / "logs.md").read_text("utf-8").partition("## All events")[2]
    told = re.findall(r"^\| `.*$", text, re.MULTILINE)
    assert sorted(set(rows()) - set(told)) == []
    assert told == list(rows())


def test_no_field_is_a_member_of_every_line() -> None:
    taken = {"ts", "level", "logger", "text", "traceback"}
    assert [call for call in log_calls() if call.fields & taken] == []


def test_all_that_a_text_is_made_of_is_a_field() -> None:
    """So that a program needs no text."""
    formatter = Formatter()
    for path, node in calls():
        keywords = {each.arg for each in node.keywords}
        text = node.args[0]
        if "event" in keywords and isinstance(text, ast.Constant):
            names = {name for _, name, _, _ in formatter.parse(str(text.value)) if name}
            assert names <= keywords, f"{path}:{node.lineno}"


if __name__ == "__main__":
    print("\n".join(rows()))
