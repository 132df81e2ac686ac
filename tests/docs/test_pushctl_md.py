"""docs/pushctl.md against the code: its commands, its targets, and its questions."""

from __future__ import annotations

import re
from pathlib import Path

import click

from push.pushctl.main import cli
from push.wire.api.push_targets import PLURAL_OF_TARGET, PUSH_TARGETS

TEXT = (Path(__file__).parents[2] / "docs" / "pushctl.md").read_text("utf-8")


def table_under(heading: str) -> str:
    (table,) = re.findall(rf"^{heading}\n\|---\|---\|\n((?:\|.*\n)+)", TEXT, re.MULTILINE)
    return str(table)


def test_every_command_is_named() -> None:
    table = table_under(r"\| for \| commands \|")
    assert sorted(re.findall(r"`(\w+)`", table)) == sorted(cli.commands)


def test_the_table_of_targets_is_that_of_the_code() -> None:
    table = table_under(r"\| target \| \|")
    rows = re.findall(r"^\| `(--[a-z-]+)` \| (.*) \|$", table, re.MULTILINE)
    wanted = [
        (
            "--all" if target.name == "all" else f"--to-{target.name}",
            target.description + ("; may be repeated" if target.name in PLURAL_OF_TARGET else ""),
        )
        for target in PUSH_TARGETS
        if not target.several
    ]
    assert rows == wanted


def asking(group: click.Group, path: str = "") -> set[str]:
    """The commands with the option --yes."""
    found = set()
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            found |= asking(command, f"{path}{name} ")
        elif any("--yes" in parameter.opts for parameter in command.params):
            found.add(path + name)
    return found


def test_what_asks_first_is_told() -> None:
    (section,) = re.findall(r"^## What cannot be undone\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
    section = " ".join(section.split())
    told = {each.removesuffix(" --all") for each in re.findall(r"`([a-z]+(?: [a-z-]+)?)`", section)}
    assert told == asking(cli)
