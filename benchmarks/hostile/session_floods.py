"""Floods of sessions: frames of the device protocol after CONNECT."""

from __future__ import annotations

import json
from itertools import count

from benchmarks.hostile.attacker import Attacker, Run, flood, repeated
from push.wire.signals import RequestName, Signal


def on_end(carrier: str, signal: Signal, message_id: int = 0) -> Run:
    """A session that sends the same frame without pause and reads the answers."""

    def run(attacker: Attacker) -> None:
        connection = attacker.session(carrier)
        data = repeated(connection.encoded(signal, b"", message_id))
        while True:
            connection.send(data)

    return run


for _carrier in ("tcp", "tls", "ws"):
    _dash = "" if _carrier == "tcp" else f"-{_carrier}"
    flood(f"ping{_dash}", f"empty PING frames over {_carrier}", _carrier)(
        on_end(_carrier, Signal.PING, 5)
    )
flood("acks", "acknowledgements of numbers that were never sent")(
    on_end("tcp", Signal.PUB_ACK, 777)
)


@flood("publish", "MS to another user, as many unanswered as are allowed")
def publish(attacker: Attacker) -> None:
    connection = attacker.session()
    peer = f"attacker{(attacker.number + 1) % len(attacker.target.pairs)}"
    body = json.dumps({"to": {"user": peer}, "data": "x" * 100}).encode()
    while True:
        connection.ask(RequestName.MS, body)


@flood("publish-unanswered", "TP without a message id, without pause")
def publish_unanswered(attacker: Attacker) -> None:
    connection = attacker.session()
    body = b'{"conversation":"user:attacker0"}'
    data = repeated(connection.encoded(Signal.PUBLISH, body, 0, RequestName.TP))
    while True:
        connection.send(data)


@flood("bad-requests", "PUBLISH with JSON of much depth, which is refused")
def bad_requests(attacker: Attacker) -> None:
    connection = attacker.session()
    body = b'{"a":' * 2000 + b"1" + b"}" * 2000
    while True:
        connection.ask(RequestName.MS, body)


@flood("subscribe", "TS and TU of ever new topics")
def subscribe(attacker: Attacker) -> None:
    connection = attacker.session()
    for number in count():
        body = json.dumps({"topic": f"flood.{attacker.number}.{number % 1000}"}).encode()
        connection.ask(RequestName.TS, body)
        connection.ask(RequestName.TU, body)


@flood("group-bombs", "groups of 500 members, and messages to them")
def group_bombs(attacker: Attacker) -> None:
    connection = attacker.session()
    members = [f"nobody{number}" for number in range(499)]
    body = json.dumps({"name": "bomb", "members": members}).encode()
    while True:
        connection.ask(RequestName.GC, body)


@flood("bytes", "PING frames byte by byte")
def byte_by_byte(attacker: Attacker) -> None:
    connection = attacker.session()
    frame = connection.encoded(Signal.PING, b"", 5)
    while True:
        for place in range(len(frame)):
            connection.send(frame[place : place + 1])


@flood("device-unread", "PING with an answer that nobody reads")
def device_unread(attacker: Attacker) -> None:
    connection = attacker.session(receive_buffer_bytes=4096)
    connection.reads = False
    data = repeated(connection.encoded(Signal.PING, b"", 5))
    while True:
        connection.send(data)


@flood("list-unread", "CL with answers that nobody reads")
def list_unread(attacker: Attacker) -> None:
    connection = attacker.session(receive_buffer_bytes=4096)
    connection.reads = False
    for number in count():
        connection.frame(Signal.PUBLISH, b"{}", 10 + number % 50_000, RequestName.CL)


@flood("padded-requests", "requests of 900 KB while Redis hangs", hangs_redis=True)
def padded_requests(attacker: Attacker) -> None:
    connection = attacker.session()
    body = json.dumps({"conversation": "user:attacker0", "pad": "x" * 900_000}).encode()
    while True:
        connection.ask(RequestName.CL, body)
