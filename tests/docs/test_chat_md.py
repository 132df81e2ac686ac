"""docs/chat.md against the code: the tests that it names, and its figures.

Its tables are run cell by cell by tests/chat/test_permissions.py.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from push.chat import messages, settings
from push.daemons.config.settings import Settings
from push.wire.api.conversations import MAX_MENTIONS

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "chat.md").read_text("utf-8")
WORDS = " ".join(TEXT.split())
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", TEXT)))


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_a_test_that_is_named_exists(path: str, name: str) -> None:
    tree = ast.parse((ROOT / path).read_text("utf-8"))
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    assert name in {node.name for node in ast.walk(tree) if isinstance(node, functions)}


def test_the_figures_are_the_codes() -> None:
    chat, limits = Settings().chat, Settings().limits
    assert f"`[chat] ttl` ({chat.ttl // 86_400} days)" in WORDS
    assert f"`history_days` ({chat.history_days})" in WORDS
    assert chat.history_count == 0
    assert "`history_count` (none)" in WORDS
    assert f"Within `recall_seconds` ({chat.recall_seconds})" in WORDS
    assert f"{chat.group_max_members:,} members at most (`group_max_members`)" in WORDS
    assert f"in {chat.groups_per_user} groups (`groups_per_user`" in WORDS
    assert f"{chat.messages_per_minute} messages a minute" in WORDS
    assert f"{chat.typing_per_minute} times that the user is typing" in WORDS
    assert f"{chat.presence_per_minute} times for presence" in WORDS
    assert f"{chat.groups_per_minute} times create a group" in WORDS
    assert f"{limits.max_payload // 1024} KiB of `data`" in WORDS
    assert f"{MAX_MENTIONS} mentions" in WORDS
    assert f"a group of at most {settings.RECEIPTS_UP_TO_MEMBERS}" in WORDS
    assert f"within {settings.CLIENT_ID_SECONDS // 86_400} days" in WORDS
    assert f"about {messages.MAX_PAGE_BYTES // 1024} KiB" in WORDS
