"""`pushctl push` and `batch`: slips of the pen, questions, and files of pushes."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import click
import pytest
from http_server import Answer, HTTPServer, problem

from push.pushctl.commands.push import push
from push.wire.api.push_targets import PUSH_TARGETS
from tests import warm
from tests.waiting import DEADLINE_SECONDS

ACCEPTED = {"status": 202, "id": "m", "streams": 1, "online": 0}
REFUSED = {"status": 404, "code": "unknown_token", "detail": "no device", "field": "to.token"}


def test_its_targets_are_those_of_the_table() -> None:
    options = [each for each in push.params if isinstance(each, click.Option)]
    targets = {each.name: each.multiple for each in options if str(each.name).startswith("to_")}
    several = {target.singular for target in PUSH_TARGETS if target.several}
    assert targets == {
        f"to_{target.name}": target.name in several for target in PUSH_TARGETS if not target.several
    }


@pytest.mark.parametrize(
    "data", ['{"a":', "[1,", '"half', ' \n{"a" 1}', "{a: 1}", "[NaN]", '\ufeff{"a', "{}}", '["a"']
)
@pytest.mark.parametrize("way", ["argument", "file"])
def test_text_that_begins_like_json_and_is_not_is_refused(
    pushctl, server: HTTPServer, data: str, way: str
):
    Path("data").write_text(data)
    given = data if way == "argument" else "@data"
    outcome = pushctl("--url", server.url, "push", "--all", "--yes", given)
    assert (outcome.status, outcome.out) == (2, "")
    assert "--text" in outcome.err
    assert server.requests == []
    server.answer(Answer(202, {"id": "m"}))
    assert pushctl("--url", server.url, "push", "--to-user", "u", "--text", given).status == 0
    assert server.requests[0].body["data"] == data


@pytest.mark.parametrize(("data", "sent"), [("it's {", "it's {"), ("-", "-"), ("tru", "tru")])
def test_other_text_is_text(pushctl, server: HTTPServer, data: str, sent: Any):
    Path("data").write_text(data)
    server.answer(Answer(202, {"id": "m"}))
    assert pushctl("--url", server.url, "push", "--to-user", "u", "@data").status == 0
    assert server.requests[0].body["data"] == sent


DANGEROUS = [
    ["push", "--all", "x"],
    ["batch", "everyone.json"],
    ["forget", "T"],
    ["erase", "ada"],
    ["groups", "dismiss", "g"],
    ["kick", "--ip", "10.0.0.0/8"],
    ["ban", "--ip", "10.0.0.0/8"],
]


@pytest.fixture
def everyone() -> None:
    Path("everyone.json").write_text('[{"to": {"user": "u"}, "data": 1}, {"to": {"all": true}}]')


@pytest.mark.parametrize("arguments", DANGEROUS)
def test_without_a_terminal_it_needs_yes(
    pushctl, server: HTTPServer, everyone: None, arguments: list[str]
):
    outcome = pushctl("--url", server.url, *arguments)
    assert (outcome.status, outcome.out) == (2, "")
    assert "--yes" in outcome.err
    assert server.requests == []
    body = {"id": "m", "results": [ACCEPTED, ACCEPTED], "kicked": 0, "ip": "10.0.0.0/8"}
    server.answer(Answer(200, body))
    assert pushctl("--url", server.url, *arguments, "--yes").status == 0
    assert len(server.requests) == 1


def at_a_terminal(answer: str, *arguments: str) -> tuple[int, str, str]:
    """The command with a terminal as its standard input, at which `answer` is typed."""
    ours, theirs = os.openpty()
    os.write(ours, answer.encode())
    try:
        ended = subprocess.run(
            [warm.commands() / "pushctl", *arguments],
            stdin=theirs,
            capture_output=True,
            text=True,
            timeout=DEADLINE_SECONDS,
        )
    finally:
        os.close(ours)
        os.close(theirs)
    return ended.returncode, ended.stdout, ended.stderr


@pytest.mark.parametrize("arguments", DANGEROUS)
def test_at_a_terminal_it_asks(server: HTTPServer, everyone: None, arguments: list[str]):
    to_all = arguments[0] in ("push", "batch")
    stats = [Answer(200, {"sessions": 17})] if to_all else []
    server.answer(*stats)
    status, out, err = at_a_terminal("n\n", "--url", server.url, *arguments)
    assert (status, out) == (1, "")
    assert "Go on? [y/N]" in err
    assert err.endswith("pushctl: nothing was done\n")
    assert ("17 devices" in err) is to_all
    assert len(server.requests) == len(stats), "nothing but a question for how many there are"
    body = {"id": "m", "results": [ACCEPTED, ACCEPTED], "kicked": 0, "ip": "10.0.0.0/8"}
    server.answer(*stats, Answer(200, body))
    status, out, err = at_a_terminal("y\n", "--url", server.url, *arguments)
    assert status == 0, err


def test_a_key_that_may_not_read_is_asked_without_a_number(server: HTTPServer):
    server.answer(problem(403, "forbidden"), Answer(202, {"id": "m"}))
    status, _, err = at_a_terminal("y\n", "--url", server.url, "push", "--all", "x")
    assert status == 0
    assert "every registered device." in err


# --- batch -------------------------------------------------------------------------------------


def items(count: int) -> list[dict[str, Any]]:
    return [{"to": {"token": f"T{number}"}, "data": number} for number in range(count)]


@pytest.mark.parametrize("form", ["array", "lines"])
def test_a_file_of_pushes_is_pushed_whole_and_failures_are_named(
    pushctl, server: HTTPServer, form: str
):
    pushes = items(3)
    lines = "\n".join(map(json.dumps, pushes)) + "\n\n"
    Path("f").write_text(json.dumps(pushes, indent=1) if form == "array" else lines)
    answer = Answer(200, {"results": [ACCEPTED, REFUSED, ACCEPTED]})
    server.answer(answer, answer)
    outcome = pushctl("--url", server.url, "batch", "f")
    assert outcome.status == 1
    assert outcome.out == "item 2: no device (unknown_token)\n2 of 3 pushed\n"
    assert outcome.err == "pushctl: 1 of 3 failed\n"
    sent = [
        {name: value for name, value in item.items() if name != "idempotency_key"}
        for item in server.requests[0].body
    ]
    assert sent == pushes
    outcome = pushctl("--url", server.url, "batch", "f", "--json")
    told = [json.loads(line) for line in outcome.out.splitlines()]
    assert [(each["item"], each["status"]) for each in told] == [(1, 202), (2, 404), (3, 202)]
    assert json.loads(outcome.err) == {
        "error": {"code": "partial", "detail": "1 of 3 failed", "failed": 1, "of": 3}
    }


def test_many_are_pushed_a_thousand_at_a_time_and_it_says_how_far_it_is(
    pushctl, server: HTTPServer
):
    Path("f").write_text("\n".join(map(json.dumps, items(2500))))
    server.answer(*[Answer(200, {"results": [ACCEPTED] * count}) for count in (1000, 1000, 500)])
    outcome = pushctl("--url", server.url, "batch", "f", "--idempotency-key", "news")
    assert (outcome.status, outcome.out) == (0, "2500 of 2500 pushed\n")
    assert outcome.err.splitlines() == [
        "pushctl: 1000 of 2500, 0 failed",
        "pushctl: 2000 of 2500, 0 failed",
    ]
    keys = [item["idempotency_key"] for request in server.requests for item in request.body]
    assert keys == [f"news-{number}" for number in range(1, 2501)]


def test_what_was_pushed_before_an_end_is_told(pushctl, server: HTTPServer):
    Path("f").write_text("\n".join(map(json.dumps, items(1001))))
    server.answer(Answer(200, {"results": [ACCEPTED] * 1000}), problem(403, "forbidden"))
    outcome = pushctl("--url", server.url, "batch", "f")
    assert outcome.status == 1
    assert "pushctl: 1000 of 1001 were pushed before\n" in outcome.err
    assert "forbidden" in outcome.err


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"to": {"all": true}, "data": 1}\n{"to":', "line 2"),
        ('[{"to": {"all": true}}, 1]', "item 2"),
        ("1", "line 1"),
        ('[{"to"', "f: "),
        ("[]", "no pushes"),
        ("", "no pushes"),
        ("\n \n", "no pushes"),
        ("\xff", "line 1"),
        ("[" * 100_000, "f: "),
    ],
)
def test_a_file_that_is_not_pushes_pushes_nothing(
    pushctl, server: HTTPServer, text: str, says: str
):
    Path("f").write_bytes(text.encode("latin-1"))
    outcome = pushctl("--url", server.url, "batch", "f", "--yes")
    assert (outcome.status, outcome.out) == (2, "")
    assert says in outcome.err
    assert outcome.err.count("\n") == 1
    assert server.requests == []


def with_input(
    server: HTTPServer, raw: bytes, *arguments: str
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [warm.commands() / "pushctl", "--url", server.url, *arguments],
        input=raw,
        capture_output=True,
        check=False,
        timeout=DEADLINE_SECONDS,
    )


@pytest.mark.parametrize("data", [[], ["-"], ["--text", "-"]])
def test_an_empty_standard_input_is_not_pushed(server: HTTPServer, data: list[str]) -> None:
    outcome = with_input(server, b"", "push", "--to-user", "u", *data)
    assert (outcome.returncode, outcome.stdout) == (2, b"")
    assert b"standard input is empty" in outcome.stderr
    assert server.requests == []


def test_what_is_given_may_be_empty(pushctl, server: HTTPServer) -> None:
    Path("empty").write_text("")
    for data in ("", "@empty"):
        server.answer(Answer(202, {"id": "m"}))
        assert pushctl("--url", server.url, "push", "--to-user", "u", data).status == 0
        assert server.requests[-1].body["data"] == ""


def test_negative_numbers_are_data_after_two_dashes(pushctl, server: HTTPServer) -> None:
    server.answer(Answer(202, {"id": "m"}))
    assert pushctl("--url", server.url, "push", "--to-user", "u", "--", "-5").status == 0
    assert server.requests[-1].body["data"] == -5


@pytest.mark.parametrize(
    ("value", "says"),
    [("1" * 30, "more than 64 bits"), ("1e999", "out of range"), ("[" * 5000, "too deep")],
)
def test_a_value_that_cannot_be_sent_is_named_by_its_line(
    pushctl, server: HTTPServer, value: str, says: str
) -> None:
    good = '{"to": {"user": "u"}, "data": 1}'
    Path("file").write_text(f"{good}\n{good.replace('1}', value + '}')}\n")
    outcome = pushctl("--url", server.url, "batch", "file")
    assert (outcome.status, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    assert "file line 2: " in outcome.err
    assert says in outcome.err
    assert server.requests == []
