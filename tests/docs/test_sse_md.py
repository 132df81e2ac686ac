"""docs/sse.md: its commands are run, its tables compared with the code."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.running import started_server
from push.connector.requests.handshake import _STATUS_OF_CODE
from push.connector.transport.event_stream import MAX_UNREAD_BYTES
from push.session.event_stream import HOLD_SECONDS
from push.session.server_answers import SessionLimits
from push.streams.event_positions import KEPT_EVENTS, KEPT_SECONDS
from push.wire.bodies import DisconnectBody
from push.wire.codecs.events import NEVER_MS, RETRY_MS, retry_ms
from push.wire.errors import STATUS_OF_CODE
from push.wire.event_stream.answers import REDIRECT
from push.wire.event_stream.request import STREAM_PATH
from push.wire.signals import DisconnectCode
from tests.docs.test_commands import Shell, blocks, readme
from tests.waiting import DEADLINE_SECONDS

PAGE = "docs/sse.md"
TEXT = (Path(__file__).parents[2] / PAGE).read_text("utf-8")


def section(title: str) -> str:
    return TEXT.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def rows(title: str) -> list[list[str]]:
    lines = re.findall(r"^\|(.*)\|$", section(title), re.MULTILINE)
    return [[cell.strip() for cell in line.split("|")] for line in lines[2:]]


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    with started_server("push", tmp_path / "push-data") as running:
        yield Shell(tmp_path, running)


def test_curl_listens_in_ten_seconds(shell: Shell) -> None:
    (commands,) = blocks(PAGE)
    listener = shell.start(commands)
    try:
        shell.wait_for_sessions(1)
        shell.run(readme("curl"))
        assert listener.stdout is not None
        lines = iter(listener.stdout.readline, "")
        assert any(line.startswith(": session ") for line in lines)
        shown = section("In ten seconds").split("```text\n", 1)[1].split("```", 1)[0]
        wanted = [line.partition(":")[0] for line in shown.splitlines() if line]
        assert wanted == ["", "retry", "id", "event", "data", ""]
        assert any(line.startswith("id: ") for line in lines)
        assert next(lines) == "event: message\n"
        assert json.loads(next(lines).removeprefix("data: "))["data"] == {"text": "Hello"}
    finally:
        listener.kill()
        listener.communicate(timeout=DEADLINE_SECONDS)


def test_the_statuses_are_those_of_the_code() -> None:
    found = {}
    for status_name, status, code, _ in rows("Answers without a stream"):
        name, code = status_name.strip("`"), code.strip("`")
        found[name, code] = int(status)
    redirect = found.pop(("USE_ANOTHER_SERVER", "unavailable"))
    assert redirect == REDIRECT
    assert found == {
        (status.name, code): STATUS_OF_CODE[code] for code, status in _STATUS_OF_CODE.items()
    }


def test_when_to_come_back_is_as_the_code_has_it() -> None:
    names = re.findall(r"`(\w+)`", " ".join(row[0] for row in rows("The end of a response")))
    day = {
        code.value
        for code in DisconnectCode
        if retry_ms(DisconnectBody(code=code.value)) == NEVER_MS
    }
    (never,) = (row[0] for row in rows("The end of a response") if row[1].startswith("a day"))
    assert set(re.findall(r"`(\w+)`", never)) == day
    assert {*day, "draining"} <= set(names)
    assert NEVER_MS == 86_400_000
    assert f"{RETRY_MS[0] // 1000} to {RETRY_MS[1] // 1000} s" in section("The end of a response")


def test_the_figures_are_those_of_the_code() -> None:
    limits = SessionLimits()
    assert f"one comes every {limits.comment_seconds:.0f} s" in TEXT
    assert f"confirm for {limits.heartbeat_grace_seconds} s" in TEXT
    assert f"more than {MAX_UNREAD_BYTES // 1024} KiB" in TEXT
    assert f"for {KEPT_SECONDS // 60} minutes after; at least the last {KEPT_EVENTS}" in TEXT
    assert f"{limits.window_messages} messages, {limits.window_bytes >> 20} MiB" in TEXT
    assert STREAM_PATH in TEXT
    assert HOLD_SECONDS + limits.comment_seconds < KEPT_SECONDS
