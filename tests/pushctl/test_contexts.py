"""Contexts: servers by name, and that the key of one never goes to another."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from http_server import Answer, HTTPServer

from tests.pushctl.conftest import Outcome

PushCtl = Callable[..., Outcome]


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    return tmp_path / "settings" / "pushctl"


@pytest.fixture
def other() -> Iterator[HTTPServer]:
    with HTTPServer() as made:
        yield made


def add(pushctl: PushCtl, name: str, url: str, *more: str) -> None:
    outcome = pushctl("context", "add", name, "--url", url, *more)
    assert (outcome.status, outcome.err) == (0, "")


def key_sent(pushctl: PushCtl, server: HTTPServer, *arguments: str) -> str | None:
    """The key of the one request that `stats` makes there."""
    server.requests.clear()
    server.answer(Answer(200, {"sessions": 0}))
    outcome = pushctl("stats", *arguments)
    assert (outcome.status, outcome.err) == (0, "")
    (request,) = server.requests
    headers = {name.lower(): value for name, value in request.headers.items()}
    sent = headers.get("authorization")
    return None if sent is None else sent.removeprefix("Bearer ")


def test_a_context_is_used_by_name_by_variable_or_always(
    pushctl: PushCtl, server: HTTPServer, other: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(pushctl, "one", server.url, "--key", "pk_of_the_first")
    add(pushctl, "two", other.url, "--key", "pk_of_the_second")
    assert key_sent(pushctl, server, "--context", "one") == "pk_of_the_first"
    monkeypatch.setenv("PUSH_CONTEXT", "two")
    assert key_sent(pushctl, other) == "pk_of_the_second"
    assert key_sent(pushctl, server, "--context", "one") == "pk_of_the_first"
    monkeypatch.delenv("PUSH_CONTEXT")
    assert pushctl("context", "use", "one").out == "one: used from now on\n"
    assert key_sent(pushctl, server) == "pk_of_the_first"
    assert key_sent(pushctl, other, "--context", "two") == "pk_of_the_second"
    assert key_sent(pushctl, server, "--key", "pk_given_for_now") == "pk_given_for_now"
    assert pushctl("context", "use").status == 0
    assert pushctl("context", "list", "--json").out.count('"used":true') == 0


def test_the_key_of_a_context_goes_to_no_other_server(
    pushctl: PushCtl, server: HTTPServer, other: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(pushctl, "one", server.url, "--key", "pk_of_the_first", "--use")
    assert key_sent(pushctl, other, "--url", other.url) is None
    monkeypatch.setenv("PUSH_URL", other.url)
    assert key_sent(pushctl, other) is None
    assert key_sent(pushctl, server, "--context", "one") == "pk_of_the_first"
    outcome = pushctl("--context", "one", "--url", other.url, "stats")
    assert (outcome.status, outcome.err.count("\n")) == (2, 1)
    assert "--context and --url exclude each other" in outcome.err


def test_the_key_of_a_local_server_goes_to_no_context(
    pushctl: PushCtl, server: HTTPServer, tmp_path: Path
) -> None:
    (tmp_path / "push-data").mkdir()
    (tmp_path / "push-data" / "admin.key").write_text("pk_of_the_local_server")
    add(pushctl, "one", server.url)
    assert key_sent(pushctl, server, "--context", "one") is None


def test_the_environment_comes_before_a_context_that_was_not_typed(
    pushctl: PushCtl, server: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(pushctl, "one", server.url, "--key", "pk_of_the_context", "--use")
    monkeypatch.setenv("PUSH_KEY", "pk_of_the_variable")
    assert key_sent(pushctl, server) == "pk_of_the_variable"
    assert key_sent(pushctl, server, "--context", "one") == "pk_of_the_context"


@pytest.fixture
def usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.mark.usefixtures("usual_umask")
def test_keys_are_in_files_that_only_their_owner_reads(
    pushctl: PushCtl, settings: Path, server: HTTPServer, tmp_path: Path
) -> None:
    add(pushctl, "one", server.url, "--key", "pk_of_the_first")
    assert stat.S_IMODE(settings.stat().st_mode) == 0o700
    assert stat.S_IMODE((settings / "one.key").stat().st_mode) == 0o600
    assert stat.S_IMODE((settings / "contexts.json").stat().st_mode) == 0o600
    assert "pk_of" not in (settings / "contexts.json").read_text()
    assert "pk_of" not in pushctl("context", "list").out
    own = tmp_path / "own.key"
    own.write_text("pk_of_my_own")
    add(pushctl, "one", server.url, "--key-file", "own.key", "--force")
    assert not (settings / "one.key").exists(), "a key that nothing uses is not left there"
    assert key_sent(pushctl, server, "--context", "one") == "pk_of_my_own"
    assert pushctl("context", "remove", "one").status == 0
    assert own.exists()
    add(pushctl, "one", server.url, "--key", "pk_again")
    assert pushctl("context", "remove", "one").out == "one: removed\n"
    assert [path.name for path in settings.iterdir()] == ["contexts.json"]


def test_contexts_are_listed(pushctl: PushCtl, settings: Path) -> None:
    assert pushctl("context", "list").out == "no contexts\n"
    add(pushctl, "b", "https://b.example")
    add(pushctl, "a", "https://a.example", "--key", "pk_a", "--use")
    heading, first, second = pushctl("context", "list").out.splitlines()
    assert heading.split() == ["NAME", "USED", "URL", "KEY", "FILE"]
    assert first.split() == ["a", "yes", "https://a.example", str(settings / "a.key")]
    assert second.split() == ["b", "-", "https://b.example", "-"]


def test_what_is_known_of_a_context_is_said_when_it_fails(pushctl: PushCtl) -> None:
    add(pushctl, "one", "http://127.0.0.1:1", "--use")
    outcome = pushctl("stats")
    assert outcome.status == 1
    assert outcome.err == "pushctl: context one, http://127.0.0.1:1: Connection refused\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["context", "add", "a"], "give the server's address with --url"),
        (["context", "add", "../a", "--url", "http://x"], "NAME '../a': expected"),
        (["context", "add", ".a", "--url", "http://x"], "NAME '.a': expected"),
        (["context", "add", "a" * 65, "--url", "http://x"], "expected 1 to 64"),
        (["context", "add", "a", "--url", "http://x", "--key", ""], "--key is empty"),
        (["context", "use", "b"], "there is no context 'b'; known: one"),
        (["context", "remove", "b"], "there is no context 'b'; known: one"),
        (["--context", "b", "stats"], "--context: there is no context 'b'; known: one"),
    ],
)
def test_what_is_wrong_changes_nothing(
    pushctl: PushCtl, settings: Path, arguments: list[str], said: str
) -> None:
    add(pushctl, "one", "https://one.example")
    before = (settings / "contexts.json").read_text()
    outcome = pushctl(*arguments)
    assert outcome.status == 2
    assert said in outcome.err
    assert outcome.err.count("\n") == 1
    assert (settings / "contexts.json").read_text() == before


def test_one_that_exists_is_replaced_only_by_force(pushctl: PushCtl) -> None:
    add(pushctl, "one", "https://one.example")
    outcome = pushctl("context", "add", "one", "--url", "https://two.example")
    assert (outcome.status, outcome.err.count("\n")) == (1, 1)
    add(pushctl, "one", "https://two.example", "--force")
    assert json.loads(pushctl("context", "list", "--json").out)["url"] == "https://two.example"


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"contexts": {"a": 1}}', '{"current": "gone"}']
)
def test_a_file_that_is_broken_is_named(pushctl: PushCtl, settings: Path, content: str) -> None:
    settings.mkdir(parents=True)
    (settings / "contexts.json").write_text(content)
    outcome = pushctl("stats")
    assert outcome.status in (1, 2)
    assert f"pushctl: {settings / 'contexts.json'}: " in outcome.err
    assert outcome.err.count("\n") == 1
