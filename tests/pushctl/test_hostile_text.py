"""What servers and devices say reaches the terminal through one function, by every command."""

from __future__ import annotations

import ast
import json
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from device_server import DeviceServer, run
from http_server import Answer, HTTPServer, problem

from push.pushctl.commands.operate.top import NAMES
from push.pushctl.main import cli
from push.wire.signals import Signal
from tests.pushctl.conftest import Outcome, finished, started

ROOT = Path(__file__).parents[2]
NASTY = [
    "\x1b[2J\x1b]0;owned\x07",
    "a\r\nb\tc\x00d\x7f",
    "\x85\x9b31m\x90",
    "\u202egnp.exe\u2066\u200b\u2028\u2029\ufeff\xad",
    "\u3164\U000e0041",
]
# What is done to a text is done to each of its characters, so an answer shows all at once.
ALL_NASTY = "".join(NASTY)
CHAT = {"id": "m", "seq": 1, "ts": 1, "type": "text"}


def everywhere(text: str) -> dict[str, tuple[list[str], Any]]:
    """For each command that prints an answer, its arguments and an answer full of `text`."""
    group = dict.fromkeys(("group", "name", "type", "owner", "announcement", "invite"), text)
    group |= {"members": 1, "mute_all": False, "ts": 1, "extra": {text: text}}
    message = CHAT | {"conversation": text, "from": text, "data": {"text": text}}
    session = dict.fromkeys(("session", "node", "ip", "carrier", "token", "user"), text)
    device = {"token": text, "platform": text, "app": text, "device": text, "user": text}
    device |= {"topics": [text], "session": text, "node": text, "online": True, "seen": 1}
    ledger = {"id": "m", "ts": 1, "to": {text: text, "tokens": [text]}, "dropped": {text: 1}}
    entry = {"service": text, "instance": text, "addresses": {text: text}, "sessions": 1}
    entry |= {"draining": False, "version": text, "started": 1}
    hook = {"id": text, "url": text, "types": [], "enabled": True, "description": text}
    hook |= {"source": "made", "created": 1, "state": "disabled", "disabled_reason": text}
    sending = {"id": text, "event": text, "type": text, "ts": 1}
    audited = {"ts": 1, "key": text, "ip": text, "route": text, "target": text, "status": 1}
    figure = {"name": "pushes", "step": 10, "start": 1}
    setting = {"value": {text: [text]}, "source": text}
    positions = {"seq": 1, "delivered": 1, "read": 1}
    conversation = {"conversation": text, "group": text, "unread": 0, "last": message, **positions}
    sent = {"id": text, "conversation": text, "seq": 1, "ts": 1}
    result = {"status": 422, "code": text, "detail": text, "field": text}
    return {
        "register": ([], {"token": text, "secret": text, "servers": [text]}),
        "push": (["--to-token", "t", "x"], {"id": text, "unknown": [text], "silent": [text]}),
        "batch": (["batch.json"], {"results": [result]}),
        "message": (["m"], ledger),
        "message --devices": (["m"], {"devices": [{"token": text, "state": text, "reason": text}]}),
        "cancel": (["m"], {"cancelled": 1, text: text}),
        "device": (["t"], device),
        "user": (["u"], {"online": True, "devices": [device], "silent": [text], text: text}),
        "topics": ([], {"topics": [{"topic": text, "devices": 1}]}),
        "connections": ([], {"connections": [session | {"connected": 1}], "silent": [text]}),
        "kick": (["--user", "u"], {"kicked": 1, "silent": [text]}),
        "bans": ([], {"bans": [{"user": text}]}),
        "ban": (["--user", "u"], {"user": text}),
        "keys list": ([], {"keys": [{"name": text, "scopes": [text], "source": text}]}),
        "keys make": (["a", "--scope", "push"], {"name": text, "scopes": [text], "key": text}),
        "webhooks add": (["https://x", "--type", "chat.message"], {**hook, "secret": text}),
        "webhooks list": ([], {"webhooks": [hook]}),
        "webhooks show": (["w"], hook),
        "webhooks change": (["w", "--enable"], {**hook, "secret": text}),
        "webhooks attempts": (["w"], {"attempts": [{**sending, "error": text}]}),
        "webhooks replay": (["w"], {"events": 1}),
        "webhooks test": (["w"], {"event": text}),
        "audit": ([], {"audit": [audited], "cursor": None}),
        "series": (["pushes"], {"values": [None, 1], "silent": [text], **figure}),
        "config": ([], {"node": text, "settings": {text: {text: setting}}}),
        "servers": ([], {"servers": [text]}),
        "nodes": ([], {"nodes": [entry]}),
        "stats": ([], {text: {text: text}, "a": [text, {text: text}]}),
        "groups create": (["n", "--owner", "u"], group),
        "groups list": (["u"], {"conversations": [conversation]}),
        "groups show": (["g"], group),
        "groups change": (["g", "--name", "n"], group),
        "members list": (["g"], {"members": [{"user": text, "role": text}]}),
        "members add": (["g", "u"], {"results": {text: text}}),
        "chat send": (["user:u", "--from", "v", "x"], sent),
        "chat history": (["user:u", "--of", "v"], {"messages": [message], "more": True}),
        "chat conversations": (["u"], {"conversations": [conversation]}),
        "chat read": (["user:u", "1", "--of", "v"], positions),
    }


