"""CONTRIBUTING.md against the tree: its paths, its names, its commands."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.test_imports import ALLOWED

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
TABLE = TEXT.split("\n## I want to change", 1)[1].split("\n## ", 1)[0]
ROWS = [line for line in TABLE.splitlines() if line.startswith("| ")][1:]
SUBJECTS = [
    "a field of the push body",
    "an error code",
    "a metric",
    "a signal",
    "an option",
    "a limit",
    "an HTTP route",
    "a kind of target",
    "a Lua script",
    "a kind of key",
    "a command of `pushctl`",
    "a status of `CONNECT_ACK`",
    "a scope of keys",
    "an event of webhooks",
    "a carrier of devices",
    "a request of devices",
    "a screen of the console",
    "who may do what in a group",
]
# A path, and the names in it that the row tells to change.
NAMED = re.findall(r"`((?:push|tests|docs|etc)/[\w./-]*)`(?: \((`[^)]*)\))?", TEXT)


@pytest.mark.parametrize("subject", SUBJECTS)
def test_there_is_a_row_for_it(subject: str) -> None:
    (row,) = [row for row in ROWS if row.startswith(f"| {subject}")]
    _, files, tests = row.strip("|").split(" | ")
    assert "`push/" in files
    assert "`tests/" in tests


def test_each_path_exists_and_has_the_names() -> None:
    for path, names in sorted(set(NAMED)):
        assert (ROOT / path).exists(), path
        wanted = re.findall(r"`(\w+)`", names)
        if path.endswith(".js"):
            known = set(re.findall(r"^(?:export )?const (\w+) =", (ROOT / path).read_text(), re.M))
        else:
            known = defined_in(ROOT / path) if wanted else set()
        assert not set(wanted) - known, f"{path} has not all of {names}"


def defined_in(path: Path) -> set[str]:
    """Every class, function and constant of a module; every function of a Lua file."""
    text = path.read_text("utf-8")
    if path.suffix == ".lua":
        return set(re.findall(r"^(?:local )?function (\w+)\(", text, re.MULTILINE))
    names = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names.update(target.id for target in targets if isinstance(target, ast.Name))
    return names


def test_the_commands_of_make_are_there() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    commands = set(re.findall(r"`make (\w+)", TEXT))
    assert {"test", "quick", "lint", "docs", "changelog"} <= commands
    for command in commands:
        assert re.search(rf"^{command}:", makefile, re.MULTILINE), command
    assert "make .venv/development" in TEXT
    assert "$(VENV)/development:" in makefile


def test_the_layers_go_down() -> None:
    """Which layer may import which is in tests/test_imports.py; the order of the table agrees."""
    table = TEXT.split("| layer, from the top |", 1)[1].split("\n\n", 1)[0]
    height = {
        layer: line
        for line, row in enumerate(table.splitlines())
        for layer in re.findall(r"`(\w+)`", row.split("|")[1] if line else "")
    }
    assert set(ALLOWED) - set(height) == {"demo", "sdk", "pushctl", "resharding", "testing"}
    for layer in height:
        for lower in ALLOWED[layer]:
            assert height[layer] < height[lower], f"{layer} imports {lower}"
