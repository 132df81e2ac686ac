"""The command line against scripted servers: what it sends, prints, and its exit status."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from device_server import DeviceServer, run
from http_server import Answer, HTTPServer, problem

from push.pushctl.main import cli, main
from tests.pushctl.conftest import finished, started


def every_command(group: click.Group, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Groups and their commands, as typed."""
    found: list[tuple[str, ...]] = []
    for name, command in group.commands.items():
        found.append((*path, name))
        if isinstance(command, click.Group):
            found += every_command(command, (*path, name))
    return found


# --- Usage ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", every_command(cli), ids=" ".join)
def test_every_command_has_help_with_examples_and_json(pushctl, command: tuple[str, ...]):
    outcome = pushctl(*command, "--help")
    assert outcome.status == 0
    examples = outcome.out.split("Examples:\n")[1]
    assert f"pushctl {' '.join(command)}" in examples
    assert "--json" in outcome.out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nonsense"], "nonsense"),
        (["push", "--all"], "DATA"),
        (["push", "--all", "--to-user", "u", "x"], "exactly one"),
        (["push", "x"], "exactly one"),
        (["push", "--all", "--to-topic", "t", "x"], "exactly one"),
        (["subscribe", "news"], "exactly one"),
        (["unsubscribe", "news", "T", "--credentials", "f"], "exactly one"),
        (["push", "--all", "--qos", "7", "x"], "qos"),
        (["message"], "ID"),
        (["cancel"], "ID"),
        (["listen"], "--credentials"),
        (["listen", "--token", "T"], "--secret"),
        (["listen", "--token", "T", "--secret", "S", "--credentials", "f"], "exclude"),
        (["listen", "--jwt", "j", "--count", "0"], "count"),
    ],
)
def test_wrong_usage_is_status_2(pushctl, monkeypatch, arguments: list[str], says: str):
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    outcome = pushctl(*arguments)
    assert outcome.status == 2
    assert says in outcome.err
    assert "Traceback" not in outcome.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--key-file", "nowhere", "stats"], "nowhere: No such file"),
        (["push", "--all", "@nowhere"], "@nowhere: No such file"),
        (["batch", "nowhere"], "nowhere: No such file"),
        (["forget", "--credentials", "nowhere"], "--credentials nowhere: No such file"),
        (["listen", "--credentials", "nowhere"], "nowhere: No such file"),
        (["listen", "--jwt", "j", "--server", "tcp://127.0.0.1:1"], "Connection refused"),
        (["register", "--server", "tcp://127.0.0.1:1"], "Connection refused"),
        (["--url", "http://127.0.0.1:1", "stats"], "Connection refused"),
        (
            ["--url", "https://127.0.0.1:1", "--ca-file", "nowhere", "stats"],
            "--ca-file 'nowhere'",
        ),
    ],
)
def test_what_cannot_work_is_one_line_and_status_1(pushctl, arguments: list[str], says: str):
    outcome = pushctl(*arguments)
    assert (outcome.status, outcome.out) == (1, "")
    assert says in outcome.err
    assert outcome.err.count("\n") == 1


# --- The HTTP API --------------------------------------------------------------------------------


def test_push_sends_what_was_asked(pushctl, server: HTTPServer):
    server.answer(Answer(202, {"id": "m1", "streams": 2, "online": 1, "unknown": ["U"]}))
    outcome = pushctl(
        *["--url", server.url, "push", "--to-token", "T", "--to-token", "U", "--ttl", "60"],
        *["--qos", "0", "--title", "t", "--body", "b", '{"a": 1}'],
    )
    assert outcome == (1, "m1: streams 2, online 1\n", "pushctl: unknown: U\n")
    assert server.requests[0].body == {
        "to": {"tokens": ["T", "U"]},
        "data": {"a": 1},
        "ttl": 60,
        "qos": 0,
        "title": "t",
        "body": "b",
    }


