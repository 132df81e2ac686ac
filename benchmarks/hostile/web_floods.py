"""Floods of frames of WebSocket and of HTTP requests."""

from __future__ import annotations

import contextlib
import time

from benchmarks.hostile.attacker import Attacker, flood, repeated
from benchmarks.hostile.connections import CONTINUATION, PING, TEXT, ws_frame

UNREAD_BYTES = 4096  # of a receive buffer
BODY_BYTES = 1 << 20


@flood("ws-fragments", "a text message in empty fragments that never ends", "ws")
def ws_fragments(attacker: Attacker) -> None:
    connection = attacker.session("ws")
    connection.send(ws_frame(b'{"signal":"PING"', final=False))
    data = repeated(ws_frame(b"", CONTINUATION, final=False))
    while True:
        connection.send(data)


@flood("ws-small-fragments", "PING messages in fragments of a byte", "ws")
def ws_small_fragments(attacker: Attacker) -> None:
    connection = attacker.session("ws")
    text = b'{"signal":"PING","messageId":5}'
    parts = [ws_frame(text[:1], TEXT, final=False)]
    parts += [ws_frame(text[i : i + 1], CONTINUATION, final=False) for i in range(1, len(text))]
    data = repeated(b"".join([*parts, ws_frame(b"", CONTINUATION)]))
    while True:
        connection.send(data)


@flood("ws-pings", "control frames of WebSocket", "ws")
def ws_pings(attacker: Attacker) -> None:
    connection = attacker.session("ws")
    data = repeated(ws_frame(b"x" * 100, PING))
    while True:
        connection.send(data)


@flood("ws-pings-unread", "control frames of WebSocket whose answers nobody reads", "ws")
def ws_pings_unread(attacker: Attacker) -> None:
    connection = attacker.session("ws", receive_buffer_bytes=4096)
    connection.reads = False
    data = repeated(ws_frame(b"x" * 100, PING))
    while True:
        connection.send(data)


@flood("ws-upgrades", "WebSocket handshakes, cut when they are answered", "ws")
def ws_upgrades(attacker: Attacker) -> None:
    attacker.dial("ws").close(abruptly=True)


# --- HTTP


def http_request(method: str, path: str, key: str = "", body: bytes = b"", size: int = -1) -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n"
    if key:
        head += f"Authorization: Bearer {key}\r\n"
    if method == "POST":
        size = len(body) if size < 0 else size
        head += f"Content-Type: application/json\r\nContent-Length: {size}\r\n"
    return head.encode() + b"\r\n" + body


@flood("pipelining", "pipelined GET requests without a key; answers are read", "http")
def pipelining(attacker: Attacker) -> None:
    connection = attacker.dial("http")
    data = repeated(http_request("GET", "/v1/stats"))
    while True:
        connection.send(data)


@flood("http-unread", "pipelined GET requests whose answers nobody reads", "http")
def http_unread(attacker: Attacker) -> None:
    ask_and_read_nothing(attacker, "http")


def ask_and_read_nothing(attacker: Attacker, carrier: str) -> None:
    connection = attacker.dial(carrier, receive_buffer_bytes=UNREAD_BYTES)
    connection.reads = False
    data = repeated(http_request("GET", "/openapi.json"))
    while True:
        connection.send(data)


@flood("http-connects", "an HTTP request on a connection of its own, with a wrong key", "http")
def http_connects(attacker: Attacker) -> None:
    connection = attacker.dial("http")
    with contextlib.closing(connection):
        connection.send(http_request("GET", "/v1/stats", "x" * 43))
        connection.wait(30)


@flood("http-bodies", "1 MiB bodies of nested JSON, with the key of an app", "http")
def http_bodies(attacker: Attacker) -> None:
    connection = attacker.dial("http")
    body = b'{"a":' * (BODY_BYTES // 6 - 1) + b"1" + b"}" * (BODY_BYTES // 6 - 1)
    data = http_request("POST", "/v1/devices", attacker.target.app_key, body)
    while True:
        before = sum(attacker.answers.values())
        connection.send(data)
        while sum(attacker.answers.values()) == before:
            connection.wait(30)


@flood("http-unfinished", "bodies of 900 KB without their last byte", "http")
def http_unfinished(attacker: Attacker) -> None:
    opened = []
    body = b'{"platform":"' + b"x" * 900_000
    head = http_request("POST", "/v1/devices", "", b"", len(body) + 1)
    for _ in range(8):
        opened.append(attacker.dial("http"))
        opened[-1].send(head + body)
    while True:
        for connection in opened:
            connection.wait(1)


@flood("streams", "server-sent events of one device, cut when they begin", "http")
def streams(attacker: Attacker) -> None:
    attacker.dial("http").send(stream_request(attacker))


@flood("stream-unread", "server-sent events that nobody reads", "http")
def stream_unread(attacker: Attacker) -> None:
    connection = attacker.dial("http", receive_buffer_bytes=4096)
    connection.send(stream_request(attacker))
    while True:
        time.sleep(1)


def stream_request(attacker: Attacker) -> bytes:
    head = "GET /v1/stream HTTP/1.1\r\nHost: localhost\r\n"
    token, secret = attacker.pair["token"], attacker.pair["secret"]
    return f"{head}Push-Token: {token}\r\nPush-Secret: {secret}\r\n\r\n".encode()
