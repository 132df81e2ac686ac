"""docs/delivery.md against the code: the tests that it names, its counts, reasons and figures."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

from push.cluster.survey import DEADLINE_SECONDS
from push.connector.transport.connection import MAX_WAITING_BYTES
from push.daemons.config.settings import Settings
from push.redis.shared_copy import LEASE_SECONDS
from push.redis.shared_copy import NONCE_SECONDS as LEASE_NONCE_SECONDS
from push.session.server_answers import SessionLimits
from push.session.window import MAX_ONLINE_UNACKNOWLEDGED
from push.streams.cursors.writer import FLUSH_CURSORS, FLUSH_SECONDS
from push.streams.gap_repair import REPAIRS_AT_A_TIME
from push.streams.ledger import SETTLED_SECONDS
from push.streams.log import PAGE_BYTES
from push.streams.log_cache import MAX_BYTES
from push.streams.loss_check import NONCE_SECONDS
from push.streams.shared_reader import CALLS_AT_A_TIME
from push.wire.api.messages import MessageLedger

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "delivery.md").read_text("utf-8")
WORDS = " ".join(TEXT.split())
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", TEXT)))


@cache
def names_in(path: str) -> set[str]:
    tree = ast.parse((ROOT / path).read_text("utf-8"))
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.walk(tree) if isinstance(node, functions)}


def test_each_test_that_is_named_exists() -> None:
    for path, name in NAMED:
        assert name.startswith("test_"), name
        assert name in names_in(path), path


def test_nothing_that_looks_like_a_test_is_left_unchecked() -> None:
    assert len(re.findall("::", TEXT)) == len(re.findall(r"`tests/[\w/]+\.py::test_\w+`", TEXT))


def test_each_promise_names_a_test() -> None:
    promises = TEXT.split("## Promises", 1)[1].split("\n## ", 1)[0]
    items = re.split(r"^\* ", promises.split("Every test of the fault suite")[0], flags=re.M)[1:]
    assert len(items) >= 14
    assert [item for item in items if "::test_" not in item] == []


def first_cells(heading: str) -> list[str]:
    table = TEXT.split(heading, 1)[1].split("\n\n", 1)[0]
    return re.findall(r"^\| `(\w+)` \|", table, re.M)


def test_the_counts_are_those_of_the_ledger() -> None:
    described = first_cells("| count | devices |")
    assert described == [*MessageLedger.__struct_fields__[4:]]


def test_the_reasons_are_those_of_the_code() -> None:
    sources = [*(ROOT / "push").rglob("*.lua"), *(ROOT / "push").rglob("*.py")]
    used = {
        reason
        for path in sources
        for reason in re.findall(r"""['"]d:(\w+)['"]""", path.read_text("utf-8"))
    }
    assert set(first_cells("| reason | why |")) == used


def test_each_write_in_effect_names_a_test() -> None:
    table = TEXT.split("| write | readers | test |", 1)[1].split("\n\n", 1)[0]
    rows = table.strip().splitlines()[1:]
    assert len(rows) >= 9
    assert [row for row in rows if "::test_" not in row and "the same" not in row] == []


def test_the_figures_of_writes_in_effect_are_those_of_the_code() -> None:
    assert f"every {LEASE_NONCE_SECONDS:g} s, that it receives" in WORDS
    assert f"counts as current for {LEASE_SECONDS:g} s after that" in WORDS
    assert f"waits for the readers, {DEADLINE_SECONDS:g} s at most" in WORDS
    assert LEASE_SECONDS < DEADLINE_SECONDS


def test_the_figures_are_those_of_the_code() -> None:
    limits, settings, kib = SessionLimits(), Settings(), 1024
    assert f"{limits.window_messages} messages (`window`) or 1 MiB" in WORDS
    assert limits.window_bytes == kib * kib
    assert f"after {limits.redeliver_after_seconds} s (`redeliver_after`)" in WORDS
    assert limits.max_deliveries == 10
    assert "After ten copies" in WORDS
    assert f"{limits.max_deliveries * limits.redeliver_after_seconds} s" in WORDS
    assert f"at most {MAX_WAITING_BYTES // kib} KiB" in WORDS
    assert f"of logs is {MAX_BYTES // kib // kib} MiB" in WORDS
    assert f"{CALLS_AT_A_TIME} pages of {PAGE_BYTES // kib} KiB at a time" in WORDS
    assert f"repairs {REPAIRS_AT_A_TIME} streams" in WORDS
    assert f"a nonce every {NONCE_SECONDS:g} s" in WORDS
    assert f"Over {settings.connector.max_backlog:,} messages" in WORDS
    assert f"{settings.limits.shared_max_count:,} messages (`shared_max_count`)" in WORDS
    assert f"{settings.limits.shared_max_age // 86_400} days (`shared_max_age`)" in WORDS
    assert f"{FLUSH_SECONDS * 1000:g} ms or {FLUSH_CURSORS} cursors" in WORDS
    assert f"{SETTLED_SECONDS} s after the push" in WORDS
    assert f"more than {MAX_ONLINE_UNACKNOWLEDGED} unacknowledged" in WORDS