def test_push_collapses_and_is_pushed_again_with_its_key(pushctl, server: HTTPServer):
    server.answer(problem(503, "unavailable"), Answer(202, {"id": "m1"}))
    options = ["--collapse", "score", "--idempotency-key", "order-17"]
    outcome = pushctl("--url", server.url, "push", "--all", "--yes", *options, "1")
    assert (outcome.status, outcome.out) == (0, "m1: streams 0, online 0\n")
    for request in server.requests:
        assert request.body == {"to": {"all": True}, "data": 1, "collapse": "score"}
        assert request.headers["idempotency-key"] == "order-17"
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("target", "to"),
    [
        (["--all", "--yes"], {"all": True}),
        (["--to-token", "T"], {"token": "T"}),
        (["--to-user", "u"], {"user": "u"}),
        (["--to-topic", "news"], {"topic": "news"}),
        (["--topic", "news"], {"topic": "news"}),
        (["--to-user", "u", "--to-user", "v"], {"users": ["u", "v"]}),
        (["--to-token", "T", "--to-token", "U"], {"tokens": ["T", "U"]}),
        (["--to-group", "g"], {"group": "g"}),
        (["--to-ip", "10.0.0.0/8"], {"ip": "10.0.0.0/8"}),
    ],
)
def test_push_targets(pushctl, server: HTTPServer, target: list[str], to: Any):
    server.answer(Answer(202, {"id": "m1"}))
    assert pushctl("push", *target, "x", "--url", server.url, "--json").status == 0
    assert server.requests[0].body == {"to": to, "data": "x"}


@pytest.mark.parametrize(
    ("content", "options", "data"),
    [
        (b'{"a": [1, null]}', [], {"a": [1, None]}),
        (b"just text\n", [], "just text\n"),
        (b"123", [], 123),
        (b"123", ["--text"], "123"),
        ("ä".encode(), [], "ä"),
        (b"\xff\x00", [], "/wA="),
    ],
)
def test_push_reads_data_from_a_file(
    pushctl, server: HTTPServer, content: bytes, options: list[str], data: Any
):
    Path("data").write_bytes(content)
    server.answer(Answer(202, {"id": "m1"}))
    assert pushctl("--url", server.url, "push", "--to-user", "u", "@data", *options).status == 0
    assert server.requests[0].body["data"] == data
    assert server.requests[0].body.get("encoding") == ("base64" if data == "/wA=" else None)


def test_push_reads_data_from_standard_input(server: HTTPServer):
    async def test() -> None:
        for arguments in ([], ["-"]):
            server.answer(Answer(202, {"id": "m1"}))
            process = await started(
                *("--url", server.url, "push", "--all", "--yes", *arguments), stdin=subprocess.PIPE
            )
            _, err = await process.communicate(b'{"a": 1}')
            assert (process.returncode, err) == (0, b"")
            assert server.requests[-1].body["data"] == {"a": 1}

    run(test())


def test_json_output_is_one_object_a_line(pushctl, server: HTTPServer):
    server.answer(Answer(202, {"id": "m1", "streams": 1}), Answer(200, {"a": {"b": [1]}}))
    out = pushctl("--url", server.url, "--json", "push", "--to-user", "u", "x").out
    assert json.loads(out) == {"id": "m1", "streams": 1, "online": 0, "unknown": [], "silent": []}
    assert pushctl("stats", "--json", "--url", server.url).out == '{"a":{"b":[1]}}\n'


@pytest.mark.parametrize(("rate", "body"), [((), {}), (("--rate", "200/s"), {"rate": 200})])
def test_drain_tells_a_connector_to_leave(pushctl, server: HTTPServer, rate, body):
    server.answer(Answer(202, {"node": "gate-1", "draining": True}))
    assert pushctl("--url", server.url, "drain", "gate-1", *rate).out == "gate-1: draining\n"
    (request,) = server.requests
    assert (request.method, request.path) == ("POST", "/v1/nodes/gate-1/drain")
    assert request.body == body


