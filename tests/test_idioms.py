"""Idioms that exist once: timers, clocks, and functions and modules of a size that one can read."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.waiting import DEADLINE_SECONDS

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "push"
TIMERS = PACKAGE / "runtime" / "timers.py"
# The folders in which no timer is made by hand; add one when that is so.
FOLDERS = (
    "runtime",
    "redis",
    "streams",
    "cluster",
    "access",
    "chat",
    "pushing",
    "devices",
    "daemons",
    "resharding",
    "http",
    "observe",
    "pushctl",
    "sdk",
    "session",
    "wire/api",
    "webhooks",
    "testing",
    "demo",
)
MAX_FUNCTION_LINES = 50
MAX_MODULE_LINES = 400
MAX_FILES_OF_A_FOLDER = 13
# One name for the same thing in both device clients, of which an application imports one.
CLASS_NAMES_USED_AGAIN = {
    "ChatMessage",
    "GroupChange",
    "Message",
    "PushClient",
    "Recall",
    "Receipt",
    "Typing",
}
MAX_ANY = 69  # where no type says what comes: mostly of Twisted, zope and libraries without types


def modules() -> Iterator[Path]:
    for folder in FOLDERS:
        yield from sorted((PACKAGE / folder).rglob("*.py"))


@pytest.fixture(scope="module")
def trees() -> dict[Path, ast.Module]:
    """All modules of push, parsed."""
    return {path: ast.parse(path.read_text("utf-8")) for path in sorted(PACKAGE.rglob("*.py"))}


def test_looping_and_delayed_calls_are_made_by_the_timers() -> None:
    """`Periodic`, `Debounced` and `sleep` stop as one expects, and a failure does not end them."""
    found = [
        f"{path.relative_to(ROOT)}: {word}"
        for path in modules()
        if path != TIMERS
        for word in re.findall(r"\b(?:LoopingCall|deferLater)\b", path.read_text("utf-8"))
    ]
    assert found == []


def test_a_clock_or_reactor_has_a_type() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in modules()
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if re.search(r"\b(?:reactor|clock|\w*_call|timer): Any\b", line)
        and "# Any: " not in line  # with the reason
    ]
    assert found == []


def test_a_class_has_a_name_of_its_own(trees: dict[Path, ast.Module]) -> None:
    names = Counter(
        node.name
        for tree in trees.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    )
    assert {name for name, times in names.items() if times > 1} == CLASS_NAMES_USED_AGAIN


def test_few_names_may_be_anything(trees: dict[Path, ast.Module]) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in trees
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if re.search(r": Any\b", line)
    ]
    assert len(found) <= MAX_ANY, found


def test_no_client_is_told_why_redis_is_unreachable(trees: dict[Path, ast.Module]) -> None:
    """The reason names addresses: a client gets the text of `as_request_error`."""
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and getattr(node.func, "id", None) in ("RequestError", "ProtocolError", "bad_frame")
        for part in ast.walk(node)
        if isinstance(part, ast.Attribute) and part.attr == "reason"
    ]
    assert found == []


def test_tests_wait_as_long_as_a_busy_machine_takes() -> None:
    """Up to a second is for what must not come; what must come has the deadline of all waits."""
    limits = re.compile(
        r"(?:\b(?:timeout|deadline_seconds)=|\bsettimeout\(|\.wait\(|\.join\(|asyncio\.timeout\("
        r"|create_connection\(\w+, ?)(\d[\d.]*)(?! \*)\b"
    )
    found = [
        f"{path.relative_to(ROOT)}:{number}: {limit}"
        for path in sorted((ROOT / "tests").rglob("*.py"))
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        for limit in limits.findall(line)
        if 1 < float(limit) < DEADLINE_SECONDS
    ]
    assert found == []


def test_functions_fit_on_a_screen(trees: dict[Path, ast.Module]) -> None:
    found = [
        f"{path.relative_to(ROOT)}: {node.name} has {lines} lines"
        for path, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for lines in [(node.end_lineno or 0) - node.lineno + 1]
        if lines > MAX_FUNCTION_LINES
    ]
    assert found == []


def test_modules_have_one_subject(trees: dict[Path, ast.Module]) -> None:
    found = [
        f"{path.relative_to(ROOT)} has {lines} lines"
        for path in trees
        for lines in [len(path.read_text("utf-8").splitlines())]
        if lines > MAX_MODULE_LINES
    ]
    assert found == []


def test_a_folder_can_be_taken_in_at_a_glance() -> None:
    """In all of push/, its `__init__.py` included."""
    counts = Counter(str(path.parent.relative_to(ROOT)) for path in PACKAGE.rglob("*.py"))
    assert {name: n for name, n in counts.items() if n > MAX_FILES_OF_A_FOLDER} == {}


def _own_nodes(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[ast.AST]:
    """What stands in the function itself, and not in one that it defines."""
    todo: list[ast.AST] = list(function.body)
    while todo:
        node = todo.pop()
        yield node
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
            todo += ast.iter_child_nodes(node)


def test_no_function_raises_an_exception_that_a_variable_of_it_holds(
    trees: dict[Path, ast.Module],
) -> None:
    """The exception would hold the function's frame and the frame the exception: what both hold,
    perhaps a body of a MiB, would stay until the garbage collector comes, which it seldom does."""
    found = []
    for path, tree in trees.items():
        if path.is_relative_to(PACKAGE / "sdk"):
            continue  # raises the one error with which a client has ended
        for function in ast.walk(tree):
            if not isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
                continue
            nodes = list(_own_nodes(function))
            names = {
                node.id
                for node in nodes
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
            } | {argument.arg for argument in function.args.args}
            found += [
                f"{path.relative_to(ROOT)}:{node.lineno}"
                for node in nodes
                if isinstance(node, ast.Raise)
                and isinstance(node.exc, ast.Name)
                and node.exc.id in names
            ]
    assert found == []


def test_the_gateway_is_put_together_at_a_glance(trees: dict[Path, ast.Module]) -> None:
    """It owns all parts of a connector: what makes a part of several pieces is a method."""
    (lines,) = [
        (function.end_lineno or 0) - function.lineno + 1
        for node in trees[PACKAGE / "connector" / "gateway.py"].body
        if isinstance(node, ast.ClassDef)
        for function in node.body
        if isinstance(function, ast.FunctionDef) and function.name == "__init__"
    ]
    assert lines < 40
