"""The commands that are a request each: what they send, and what they print."""

from __future__ import annotations

import json
import re
from inspect import signature
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from http_server import Answer, HTTPServer, problem

from push.http.checks import PushLimits
from push.http.routes.apps import make_api, make_group

GROUP = {
    "group": "g",
    "name": "Friends",
    "type": "normal",
    "owner": "ada",
    "announcement": "",
    "extra": {"a": 1},
    "members": 2,
    "mute_all": False,
    "invite": "admin",
    "ts": 1_700_000_000_000,
}
SENT = {"id": "m", "conversation": "user:ben", "seq": 3, "ts": 1}
POSITIONS = {"seq": 9, "delivered": 7, "read": 7}
CHAT = "/v1/users/ada/conversations/user:ben"


def sent(server: HTTPServer) -> tuple[str, str, Any]:
    (request,) = server.requests
    return request.method, request.path.replace("%3A", ":"), request.body


@pytest.mark.parametrize(
    ("command", "method", "path", "body", "out"),
    [
        ("bind ada T", "PUT", "/v1/users/ada/devices/T", None, "T: bound to ada"),
        ("unbind ada T", "DELETE", "/v1/users/ada/devices/T", None, "T: not bound to ada any more"),
        ("forget T --yes", "DELETE", "/v1/devices/T", None, "T: forgotten"),
        ("forget --credentials me.json --yes", "DELETE", "/v1/devices/M", None, "M: forgotten"),
        ("erase ada --yes", "DELETE", "/v1/users/ada", None, "ada: erased"),
        ("groups dismiss g --yes", "DELETE", "/v1/groups/g", None, "g: dismissed"),
        ("groups dismiss g --by ada --yes", "DELETE", "/v1/groups/g?by=ada", None, "g: dismissed"),
        (
            "members role g ben admin",
            "PUT",
            "/v1/groups/g/members/ben",
            {"role": "admin"},
            "ben: admin",
        ),
        ("members mute g ben", "PUT", "/v1/groups/g/members/ben", {"muted": True}, "ben: muted"),
        (
            "members mute g ben --undo",
            "PUT",
            "/v1/groups/g/members/ben",
            {"muted": False},
            "ben: not muted",
        ),
        (
            "chat recall user:ben 3 --of ada",
            "DELETE",
            f"{CHAT}/messages/3",
            None,
            "user:ben seq 3: recalled",
        ),
        (
            "chat recall user:ben 3 --of ada --force",
            "DELETE",
            f"{CHAT}/messages/3?force=true",
            None,
            "user:ben seq 3: recalled",
        ),
    ],
)
def test_what_is_done_is_said(
    pushctl, server: HTTPServer, command: str, method: str, path: str, body: Any, out: str
):
    Path("me.json").write_text('{"token": "M", "secret": "S"}')
    server.answer(Answer(204))
    assert pushctl("--url", server.url, *command.split()) == (0, f"{out}\n", "")
    assert sent(server) == (method, path, body)
    server.answer(Answer(204))
    assert pushctl("--url", server.url, *command.split(), "--json").out == '{"ok":true}\n'