@pytest.mark.parametrize("rate", ["0", "fast", "5/m", "-1", "1.5"])
def test_a_drain_rate_that_is_none_is_said(pushctl, rate):
    assert "is not a rate" in pushctl("drain", "gate-1", "--rate", rate).err


def test_stats_are_tables_with_headings(pushctl, server: HTTPServer):
    others = [{"a": 1}, {"a": 2, "b": {"c": "d"}}]
    server.answer(Answer(200, {"devices": 3, "push": {"sent": 10, "why": "ok"}, "others": others}))
    out = pushctl("--url", server.url, "stats").out
    assert out.splitlines() == [
        "NAME       VALUE",
        "devices    3",
        "push.sent  10",
        "push.why   ok",
        "",
        "others:",
        "A  B.C",
        "1  -",
        "2  d",
    ]


NODE = {
    "service": "push-connector",
    "instance": "connector-1.eu",
    "addresses": {name: f"{name}://connector-1.eu.example.com:18443" for name in ("tls", "wss")},
    "draining": False,
    "sessions": 123456,
    "capacity": 150000,
    "version": "0.1.0",
    "started": 1_800_000_000_000,
    "counters": {f"counter_{number}": number for number in range(20)},
}


def test_the_nodes_in_stats_fit_a_terminal_and_have_their_versions(pushctl, server: HTTPServer):
    server.answer(Answer(200, {"sessions": 123456, "nodes": [NODE]}))
    out = pushctl("--url", server.url, "stats").out
    assert max(map(len, out.splitlines())) <= 100
    cells = ["push-connector", "connector-1.eu", "up", "0.1.0", "123456", "2027-01-15T08:00:00Z"]
    assert out.splitlines()[-1].split() == cells
    server.answer(Answer(200, {"nodes": [NODE]}))
    heading, row = pushctl("--url", server.url, "nodes").out.splitlines()
    assert heading.split() == [
        "SERVICE",
        "NODE",
        "STATE",
        "VERSION",
        "SESSIONS",
        "STARTED",
        "ADDRESSES",
    ]
    assert row.split() == [*cells, *NODE["addresses"].values()]


def test_an_error_of_the_api_is_one_line(pushctl, server: HTTPServer):
    server.answer(problem(401, "unauthenticated"))
    outcome = pushctl("--url", server.url, "stats")
    text = "it is unauthenticated; no key was sent: give --key or --key-file"
    assert outcome == (1, "", f"pushctl: {text} (unauthenticated, HTTP 401)\n")


def sent_key(server: HTTPServer) -> str | None:
    return server.requests[-1].headers.get("authorization")


def test_where_the_key_comes_from(pushctl, server: HTTPServer, monkeypatch):
    def key_of(*arguments: str) -> str | None:
        server.answer(Answer(200, {}))
        assert pushctl(*arguments, "stats").status == 0
        return sent_key(server)

    monkeypatch.setenv("PUSH_URL", server.url)
    assert key_of() is None
    Path("push-data").mkdir()
    Path("push-data/app.key").write_text("app\n")
    assert key_of() == "Bearer app"
    Path("push-data/admin.key").write_text("admin\n")
    assert key_of() == "Bearer admin"
    Path("other").write_text("file\n")
    monkeypatch.setenv("PUSH_KEY_FILE", "other")
    assert key_of() == "Bearer file"
    monkeypatch.setenv("PUSH_KEY", "env")
    assert key_of() == "Bearer env"
    assert key_of("--key-file", "other") == "Bearer file"
    assert key_of("--key", "typed") == "Bearer typed"


# --- register ------------------------------------------------------------------------------------


