"""Floods of requests that change much, with the key of a backend."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable

from benchmarks.hostile.attacker import Attacker, flood
from benchmarks.hostile.http_floods import ask, pipelined
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