@pytest.mark.parametrize(
    ("command", "method", "path", "body", "answer", "lines"),
    [
        (
            "groups create Friends --owner ada --member ben --type normal --extra [1]",
            "POST",
            "/v1/groups",
            {"owner": "ada", "name": "Friends", "members": ["ben"], "type": "normal", "extra": [1]},
            GROUP,
            [
                "group         g",
                "name          Friends",
                "type          normal",
                "owner         ada",
                "announcement  -",
                "members       2",
                "mute_all      no",
                "invite        admin",
                'extra         {"a":1}',
                "created       2023-11-14T22:13:20Z",
            ],
        ),
        ("groups show g", "GET", "/v1/groups/g", None, GROUP, None),
        (
            "groups change g --name n --mute-all --invite owner --owner ben --by ada",
            "PATCH",
            "/v1/groups/g",
            {"name": "n", "mute_all": True, "invite": "owner", "owner": "ben", "by": "ada"},
            GROUP,
            None,
        ),
        (
            "members list g",
            "GET",
            "/v1/groups/g/members?limit=200",
            None,
            {"members": [{"user": "ada", "role": "owner"}], "cursor": None},
            ["USER  ROLE   MUTED", "ada   owner  no"],
        ),
        (
            "chat send user:ben --from ada --type text --mention eve --reply-to 2 --client-id c hi",
            "POST",
            "/v1/users/ben/messages",
            {
                "from": "ada",
                "data": "hi",
                "type": "text",
                "mentions": ["eve"],
                "reply_to": 2,
                "client_id": "c",
            },
            SENT,
            ["m: user:ben seq 3"],
        ),
        (
            "chat send group:g --from ada --client-id c 1",
            "POST",
            "/v1/groups/g/messages",
            {"from": "ada", "data": 1, "client_id": "c"},
            SENT,
            None,
        ),
        (
            "chat history user:ben --of ada --after 1 --limit 2",
            "GET",
            f"{CHAT}/messages?after=1&limit=2",
            None,
            {
                "messages": [
                    {
                        "conversation": "user:ben",
                        "seq": 2,
                        "from": "ben",
                        "ts": 0,
                        "data": {"a": 1},
                    },
                    {"conversation": "user:ben", "seq": 3, "from": "ada", "recalled": True},
                ]
            },
            [
                "SEQ  TIME                  FROM  MESSAGE",
                '2    1970-01-01T00:00:00Z  ben   {"a":1}',
                "3    -                     ada   (recalled)",
            ],
        ),
        (
            "chat history group:g",
            "GET",
            "/v1/groups/g/messages?limit=50",
            None,
            {"messages": []},
            ["no messages"],
        ),
        (
            "chat read user:ben 7 --of ada",
            "POST",
            f"{CHAT}/positions",
            {"read": 7},
            POSITIONS,
            ["user:ben: read 7 of 9"],
        ),
        (
            "chat conversations ada",
            "GET",
            "/v1/users/ada/conversations?limit=200",
            None,
            {
                "conversations": [
                    {"conversation": "group:g", "group": "g", "unread": 2, **POSITIONS}
                ]
            },
            [
                "CONVERSATION  MESSAGES  UNREAD  LAST  MESSAGE",
                "group:g       9         2       -     -",
            ],
        ),
        (
            "device T",
            "GET",
            "/v1/devices/T",
            None,
            {"token": "T", "user": None, "topics": ["a", "b"], "online": True, "seen": 0},
            [
                "token   T",
                "user    -",
                "topics  a, b",
                "online  yes",
                "seen    1970-01-01T00:00:00Z",
            ],
        ),
        (
            "servers --carrier tls",
            "GET",
            "/v1/servers?carrier=tls",
            None,
            {"servers": ["tls://a:1"], "ttl": 60},
            ["SERVER", "tls://a:1"],
        ),
        (
            "user ada",
            "GET",
            "/v1/users/ada",
            None,
            {"online": False, "devices": [], "silent": []},
            ["ada: offline", "no devices"],
        ),
    ],
)
def test_what_is_asked_is_shown(
    pushctl,
    server: HTTPServer,
    command: str,
    method: str,
    path: str,
    body: Any,
    answer: Any,
    lines: list[str] | None,
):
    server.answer(Answer(200, answer))
    outcome = pushctl("--url", server.url, *command.split())
    assert (outcome.status, outcome.err) == (0, "")
    assert sent(server) == (method, path, body)
    if lines is not None:
        assert outcome.out.splitlines() == lines


@pytest.mark.parametrize(
    ("command", "answer", "says"),
    [
        ("topics", {"topics": [], "cursor": None}, "no topics"),
        ("bans", {"bans": [], "cursor": None}, "no bans"),
        ("connections", {"connections": [], "cursor": None, "silent": []}, "no sessions"),
        ("nodes", {"nodes": []}, "no daemons"),
        ("servers", {"servers": []}, "no servers"),
        ("members list g", {"members": []}, "no members"),
        ("groups list ada", {"conversations": []}, "no groups with messages"),
        ("chat conversations ada", {"conversations": []}, "no conversations"),
        ("chat history group:g", {"messages": []}, "no messages"),
        ("message m --devices", {"devices": []}, "no devices"),
    ],
)
def test_an_empty_list_says_so_and_is_no_object(
    pushctl, server: HTTPServer, command: str, answer: Any, says: str
):
    server.answer(Answer(200, answer), Answer(200, answer))
    assert pushctl("--url", server.url, *command.split()) == (0, f"{says}\n", "")
    assert pushctl("--url", server.url, *command.split(), "--json") == (0, "", "")


def test_users_that_were_not_added_or_removed_are_a_partial_failure(pushctl, server: HTTPServer):
    results = {"ben": "ok", "eve": "group_full"}
    server.answer(Answer(200, {"results": results}))
    outcome = pushctl("--url", server.url, "members", "add", "g", "ben", "eve")
    assert outcome.status == 1
    assert outcome.out.splitlines() == ["USER  RESULT", "ben   ok", "eve   group_full"]
    assert outcome.err == "pushctl: 1 of 2 failed\n"

    server.answer(Answer(204), problem(404, "not_found"))
    outcome = pushctl("--url", server.url, "members", "remove", "g", "ben", "eve", "--json")
    assert outcome.status == 1
    assert json.loads(outcome.out) == {"results": {"ben": "ok", "eve": "not_found"}}
    assert json.loads(outcome.err)["error"]["failed"] == ["eve"]