# What prints nothing of an answer, but may print an error.
WITHOUT_ANSWER = {
    "bind": ["u", "t"],
    "unbind": ["u", "t"],
    "forget": ["t", "--yes"],
    "erase": ["u", "--yes"],
    "subscribe": ["a", "t"],
    "unsubscribe": ["a", "t"],
    "unban": ["--user", "u"],
    "keys revoke": ["a", "--yes"],
    "webhooks remove": ["w", "--yes"],
    "drain": ["n"],
    "groups dismiss": ["g", "--yes"],
    "members remove": ["g", "u"],
    "members role": ["g", "u", "admin"],
    "members mute": ["g", "u"],
    "chat recall": ["user:u", "1", "--of", "v"],
}


# What asks more than once: see below.
SEVERAL = ("top", "events", "trace", "bench")


def check(outcome: Outcome) -> None:
    """Only lines, and nothing invisible in them."""
    for text in (outcome.out, outcome.err):
        hidden = {
            each for each in text if unicodedata.category(each) in ("Cc", "Cf", "Zl", "Zp", "Cs")
        }
        assert hidden <= {"\n"}, ascii(text)
        assert "\u3164" not in text
    assert "Traceback" not in outcome.err


def check_json(outcome: Outcome, text: str) -> None:
    """Each line is an object, and what was sent is in one of them as it was."""
    check(outcome)
    lines = (outcome.out + outcome.err).splitlines()
    found = [json.loads(line) for line in lines]
    assert all(isinstance(each, dict) for each in found)
    assert text in [*strings(found)]


