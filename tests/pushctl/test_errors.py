"""Errors: in the words of the command line, with `--json` as an object, and their exit status."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
from device_server import DeviceServer, make_certificate, run
from http_server import Answer, HTTPServer, problem

from push.wire.signals import ConnectStatus
from tests.pushctl.conftest import finished, started

TLS = ["listen", "--jwt", "j", "--server", "tls://x"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--url", "nonsense", "stats"], "--url 'nonsense': must be http://host:port"),
        (["--url", "ftp://x", "stats"], "--url 'ftp://x': must be"),
        (["--key", "schlüssel", "stats"], "--key: must be printable ASCII"),
        (["--key-file", "bad.key", "stats"], "--key-file bad.key: must be printable ASCII"),
        (["push", "--to-user", "u", "--idempotency-key", "", "x"], "--idempotency-key: 1 to 255"),
        (["listen", "--jwt", "j", "--server", "http://x"], "--server 'http://x': must begin"),
        (["listen", "--jwt", "j", "--server", "tls://x:port"], "--server 'tls://x:port': "),
        ([*TLS, "--fingerprint", "ab"], "--fingerprint: 64 hexadecimal digits"),
        (["push", "--to-user", "u", "--ttl", "-1", "x"], "--ttl"),
        (["push", "--to-user", "u", "--ttl", "9" * 30, "x"], "--ttl"),
        (["chat", "send", "ben", "--from", "ada", "x"], "CONVERSATION"),
        (["groups", "create", "g", "--owner", "u", "--extra", "{"], "--extra"),
        (["groups", "change", "g"], "give what changes"),
        (["ban", "--user", "u", "--for", "soon"], "--for"),
        (["members", "role", "g", "u", "owner"], "ROLE"),
        (["nonsense"], "nonsense"),
        (["chat", "nonsense"], "nonsense"),
        (["stats", "--nonsense"], "--nonsense"),
        (["user", "\udcff"], "not UTF-8"),
        (["user", ".."], "USER '..' cannot name a user"),
        (["bind", "ada", "a/b"], "TOKEN 'a/b' cannot name a token"),
        (["erase", "anna/devices/T", "--yes"], "USER 'anna/devices/T' cannot name a user"),
        (["kick", "--user", "."], "--user '.' cannot name a user"),
        (["members", "remove", "g", "ben", ".."], "USER… '..' cannot name a user"),
        (["chat", "send", "group:..", "--from", "ada", "x"], "'..' cannot name a group"),
        (["push", "--to-user", "\udcff", "x"], "not UTF-8"),
        (["push", "--to-user", "..", "x"], "--to-user '..' cannot name a user"),
        (["push", "--to-user", "", "x"], "--to-user '' cannot name a user"),
        (["push", "--to-user", "u", "--to-user", "a b", "x"], "--to-user 'a b' cannot name a user"),
        (["push", "--to-token", "a/b", "x"], "--to-token 'a/b' cannot name a token"),
        (["push", "--to-topic", ".", "x"], "--to-topic '.' cannot name a topic"),
        (["push", "--to-group", "é", "x"], "cannot name a group"),
        (["push", "--to-ip", "10.0.0.1/8", "x"], "--to-ip: expected an address or a network"),
        (["push", "--to-ip", "", "x"], "--to-ip: expected an address or a network"),
        (["ban", "--ip", "::1%lo"], "--ip: expected an address or a network"),
        (["kick", "--session", "a b"], "--session 'a b' cannot name a session"),
        (["connections", "--topic", ".."], "--topic '..' cannot name a topic"),
        (["connections", "--ip", "x"], "--ip: expected an address or a network"),
        (["chat", "send", "user:ben", "--from", "..", "x"], "--from '..' cannot name a user"),
        (["chat", "send", "user:ben", "--from", "ben", "x"], "send a message to yourself"),
        (["push", "--to-user", "u", "-5"], "DATA that begins with - comes after --"),
        (["push", "--to-user", "u", "[" * 5000], "it nests too deep"),
        (["push", "--to-user", "u", '{"a":'], "it ends too early"),
        (["--url", "http://a:99999", "stats"], "--url 'http://a:99999': 99999 is not a port"),
        (["--key", "", "stats"], "--key is empty"),
        (["--key-file", "", "stats"], "--key-file is empty"),
        (["--url", "", "stats"], "--url is empty"),
    ],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_a_wrong_command_line_is_status_2(
    pushctl, server: HTTPServer, arguments: list[str], says: str, as_json: bool
):
    Path("bad.key").write_text("schlüssel\n")
    more = [] if "--url" in arguments else ["--url", server.url]
    outcome = pushctl(*more, *arguments, *(["--json"] if as_json else []))
    assert (outcome.status, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    assert says in outcome.err
    if as_json:
        assert json.loads(outcome.err)["error"]["code"] == "usage"
    assert server.requests == []


@pytest.mark.parametrize(
    ("command", "field", "detail", "says"),
    [
        ("push --to-token T x", "to.token", "no device has it", "--to-token: no device"),
        ("push --to-token T x", "to.token", "`to.token`: expected", "--to-token: expected"),
        ("push --to-token T --to-token U x", "to.tokens", "none known", "--to-token: none"),
        ("push --to-user u --to-user v x", "to.users[1]", "`to.users[1]`: no", "--to-user: no"),
        ("push --to-ip 10.0.0.1 y", "to.ip", "`to.ip`: expected an address", "--to-ip: expected"),
        ("push --to-user u --ttl 9999999 x", "ttl", "`ttl`: too much", "--ttl: too much"),
        ("push --to-user u --title a x", "title", "`title` has a", "--title has a"),
        ("device T", "token", "`token`: its check character is wrong", "TOKEN: its check"),
        ("user ada", "user", "`user`: expected", "USER: expected"),
        ("register --platform x", "platform", "`platform` has a control", "--platform has"),
        ("members add g u", "users[0]", "`users[0]`: expected", "USER…: expected"),
        ("chat send user:b --from a x", "from", "`from`: expected", "--from: expected"),
        ("connections --ip 10.0.0.1", "ip", "`ip`: expected", "--ip: expected"),
        ("stats", "limit", "`limit`: expected", "`limit`: expected"),
    ],
)
def test_a_refusal_names_what_was_typed(
    pushctl, server: HTTPServer, command: str, field: str, detail: str, says: str
):
    arguments = command.split()
    answer = problem(422, "invalid", field=field, detail=detail)
    server.answer(answer, answer)
    outcome = pushctl("--url", server.url, *arguments)
    assert (outcome.status, outcome.out, outcome.err.count("\n")) == (1, "", 1)
    assert outcome.err.startswith(f"pushctl: {says}"), outcome.err
    assert outcome.err.endswith(" (invalid, HTTP 422)\n")
    error = json.loads(pushctl("--url", server.url, *arguments, "--json").err)["error"]
    assert error["detail"].startswith(says)
    assert {name: error[name] for name in ("code", "status", "field")} == {
        "code": "invalid",
        "status": 422,
        "field": field,
    }


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ([], "no key was sent: give --key or --key-file"),
        (["--key", "k"], "the key is from --key"),
        (["--key-file", "mine"], "the key is from --key-file mine"),
    ],
)
def test_401_says_which_key_was_used(pushctl, server: HTTPServer, options: list[str], says: str):
    Path("mine").write_text("k")
    server.answer(problem(401, "unauthenticated"))
    outcome = pushctl("--url", server.url, *options, "stats")
    assert f"; {says} (unauthenticated, HTTP 401)\n" in outcome.err


def test_401_with_a_file_of_a_first_start_says_that_it_may_be_no_longer_valid(
    pushctl, server: HTTPServer, monkeypatch
):
    Path("push-data").mkdir()
    Path("push-data/admin.key").write_text("k")
    server.answer(problem(401, "unauthenticated"), problem(401, "unauthenticated"))
    outcome = pushctl("--url", server.url, "stats")
    assert "the key is from push-data/admin.key (with [auth] keys" in outcome.err
    monkeypatch.setenv("PUSH_AUTH_KEYS", '[{name = "a", sha256 = "b", scopes = ["read"]}]')
    outcome = pushctl("--url", server.url, "stats")
    assert "no key was sent" in outcome.err
    assert "authorization" not in server.requests[-1].headers


def test_a_server_that_is_not_there(pushctl, monkeypatch):
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{held.getsockname()[1]}"
        says = pushctl("--url", url, "stats")
        assert says == (1, "", f"pushctl: --url {url}: Connection refused\n")
        error = json.loads(pushctl("--url", url, "stats", "--json").err)["error"]
        assert error == {"code": "unreachable", "detail": f"--url {url}: Connection refused"}
        monkeypatch.setenv("PUSH_URL", url)
        assert pushctl("stats").err == f"pushctl: PUSH_URL {url}: Connection refused\n"


def test_certificates_that_are_not_trusted_ask_for_options(tmp_path: Path) -> None:
    async def test() -> None:
        certificate = make_certificate(tmp_path)
        async with DeviceServer(certificate.server_context()) as server:
            url = server.url.replace("tls", "https")
            outcome = await finished(await started("--url", url, "stats"))
            assert (outcome.status, outcome.err.count("\n")) == (1, 1)
            assert outcome.err.startswith(f"pushctl: --url {url}: certificate verify failed")
            assert outcome.err.endswith("; --ca-file gives the CA to trust\n")
            device = ["--token", "T", "--secret", "S", "--server", server.url]
            outcome = await finished(await started("listen", *device))
            assert (outcome.status, outcome.err.count("\n")) == (1, 1)
            assert "give --ca-file or --fingerprint" in outcome.err
            key_file = str(certificate.key_file)
            outcome = await finished(await started("--url", url, "--ca-file", key_file, "stats"))
            assert outcome.err.startswith(f"pushctl: --ca-file '{key_file}': no certificate")
            assert "ssl" not in outcome.err

    run(test())


@pytest.mark.parametrize(
    "answer",
    [Answer(200, b"<html>"), Answer(404, b"<html>"), Answer(200, []), Answer(200, {"nodes": 1})],
)
def test_an_answer_of_something_else_asks_for_the_url(pushctl, server: HTTPServer, answer: Answer):
    server.answer(answer)
    outcome = pushctl("--url", server.url, "nodes")
    assert (outcome.status, outcome.out, outcome.err.count("\n")) == (1, "", 1)
    assert f"--url {server.url}: is this a push server?" in outcome.err


def test_the_sdks_arguments_are_options() -> None:
    async def test() -> None:
        async with DeviceServer() as server:
            device = ["--token", "T", "--secret", "S", "--server", server.url]
            for status, says in (
                (ConnectStatus.IDENTIFIER_REJECTED, "`pushctl register` makes a new one"),
                (ConnectStatus.BAD_CREDENTIALS, "--credentials, --token and --secret, or --jwt"),
            ):
                process = await started("listen", *device)
                await (await server.accept()).refuse(status)
                outcome = await finished(process)
                assert (outcome.status, outcome.err.count("\n")) == (1, 1)
                assert says in outcome.err
                assert "`key`" not in outcome.err

    run(test())


def test_a_session_that_ends_for_good_is_not_said_to_connect_again() -> None:
    async def test() -> None:
        async with DeviceServer() as server:
            for code in ("kicked", "taken_over", "bad_frame", "frame_too_large"):
                device = ["--token", "T", "--secret", "S", "--server", server.url]
                process = await started("listen", *device)
                peer = await server.accept()
                await peer.welcome()
                await peer.disconnect(code)
                outcome = await finished(process)
                assert outcome.status == 1
                connected, why = outcome.err.splitlines()
                assert connected.startswith("pushctl: connected to ")
                assert code in why
                assert "again" not in why

    run(test())


def test_notices_are_objects_with_json() -> None:
    async def test() -> None:
        async with DeviceServer() as server:
            device = ["--token", "T", "--secret", "S", "--server", server.url]
            process = await started("listen", *device, "--json")
            peer = await server.accept()
            await peer.welcome()
            await peer.disconnect("kicked")
            outcome = await finished(process)
            notice, error = map(json.loads, outcome.err.splitlines())
            assert notice["notice"]["detail"] == f"connected to {server.url} as T"
            assert error["error"]["code"] == "kicked"

    run(test())


@pytest.mark.parametrize("variable", ["PUSH_KEY", "PUSH_KEY_FILE", "PUSH_URL"])
def test_an_empty_variable_is_no_wish_for_the_default(
    pushctl, server: HTTPServer, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    Path("push-data").mkdir()
    Path("push-data/admin.key").write_text("secret of the admin")
    monkeypatch.setenv(variable, "")
    url = [] if variable == "PUSH_URL" else ["--url", server.url]
    outcome = pushctl(*url, "stats")
    assert (outcome.status, outcome.out) == (2, "")
    assert f"{variable} is set and empty" in outcome.err
    assert server.requests == []
    server.answer(Answer(200, {}))
    assert pushctl("--url", server.url, "--key", "k", "stats").status == 0


def test_an_empty_key_file_is_named(pushctl, server: HTTPServer) -> None:
    Path("mine").write_text("\n")
    outcome = pushctl("--url", server.url, "--key-file", "mine", "stats")
    assert (outcome.status, outcome.err) == (1, "pushctl: --key-file mine: it is empty\n")
    assert server.requests == []


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "it is empty"),
        (" \n", "it is empty"),
        ("[" * 5000, "expected"),
        ('{"token": "t"', "it ends too early"),
    ],
)
def test_credentials_that_are_none_are_named(pushctl, content: str, says: str) -> None:
    Path("me.json").write_text(content)
    outcome = pushctl("device", "--credentials", "me.json")
    assert (outcome.status, outcome.out, outcome.err.count("\n")) == (1, "", 1)
    assert outcome.err.startswith("pushctl: --credentials me.json: ")
    assert says in outcome.err.lower()


def test_https_at_a_port_without_tls_says_so(pushctl, server: HTTPServer) -> None:
    outcome = pushctl("--url", server.url.replace("http://", "https://"), "stats")
    assert (outcome.status, outcome.out, outcome.err.count("\n")) == (1, "", 1)
    assert "this server does not speak TLS here: use http://" in outcome.err