def test_register_prints_the_pair_and_keeps_it_for_the_owner_only(pushctl, server: HTTPServer):
    made = {"token": "T", "secret": "S", "servers": ["tcp://h:1"]}
    server.answer(Answer(201, made), Answer(201, made), Answer(201, made))
    Path("push-data").mkdir()
    Path("push-data/admin.key").write_text("admin")
    Path("push-data/app.key").write_text("app")
    outcome = pushctl("--url", server.url, "register", "--credentials", "me.json", "--device", "d")
    assert (outcome.status, outcome.out) == (0, "token   T\nsecret  S\n")
    assert sent_key(server) == "Bearer app"
    assert server.requests[0].body == {"platform": "cli", "app": "pushctl", "device": "d"}
    assert json.loads(Path("me.json").read_text()) == made
    assert stat.S_IMODE(Path("me.json").stat().st_mode) == 0o600
    again = pushctl("--url", server.url, "register", "--credentials", "me.json")
    assert again.status == 1
    assert "--force" in again.err
    assert len(server.requests) == 1, "no device is registered whose secret could not be kept"
    Path("me.json").chmod(0o644)
    forced = pushctl("--url", server.url, "register", "--credentials", "me.json", "--force")
    assert forced.status == 0
    assert stat.S_IMODE(Path("me.json").stat().st_mode) == 0o600
    assert json.loads(pushctl("--url", server.url, "register", "--json").out) == made


def test_register_over_the_device_protocol():
    async def test() -> None:
        async with DeviceServer() as server:
            process = await started("register", "--server", server.url, "--key", "k", "--json")
            peer = await server.accept()
            assert await peer.register() == {"platform": "cli", "app": "pushctl", "key": "k"}
            outcome = await finished(process)
            assert outcome.status == 0, outcome.err
            made = {"token": "T", "secret": "S", "servers": [server.url]}
            assert json.loads(outcome.out) == made

    run(test())


# --- The ledger ----------------------------------------------------------------------------------

LEDGER = {
    "id": "m1",
    "ts": 1_700_000_000_000,
    "expires": 1_700_000_600_000,
    "to": {"user": "ada"},
    "addressed": 120,
    "stored": 119,
    "written": 60,
    "acknowledged": 40,
    "expired": 0,
    "cancelled": 10,
    "dropped": {"too_large": 1, "backlog_full": 2},
}


def test_message_shows_the_way_down_from_who_was_addressed(pushctl, server: HTTPServer):
    server.answer(Answer(200, LEDGER))
    outcome = pushctl("--url", server.url, "message", "m1")
    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.out.splitlines() == [
        "id            m1",
        "to            user ada",
        "pushed        2023-11-14T22:13:20Z",
        "expires       2023-11-14T22:23:20Z",
        "addressed     120  100%",
        "stored        119   99%",
        "written        60   50%",
        "acknowledged   40   33%",
        "expired         0",
        "cancelled      10    8%",
        "dropped         3    2%",
        "                2  backlog_full",
        "                1  too_large",
    ]
    assert server.requests[0].path == "/v1/messages/m1"


@pytest.mark.parametrize(
    ("to", "said"),
    [
        ({"all": True}, "all"),
        ({"tokens": ["T", "U"]}, "tokens T, U"),
        ({"users": ["u"] * 1000}, "1000 users"),
    ],
)
def test_message_says_to_whom(pushctl, server: HTTPServer, to: Any, said: str):
    server.answer(Answer(200, {"id": "m1", "ts": 1, "to": to}))
    lines = pushctl("--url", server.url, "message", "m1").out.splitlines()
    assert lines[1] == f"to            {said}"
    assert lines[3] == "addressed     0"


def test_message_as_json(pushctl, server: HTTPServer):
    server.answer(Answer(200, LEDGER))
    assert json.loads(pushctl("--url", server.url, "message", "m1", "--json").out) == LEDGER


def device_pages() -> list[Answer]:
    written = {"token": "T", "state": "written", "ts": 1_700_000_000_000}
    dropped = {"token": "U", "state": "dropped", "reason": "too_large", "ts": 1_700_000_001_000}
    return [
        Answer(200, {"devices": [written], "cursor": "c1"}),
        Answer(200, {"devices": [dropped], "cursor": None}),
    ]


