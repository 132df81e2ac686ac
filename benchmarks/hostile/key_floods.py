"""Floods of requests that change or read much, with the key of a backend."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Callable

from benchmarks.hostile.attacker import Attacker, flood
from benchmarks.hostile.http_floods import ask, pipelined
from benchmarks.hostile.web_floods import http_request

# What an attacker sends: method, path and body of each request. The path may have its token, and
# its number.
Asked = tuple[str, str, object]

NOBODY = [f"nobody{number}" for number in range(1000)]
SEQUENCES: dict[str, tuple[str, tuple[Asked, ...]]] = {
    "key-kicks": (
        "sessions of its user ended, which all connectors are asked for",
        (("POST", "/v1/users/attacker{number}/kick", None),),
    ),
    "key-network-kicks": (
        "sessions of a network ended",
        (("POST", "/v1/connections/kick", {"ip": "192.0.2.0/24"}),),
    ),
    "key-nodes": (
        "the nodes and the settings",
        (("GET", "/v1/nodes", None), ("GET", "/v1/config", None)),
    ),
    "key-devices": (
        "all that is known of a device",
        (
            ("GET", "/v1/devices/{token}", None),
            ("GET", "/v1/devices/{token}/messages?limit=100", None),
            ("GET", "/v1/devices/{token}/events?limit=100", None),
        ),
    ),
    "key-binds": (
        "a device bound to a user and taken away again",
        (
            ("PUT", "/v1/users/attacker{number}/devices/{token}", None),
            ("DELETE", "/v1/users/attacker{number}/devices/{token}", None),
        ),
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
    "key-erased-users": ("users erased who are not there", (("DELETE", "/v1/users/nobody", None),)),
    "key-conversations": (
        "messages to a user, and the history",
        (
            ("POST", "/v1/users/flood/messages", {"from": "attacker{number}", "data": 1}),
            ("GET", "/v1/users/flood/conversations?limit=100", None),
        ),
    ),
    "key-alternating": (
        "cheap requests, and dear ones between them",
        (
            *[("GET", "/v1/whoami", None)] * 20,
            ("POST", "/v1/push", {"to": {"tokens": NOBODY}, "data": 1}),
        ),
    ),
    "key-pages": (
        "documents, pages of the console and OPTIONS",
        (
            ("GET", "/openapi.json", None),
            ("HEAD", "/docs", None),
            ("GET", "/", None),
            ("GET", "/errors", None),
            ("OPTIONS", "/v1/devices", None),
        ),
    ),
}  # fmt: skip


def request_of(attacker: Attacker, asked: Asked) -> bytes:
    method, path, body = asked
    names = {"number": str(attacker.number), "token": attacker.pair["token"]}
    raw = "" if body is None else json.dumps(body)
    for name, text in names.items():
        path, raw = path.replace(f"{{{name}}}", text), raw.replace(f"{{{name}}}", text)
    return http_request(method, path, attacker.target.api_key, raw.encode())


def sequence(asked: tuple[Asked, ...]) -> Callable[[Attacker], None]:
    def run(attacker: Attacker) -> None:
        pipelined(b"".join([request_of(attacker, each) for each in asked]))(attacker)

    return run


for _name, (_what, _asked) in SEQUENCES.items():
    flood(_name, f"pipelined, with a backend's key: {_what}", "http")(sequence(_asked))


@flood("key-streams", "streams of live events, opened and cut at once", "http")
def key_streams(attacker: Attacker) -> None:
    connection = attacker.dial("http")
    with contextlib.closing(connection):
        ask(attacker, connection, request_of(attacker, ("GET", "/v1/events", None)))


@flood("key-cancels", "pushes to 1,000 devices that are not there, each taken back", "http")
def key_cancels(attacker: Attacker) -> None:
    connection = attacker.dial("http")
    push = ("POST", "/v1/push", {"to": {"tokens": NOBODY}, "data": 1})
    for number in itertools.count():
        cancel = ("DELETE", f"/v1/messages/{number}", None)
        ask(attacker, connection, request_of(attacker, push))
        ask(attacker, connection, request_of(attacker, cancel))


@flood("key-webhook-tests", "tests of a webhook that nobody answers", "http")
def key_webhook_tests(attacker: Attacker) -> None:
    connection = attacker.dial("http")
    body = {"url": "http://127.0.0.1:9/push", "types": ["chat.message"]}
    ask(attacker, connection, request_of(attacker, ("POST", "/v1/webhooks", body)))
    ask(attacker, connection, request_of(attacker, ("GET", "/v1/webhooks?limit=100", None)))
