"""`pushctl keys`: what is asked, printed and written."""

from __future__ import annotations

import json
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from http_server import Answer, HTTPServer, problem

from tests.pushctl.conftest import Outcome

PushCtl = Callable[..., Outcome]
MADE = {"name": "billing", "scopes": ["push"], "expires": None, "key": "pk_secret"}


def test_a_key_is_made_and_told_once(pushctl: PushCtl, server: HTTPServer) -> None:
    server.answer(Answer(201, MADE))
    outcome = pushctl("--url", server.url, "keys", "make", "billing", "--scope", "push")
    assert (outcome.status, outcome.err) == (0, "")
    assert "key      pk_secret\n" in outcome.out
    assert server.requests[0].body == {"name": "billing", "scopes": ["push"]}


def test_a_key_ends_after_the_period(pushctl: PushCtl, server: HTTPServer) -> None:
    server.answer(Answer(201, MADE))
    before = time.time() * 1000
    options = ["--scope", "push", "--scope", "read", "--for", "12h", "--json"]
    outcome = pushctl("--url", server.url, "keys", "make", "billing", *options)
    expires = server.requests[0].body["expires"]
    assert before + 12 * 3_600_000 <= expires + 1 <= time.time() * 1000 + 12 * 3_600_000 + 1
    assert json.loads(outcome.out) == MADE


def test_a_key_that_is_saved_is_not_printed(
    pushctl: PushCtl, server: HTTPServer, tmp_path: Path
) -> None:
    file = tmp_path / "billing.key"
    make = ["--url", server.url, "keys", "make", "billing", "--scope", "push", "--save", str(file)]
    server.answer(Answer(201, MADE))
    outcome = pushctl(*make)
    assert outcome.status == 0
    assert "pk_secret" not in outcome.out + outcome.err
    assert file.read_text() == "pk_secret\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    outcome = pushctl(*make)
    assert outcome.err == f"pushctl: --save {file}: exists already; --force replaces it\n"
    assert len(server.requests) == 1, "no key was made that nobody knows"
    server.answer(Answer(201, MADE | {"key": "pk_other"}))
    assert pushctl(*make, "--force").status == 0
    assert file.read_text() == "pk_other\n"


def test_keys_are_listed_with_their_use(pushctl: PushCtl, server: HTTPServer) -> None:
    key = {"name": "app", "scopes": ["register"], "source": "file", "created": 0}
    key |= {"expires": None, "used": 1_800_000_000_000}
    server.answer(Answer(200, {"keys": [key], "cursor": None}))
    outcome = pushctl("--url", server.url, "keys", "list")
    heading, row = outcome.out.splitlines()
    assert heading.split() == ["NAME", "SCOPES", "SOURCE", "CREATED", "EXPIRES", "USED"]
    assert row.split()[:3] == ["app", "register", "file"]
    assert row.split()[3:] == ["1970-01-01T00:00:00Z", "never", "2027-01-15T08:00:00Z"]


def test_a_key_is_revoked_when_it_is_confirmed(pushctl: PushCtl, server: HTTPServer) -> None:
    outcome = pushctl("--url", server.url, "keys", "revoke", "billing")
    assert (outcome.status, server.requests) == (2, [])
    server.answer(Answer(204), problem(403, "not_allowed", detail="billing is the last one"))
    outcome = pushctl("--url", server.url, "keys", "revoke", "billing", "--yes")
    assert outcome.out == "billing: revoked\n"
    assert (server.requests[0].method, server.requests[0].path) == ("DELETE", "/v1/keys/billing")
    outcome = pushctl("--url", server.url, "keys", "revoke", "billing", "--yes")
    assert outcome.status == 1
    assert outcome.err == "pushctl: billing is the last one (not_allowed, HTTP 403)\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["make", "billing"],
        ["make", "billing", "--scope", "all"],
        ["make", "a b", "--scope", "push", "--for", "1 day"],
        ["make", "billing", "--scope", "push", "--for", "0h"],
        ["revoke", "a/b", "--yes"],
        ["revoke", "..", "--yes"],
    ],
)
def test_a_wrong_command_line_asks_nothing(
    pushctl: PushCtl, server: HTTPServer, arguments: list[str]
) -> None:
    outcome = pushctl("--url", server.url, "keys", *arguments)
    assert outcome.status == 2
    assert outcome.err.count("\n") == 1
    assert server.requests == []