def strings(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [each for pair in value.items() for part in pair for each in strings(part)]
    if isinstance(value, list):
        return [each for item in value for each in strings(item)]
    return [value] if isinstance(value, str) else []


@pytest.mark.parametrize("command", everywhere(""))
def test_answers_are_shown_harmless(pushctl, server: HTTPServer, command: str):
    text = ALL_NASTY
    Path("batch.json").write_text('[{"to": {"user": "u"}, "data": 1}]')
    arguments, answer = everywhere(text)[command]
    server.answer(Answer(200, answer), Answer(200, answer))
    call = [*command.split(), *arguments, "--url", server.url]
    outcome = pushctl(*call)
    check(outcome)
    assert outcome.out
    outcome = pushctl(*call, "--json")
    if command not in ("cancel", "chat read", "webhooks replay"):  # numbers only
        check_json(outcome, text)


@pytest.mark.parametrize("command", [*everywhere(""), *WITHOUT_ANSWER])
def test_errors_are_shown_harmless(pushctl, server: HTTPServer, command: str):
    text = ALL_NASTY
    Path("batch.json").write_text('[{"to": {"user": "u"}, "data": 1}]')
    arguments = WITHOUT_ANSWER.get(command) or everywhere(text)[command][0]
    answer = problem(422, text, detail=text, field=text)
    server.answer(answer, answer, Answer(200, text.encode()), Answer(200, text.encode()))
    call = [*command.split(), *arguments, "--url", server.url]
    outcome = pushctl(*call)
    assert (outcome.status, outcome.out, outcome.err.count("\n")) == (1, "", 1)
    check(outcome)
    outcome = pushctl(*call, "--json")
    assert (outcome.status, outcome.out, outcome.err.count("\n")) == (1, "", 1)
    check_json(outcome, text)
    check(pushctl(*call))  # what is no answer of the API at all


def test_every_command_is_in_these_tests() -> None:
    told = {name.removesuffix(" --devices") for name in everywhere("")} | set(WITHOUT_ANSWER)
    commands = set()
    for name, command in cli.commands.items():
        inner = getattr(command, "commands", None)
        commands |= {f"{name} {each}" for each in inner} if inner else {name}
    # `listen` and what asks more than once are below, `reshard` talks to the operator's own
    # Redis, and `context` to nobody.
    local = {name for name in commands if name.startswith("context ")}
    assert told == commands - {"listen", "reshard", "completion", *SEVERAL} - local


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_listen_shows_messages_and_ends_harmless(options: list[str]) -> None:
    async def test() -> None:
        async with DeviceServer() as server:
            device = ["--token", "T", "--secret", "S", "--server", server.url]
            for text in NASTY:
                process = await started("listen", *device, *options)
                peer = await server.accept()
                await peer.welcome(truncated=[text])
                members = dict.fromkeys(("stream", "title", "body", "data"), text)
                peer.push(1, text, kind="chat", **members, **{text: text})
                peer.push(2, "m2", data={text: [text]})
                peer.send(
                    Signal.PUSH, {"kind": "truncated", "stream": text, "from": text, "to": text}
                )
                assert await peer.take_acks(2) == [1, 2]
                peer.send(Signal.DISCONNECT, {"code": "kicked", "reason": text})
                await peer.close()
                outcome = await finished(process)
                assert outcome.status == 1
                check(outcome)
                if options:
                    check_json(outcome, text)
                else:
                    assert outcome.out.count("\n") == 2

    run(test())


def test_one_module_writes() -> None:
    """No other one prints; what it prints goes through `visible`."""
    ways = ("print", "click.echo", "click.secho", "sys.stdout.write", "sys.stderr.write")
    found = {
        path.name
        for path in (ROOT / "push" / "pushctl").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ways
    }
    assert found == {"output.py"}


# --- What asks more than once --------------------------------------------------------------------


def stream(*events: tuple[str, dict[str, Any]]) -> Answer:
    """An answer that is a stream of events."""
    text = "".join(f"event: {kind}\ndata: {json.dumps(data)}\n\n" for kind, data in events)
    return Answer(200, text.encode(), {"Content-Type": "text/event-stream"})


@pytest.mark.parametrize("text", NASTY, ids=ascii)
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_events_are_shown_harmless(
    pushctl: Any, server: HTTPServer, options: list[str], text: str
) -> None:
    names = ("node", "token", "user", "session", "ip", "message", "code", "reason")
    data = {"ts": 1, "n": 1, **dict.fromkeys(names, text)}
    kind = text.replace("\r", "").replace("\n", "")
    server.answer(Answer(200, {"nodes": []}), stream((kind, data)))
    outcome = pushctl("--url", server.url, "events", "--count", "1", *options)
    assert outcome.status == 0
    check(outcome)


@pytest.mark.parametrize("text", NASTY, ids=ascii)
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_top_shows_nodes_harmless(
    pushctl: Any, server: HTTPServer, options: list[str], text: str
) -> None:
    figure = {"name": "pushes", "step": 1, "start": 1, "values": [1], "silent": [text]}
    node = {"service": text, "instance": text, "sessions": text, "started": text}
    server.answer(*[Answer(200, figure)] * len(NAMES), Answer(200, {"nodes": [node]}))
    outcome = pushctl("--url", server.url, "top", "--count", "1", *options)
    assert outcome.status == 0, outcome
    check(outcome)
    assert outcome.out


@pytest.mark.parametrize("text", NASTY, ids=ascii)
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_trace_tells_a_story_harmless(
    pushctl: Any, server: HTTPServer, options: list[str], text: str
) -> None:
    names = ("token", "platform", "app", "device", "user", "session", "node")
    device = {**dict.fromkeys(names, text), "topics": [text], "backlog": 1}
    device |= {"created": 1, "seen": 1, "online": False}
    event = {"ts": 1, "event": "connected", "node": text, "session": text, "reason": text}
    waiting = {"id": "w", "stream": text, "ts": 1, "expires": 1, "data": {text: text}}
    ban = {"user": text, "until": None}
    ledger = {"id": "m", "ts": 1, "to": {"user": text}, "dropped": {text: 1}, "addressed": 1}
    line = {"token": text, "state": "dropped", "reason": text}
    gone, lines = problem(404, "unknown_message"), Answer(200, {"devices": [line]})
    facts = [
        Answer(200, device),
        lines,
        Answer(200, {"messages": [waiting], "cursor": None}),
        Answer(200, {"bans": [ban]}),
    ]
    server.answer(
        gone,
        Answer(200, device),
        Answer(200, {"events": [event], "cursor": None, "silent": [text]}),
        Answer(200, {"messages": [waiting], "cursor": text}),
        Answer(200, {"bans": [ban]}),
        Answer(200, ledger),
        *facts,
    )
    outcome = pushctl("--url", server.url, "trace", "t", *options)
    assert outcome.status == 1  # a node is silent
    check(outcome)
    assert outcome.out
    server.answer(Answer(200, ledger), *facts)
    outcome = pushctl("--url", server.url, "trace", "m", "--device", "t", *options)
    assert outcome.status == 0
    check(outcome)


@pytest.mark.parametrize("text", NASTY, ids=ascii)
def test_bench_shows_refusals_harmless(pushctl: Any, server: HTTPServer, text: str) -> None:
    server.answer(problem(403, "forbidden", detail=text))
    outcome = pushctl(
        "--url", server.url, "--server", "tcp://127.0.0.1:1", "bench", "--devices", "1"
    )
    assert outcome.status == 1
    check(outcome)