def test_more_history_than_was_asked_for_is_said(pushctl, server: HTTPServer):
    server.answer(Answer(200, {"messages": [], "more": True}))
    outcome = pushctl("--url", server.url, "chat", "history", "group:g")
    assert outcome.err == "pushctl: there are more: use --after or --before\n"


def test_columns_are_as_wide_as_what_is_in_them_on_a_screen(pushctl, server: HTTPServer):
    rows = [{"user": name, "role": "member"} for name in ("日本", "e\u0301a", "x\x1b")]
    server.answer(Answer(200, {"members": rows}))
    assert pushctl("--url", server.url, "members", "list", "g").out.splitlines() == [
        "USER   ROLE    MUTED",
        "日本   member  no",
        "e\u0301a     member  no",
        "x\\x1b  member  no",
    ]


# --- nodes that did not answer ------------------------------------------------------------------

IN_EFFECT = {"silent": ["gate-2"]}
GROUP_ANSWER = {
    "group": "g",
    "name": "n",
    "type": "normal",
    "owner": "o",
    "members": 1,
    **IN_EFFECT,
}
# Every command whose answer may name nodes, and that answer.
SILENT = {
    "push --to-ip 10.0.0.0/8 x": {"id": "m", **IN_EFFECT},
    "batch batch.json": {"results": [{"status": 202, "id": "m", **IN_EFFECT}]},
    "bind u 03DMV9EK31WTE=": IN_EFFECT,
    "unbind u 03DMV9EK31WTE=": IN_EFFECT,
    "forget 03DMV9EK31WTE= --yes": IN_EFFECT,
    "user u": {"online": False, "devices": [], **IN_EFFECT},
    "erase u --yes": IN_EFFECT,
    "subscribe news 03DMV9EK31WTE=": IN_EFFECT,
    "unsubscribe news 03DMV9EK31WTE=": IN_EFFECT,
    "groups create n --owner o": GROUP | IN_EFFECT,
    "groups change g --name n": GROUP | IN_EFFECT,
    "groups show g": GROUP | IN_EFFECT,
    "groups dismiss g --yes": IN_EFFECT,
    "members add g u": {"results": {"u": "ok"}, **IN_EFFECT},
    "members remove g u": IN_EFFECT,
    "connections": {"connections": [], "cursor": None, **IN_EFFECT},
    "kick --user u": {"kicked": 0, **IN_EFFECT},
    "kick --token 03DMV9EK31WTE=": {"kicked": 0, **IN_EFFECT},
    "kick --session s": {"kicked": 0, **IN_EFFECT},
    "kick --ip 10.0.0.0/8 --yes": {"kicked": 0, **IN_EFFECT},
    "ban --user u": {"user": "u", "until": None, **IN_EFFECT},
    "unban --user u": IN_EFFECT,
    "keys make a --scope push": {
        "name": "a",
        "scopes": ["push"],
        "expires": None,
        "key": "pk_a",
        **IN_EFFECT,
    },
    "keys revoke a --yes": IN_EFFECT,
}


@pytest.mark.parametrize("command", SILENT)
def test_nodes_that_did_not_answer_are_named_and_the_status_is_1(
    pushctl, server: HTTPServer, tmp_path: Path, command: str
):
    (tmp_path / "batch.json").write_text('[{"to": {"ip": "10.0.0.0/8"}, "data": 1}]')
    server.answer(Answer(200, SILENT[command]), Answer(200, SILENT[command]))
    outcome = pushctl("--url", server.url, *command.split())
    assert outcome.status == 1
    assert outcome.err == "pushctl: incomplete: no answer from gate-2\n"
    assert outcome.out  # what was done is told all the same
    outcome = pushctl("--url", server.url, "--json", *command.split())
    error = json.loads(outcome.err)["error"]
    assert (error["code"], error["silent"]) == ("incomplete", ["gate-2"])


def test_every_answer_that_may_name_nodes_is_among_them(
    pushctl, server: HTTPServer, tmp_path: Path
):
    (tmp_path / "batch.json").write_text('[{"to": {"ip": "10.0.0.0/8"}, "data": 1}]')
    for command, answer in SILENT.items():
        server.answer(Answer(200, answer))
        pushctl("--url", server.url, *command.split())
    asked = {(request.method, request.path.partition("?")[0]) for request in server.requests}
    needed = signature(make_api).parameters.keys() - {"limits"}
    chat: Any = SimpleNamespace(groups=None, messages=None, conversations=None)
    api = make_api(**dict.fromkeys(needed), limits=PushLimits())
    for route in (*api.routes, *make_group(chat).routes):
        kinds = [kind for reply in route.replies.values() for kind in (reply.kind, *reply.also)]
        if any("silent" in getattr(kind, "__struct_fields__", ()) for kind in kinds):
            path = re.compile(re.sub(r"{\w+}", "[^/]+", route.path))
            assert any(
                method == route.method and path.fullmatch(given) for method, given in asked
            ), route.name
