"""Names come from the field and from the glossary of docs/architecture.md."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "push"

# Words of names that only we would understand, and the names that things have instead.
INSTEAD = {
    "answerer": "SurveyHandler, survey_handler",
    "asker": "Survey, survey",
    "crowd": "ConnectionLimits, connection_limits",
    "crumbs": "SmallReads, small_reads",
    "currency": "Freshness, freshness",
    "funnel": "DeliveryCounts, counts_of",
    "handout": "DeliveryPolicy, delivery_policy",
    "hear": "subscribe",
    "heard": "subscribed",
    "heir": "next_owner",
    "lane": "WorkOwner, work_owner",
    "lobby": "WaitingArrivals, waiting_arrivals",
    "nearby": "PushByIp, by_ip",
    "obey": "execute",
    "retold": "ReplayedWrites, replayed",
    "rival": "NameConflict, conflict",
    "unhear": "unsubscribe",
}
ANY = re.compile("|".join(INSTEAD), re.IGNORECASE)
# `log.failure("Work of {lane} failed", lane=…)`: fields of the log stay.
FIELDS = {"push/runtime/turns.py": {"lane"}}


def words_of(source: str) -> Iterator[tuple[int, str]]:
    """Of the names in a module, each with its line: `SmallReads` and `small_reads` have two."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.NAME:
            for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", token.string):
                yield token.start[0], word.lower()


def wrong_names(path: Path) -> list[str]:
    name = str(path.relative_to(PACKAGE.parent))
    allowed = FIELDS.get(name, set())
    source = path.read_text("utf-8")
    # Most modules have none of the words, in names or in texts: to look for them all is quick.
    found = [
        f"{name}:{line}: {word!r}: {INSTEAD[word]}"
        for line, word in (words_of(source) if ANY.search(source) else ())
        if word in INSTEAD and word not in allowed
    ]
    parts = re.findall(r"[a-z]+", name)
    return [*found, *(f"{name}: {INSTEAD[part]}" for part in parts if part in INSTEAD)]


def test_names_are_those_of_the_field() -> None:
    paths = sorted(PACKAGE.rglob("*.py"))
    assert len(paths) > 400
    assert [each for path in paths for each in wrong_names(path)] == []


def test_a_private_word_is_found_in_any_name() -> None:
    words = [word for _, word in words_of("class SmallCrowd:\n    def is_heard(HTTPLobby): ...\n")]
    assert words == ["class", "small", "crowd", "def", "is", "heard", "http", "lobby"]


QUESTIONS = ("is", "has", "may", "can", "was", "needs", "wants")


def test_what_is_named_like_a_question_answers_yes_or_no() -> None:
    """What changes something has a verb that says so: `note_request`, not `has_requested`."""
    found = [
        f"{path.relative_to(PACKAGE.parent)}:{node.lineno}: {node.name}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.strip("_").partition("_")[0] in QUESTIONS
        and (node.returns is None or ast.unparse(node.returns) not in ("bool", "bool | None"))
        and not ast.unparse(node.returns or ast.Constant("")).startswith("TypeGuard[")
    ]
    assert found == []
