"""Floods of requests that change much, with the key of a backend."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable

from benchmarks.hostile.attacker import Attacker, flood
from benchmarks.hostile.crowds import call
from benchmarks.hostile.http_floods import MANY, ask, pipelined
from benchmarks.hostile.web_floods import http_request

# What an attacker sends: method, path and body. `{number}` and `{token}` in it are its own.
Asked = tuple[str, str, object]

WIDE: Asked = (
    "POST",
    "/v1/push",
    {"to": {"tokens": [f"nobody{number}" for number in range(1000)]}, "data": 1},
)
SEQUENCES: dict[str, tuple[str, tuple[Asked, ...]]] = {
    "key-kicks": (
        "sessions of a user ended, which every connector is asked to do",
        (("POST", "/v1/users/attacker{number}/kick", None),),
    ),
    "key-subscriptions": (
        "a device subscribed to a topic and taken away again",
        (
            ("PUT", "/v1/topics/attacker{number}/devices/{token}", None),
            ("DELETE", "/v1/topics/attacker{number}/devices/{token}", None),
        ),
    ),
    "key-keys": (
        "keys made and revoked",
        (
            ("POST", "/v1/keys", {"name": "flood{number}", "scopes": ["read"]}),
            ("DELETE", "/v1/keys/flood{number}", None),
        ),
    ),
    "key-conversations": (
        "messages to a user, and the list of conversations",
        (
            ("POST", "/v1/users/flood/messages", {"from": "attacker{number}", "data": 1}),
            ("GET", "/v1/users/flood/conversations?limit=100", None),
        ),
    ),
    "key-alternating": (
        "cheap requests, and a push to 1,000 tokens after twenty of them",
        (*[("GET", "/v1/whoami", None)] * 20, WIDE),
    ),
}


def request_of(attacker: Attacker, asked: Asked) -> bytes:
    method, path, body = asked
    raw = "" if body is None else json.dumps(body)
    for name, text in (("{number}", str(attacker.number)), ("{token}", attacker.pair["token"])):
        path, raw = path.replace(name, text), raw.replace(name, text)
    return http_request(method, path, attacker.target.api_key, raw.encode())


def sequence(asked: tuple[Asked, ...]) -> Callable[[Attacker], None]:
    def run(attacker: Attacker) -> None:
        pipelined(b"".join([request_of(attacker, each) for each in asked]))(attacker)

    return run


for _name, (_what, _asked) in SEQUENCES.items():
    flood(_name, f"pipelined, with a backend's key: {_what}", "http")(sequence(_asked))


@flood("key-cancels", "pushes to 1,000 tokens, and messages taken back", "http")
def key_cancels(attacker: Attacker) -> None:
    connection = attacker.dial("http")
    for number in itertools.count():
        ask(attacker, connection, request_of(attacker, WIDE))
        ask(attacker, connection, request_of(attacker, ("DELETE", f"/v1/messages/{number}", None)))


def over_many(attacker: Attacker, asked: Asked) -> None:
    """The same request over many connections, each on end."""
    data = request_of(attacker, asked)
    connections = [attacker.dial("http") for _ in range(MANY // 2)]
    while True:
        for connection in connections:
            connection.send(data)
        for connection in connections:
            connection.wait(0)


@flood("key-lines", "what became of a push to 1,000 tokens, over thirty connections", "http")
def key_lines(attacker: Attacker) -> None:
    made = call(attacker, "POST", "/v1/push", WIDE[2])
    assert isinstance(made, dict)
    over_many(attacker, ("GET", f"/v1/messages/{made['id']}/devices?limit=200", None))


@flood("key-histories", "200 messages of a conversation, over thirty connections", "http")
def key_histories(attacker: Attacker) -> None:
    for _ in range(200):
        message = {"from": f"attacker{attacker.number}", "data": "x" * 200}
        call(attacker, "POST", f"/v1/users/reader{attacker.number}/messages", message)
    path = f"/v1/users/reader{attacker.number}/conversations"
    over_many(attacker, ("GET", f"{path}/user:attacker{attacker.number}/messages?limit=200", None))


@flood(
    "key-audit-pages", "pages of the audit trail of another key, over thirty connections", "http"
)
def key_audit_pages(attacker: Attacker) -> None:
    for number in range(200):
        user = f"u{attacker.number}.{number}"
        call(attacker, "PUT", f"/v1/users/{user}/devices/{attacker.pair['token']}")
    over_many(attacker, ("GET", "/v1/audit?key=nobody&limit=200", None))