def test_message_lists_the_devices_of_all_pages(pushctl, server: HTTPServer):
    server.answer(*device_pages(), *device_pages())
    out = pushctl("--url", server.url, "message", "m1", "--devices").out
    assert out.splitlines() == [
        "DEVICE  STATE    SINCE                 REASON",
        "T       written  2023-11-14T22:13:20Z  -",
        "U       dropped  2023-11-14T22:13:21Z  too_large",
    ]
    out = pushctl("--url", server.url, "message", "m1", "--devices", "--json").out
    assert [json.loads(line) for line in out.splitlines()] == [
        {"token": "T", "state": "written", "ts": 1_700_000_000_000},
        {"token": "U", "state": "dropped", "reason": "too_large", "ts": 1_700_000_001_000},
    ]


def test_cancel_says_for_how_many(pushctl, server: HTTPServer):
    server.answer(*[Answer(200, {"cancelled": n}) for n in (1, 2, 0)])
    assert pushctl("--url", server.url, "cancel", "m1").out == "m1: cancelled for 1 device\n"
    assert pushctl("--url", server.url, "cancel", "m1").out == "m1: cancelled for 2 devices\n"
    assert pushctl("--url", server.url, "cancel", "m1", "--json").out == '{"cancelled":0}\n'
    assert [request.method for request in server.requests] == ["DELETE"] * 3


@pytest.mark.parametrize("command", [["message"], ["message", "--devices"], ["cancel"]])
def test_a_message_nobody_knows_is_one_line(pushctl, server: HTTPServer, command: list[str]):
    server.answer(problem(404, "unknown_message"))
    outcome = pushctl("--url", server.url, *command, "m1")
    assert outcome == (1, "", "pushctl: it is unknown_message (unknown_message, HTTP 404)\n")


def test_an_option_that_is_not_utf_8_is_one_line(capsys: pytest.CaptureFixture[str]):
    for arguments in (["push", "--all", "1", "--title", "\udcff"], ["listen", "--jwt=\udcff"]):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 2
        assert "not UTF-8" in capsys.readouterr().err


SESSION = {
    "session": "s1",
    "token": None,
    "user": "ada",
    "node": "n1",
    "ip": "192.0.2.1",
    "carrier": "tls",
    "connected": 5,
}


def test_connections_of_all_pages_and_who_did_not_answer(pushctl, server: HTTPServer):
    server.answer(
        Answer(200, {"connections": [SESSION], "cursor": "s1", "silent": ["n2"]}),
        Answer(200, {"connections": [], "cursor": None, "silent": ["n2"]}),
    )
    outcome = pushctl("connections", "--url", server.url, "--ip", "192.0.2.0/24")
    assert outcome.status == 1, "the list is not complete"
    assert outcome.out.splitlines() == [
        "SESSION  DEVICE  USER  NODE  ADDRESS    CARRIER  CONNECTED",
        "s1       -       ada   n1    192.0.2.1  tls      1970-01-01T00:00:00Z",
    ]
    assert outcome.err == "pushctl: incomplete: no answer from n2\n"


@pytest.mark.parametrize("option", ["--session", "--token", "--user", "--ip"])
def test_kick_says_how_many(pushctl, server: HTTPServer, option: str):
    server.answer(Answer(200, {"kicked": 2, "silent": []}))
    outcome = pushctl("kick", option, "10.0.0.1", "--url", server.url, "--yes")
    assert outcome == (0, "ended 2 sessions\n", "")


def test_kick_wants_exactly_one(pushctl):
    assert pushctl("kick").status == 2
    assert pushctl("kick", "--user", "a", "--ip", "1.2.3.4").status == 2


def test_nodes_that_did_not_confirm_a_ban_or_its_end_are_named(pushctl, server: HTTPServer):
    server.answer(
        Answer(201, {"user": "mallory", "until": None, "silent": ["n2"]}),
        Answer(200, {"silent": ["n2", "n3"]}),
    )
    banned = pushctl("ban", "--user", "mallory", "--url", server.url)
    assert banned.status == 1
    assert "n2" in banned.err
    lifted = pushctl("unban", "--user", "mallory", "--url", server.url)
    assert lifted.status == 1
    assert "n2" in lifted.err
    assert "n3" in lifted.err


def test_somebody_is_banned_until_a_time_and_the_ban_is_lifted(pushctl, server: HTTPServer):
    server.answer(
        Answer(201, {"user": "mallory", "until": 5}), Answer(204), problem(404, "not_found")
    )
    banned = pushctl("ban", "--user", "mallory", "--for", "12h", "--url", server.url)
    assert banned == (0, "user mallory: banned until 1970-01-01T00:00:00Z\n", "")
    lifted = pushctl("unban", "--user", "mallory", "--url", server.url)
    assert lifted == (0, "user mallory: not banned any more\n", "")
    outcome = pushctl("unban", "--user", "mallory", "--url", server.url)
    assert (outcome.status, "not_found" in outcome.err) == (1, True)
    assert server.requests[0].body["user"] == "mallory"
    assert server.requests[0].body["until"] > 1_790_000_000_000
    assert server.requests[1].path == "/v1/bans?user=mallory"


def test_bans_are_listed(pushctl, server: HTTPServer):
    pages = [
        Answer(200, {"bans": [{"ip": "10.0.0.0/8", "until": None}], "cursor": "1"}),
        Answer(200, {"bans": [{"user": "mallory", "until": 1_800_000_000_000}], "cursor": None}),
    ]
    server.answer(*pages)
    outcome = pushctl("bans", "--url", server.url)
    assert outcome.out.splitlines() == [
        "KIND  NAME        UNTIL",
        "ip    10.0.0.0/8  lifted",
        "user  mallory     2027-01-15T08:00:00Z",
    ]


@pytest.mark.parametrize(
    "wrong", [[], ["--user", "a", "--ip", "1.2.3.4"], ["--user", "a", "--for", "soon"]]
)
def test_a_ban_wants_exactly_one_and_a_period(pushctl, wrong: list[str]):
    assert pushctl("ban", *wrong).status == 2


def test_topics_are_listed(pushctl, server: HTTPServer):
    pages = [
        Answer(200, {"topics": [{"topic": "a", "devices": 2}], "cursor": "a"}),
        Answer(200, {"topics": [{"topic": "b", "devices": 1}], "cursor": None}),
    ]
    server.answer(*pages, *pages, Answer(200, {"topic": "b", "devices": 1}))
    assert pushctl("topics", "--url", server.url) == (0, "TOPIC  DEVICES\na      2\nb      1\n", "")
    outcome = pushctl("topics", "--url", server.url, "--json")
    assert [json.loads(line)["devices"] for line in outcome.out.splitlines()] == [2, 1]
    assert pushctl("topics", "b", "--url", server.url) == (0, "TOPIC  DEVICES\nb      1\n", "")


def test_a_device_is_subscribed_and_unsubscribed(pushctl, server: HTTPServer):
    Path("me.json").write_text('{"token": "T", "secret": "S"}')
    server.answer(Answer(204), Answer(204), problem(404, "not_found"))
    assert pushctl("subscribe", "news", "T", "--url", server.url) == (0, "T: follows news\n", "")
    named = ["--credentials", "me.json", "--url", server.url]
    assert pushctl("unsubscribe", "news", *named).out == "T: does not follow news any more\n"
    outcome = pushctl("unsubscribe", "news", *named)
    assert (outcome.status, outcome.out) == (1, "")
    assert "not_found" in outcome.err
    path = "/v1/topics/news/devices/T"
    asked = [(each.method, each.path) for each in server.requests]
    assert asked == [("PUT", path), ("DELETE", path), ("DELETE", path)]
