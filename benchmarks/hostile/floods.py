"""What hostile clients do. Each flood is what one attacker does on end until it is stopped.

A flood returns, or raises `Gone`, when its connection is over; it is then begun again.
"""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import count
from typing import NamedTuple

from OpenSSL import SSL

from benchmarks.hostile.connections import (
    CONTINUATION,
    PING,
    TEXT,
    UPGRADE,
    Connection,
    Gone,
    Target,
    insecure_context,
    ws_frame,
)
from push.wire.frames import encode_frame
from push.wire.signals import RequestName, Signal

AT_ONCE_BYTES = 60_000
HELD = 60  # connections that an attacker keeps open and does not use
SLOW_SECONDS = 0.5  # between two bytes on each of them
PAD_BYTES = 60_000
LATE_BYTES = 1 << 20


class Attacker:
    """One of them. `number` chooses its device; `answers` is what the server said to it; `begun`
    is called when it first dials."""

    def __init__(self, target: Target, number: int, begun: Callable[[], None]) -> None:
        self.target = target
        self.number = number
        self.pair = target.pairs[number % len(target.pairs)]
        self.answers: Counter[str] = Counter()
        self.connections = 0
        self._begun = begun
        self._open: list[Connection] = []

    def count_connection(self) -> None:
        if not self.connections:
            self._begun()
        self.connections += 1

    def dial(self, carrier: str, **options: object) -> Connection:
        self.count_connection()
        port = self.target.port(carrier)
        connection = Connection(port, carrier, self.answers, **options)  # type: ignore[arg-type]
        self._open.append(connection)
        return connection

    def session(self, carrier: str = "tcp", **options: object) -> Connection:
        connection = self.dial(carrier, **options)
        connection.connect(self.pair)
        return connection

    def close_all(self) -> None:
        for connection in self._open:
            connection.close(abruptly=True)
        self._open.clear()


Run = Callable[[Attacker], None]


class Flood(NamedTuple):
    """`carrier`: what must be served for it. `hangs_redis`: Redis is stopped meanwhile."""

    run: Run
    what: str
    carrier: str = "tcp"
    hangs_redis: bool = False


FLOODS: dict[str, Flood] = {}


def flood(
    name: str, what: str, carrier: str = "tcp", *, hangs_redis: bool = False
) -> Callable[[Run], Run]:
    def keep(run: Run) -> Run:
        FLOODS[name] = Flood(run, what, carrier, hangs_redis)
        return run

    return keep


def repeated(piece: bytes, size: int = AT_ONCE_BYTES) -> bytes:
    return piece * max(1, size // len(piece))


# --- Frames of a session


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


# --- Connections


@flood("connects", "sessions that are opened and cut, again and again, with one token")
def connects(attacker: Attacker) -> None:
    connection = attacker.session()
    connection.close(abruptly=True)


@flood("dials", "connections that are opened and cut without a byte")
def dials(attacker: Attacker) -> None:
    connection = attacker.dial("tcp")
    connection.close(abruptly=True)


@flood("silent", "connections that are opened, kept and never used")
def silent(attacker: Attacker) -> None:
    hold(attacker, "tcp", b"")


@flood("wrong-secrets", "CONNECT with a wrong secret")
def wrong_secrets(attacker: Attacker) -> None:
    connection = attacker.dial("tcp")
    try:
        connection.connect({**attacker.pair, "secret": "A" * len(attacker.pair["secret"])})
    finally:
        connection.close()


@flood("registrations", "SUB with a wrong key")
def registrations(attacker: Attacker) -> None:
    connection = attacker.dial("tcp")
    with contextlib.closing(connection):
        body = json.dumps({"key": "x" * 40, "platform": "x", "app": "x"}).encode()
        for _ in range(3):
            connection.frame(Signal.SUB, body, 1)
            connection.answer()


@flood("garbage", "bytes that are no frame")
def garbage(attacker: Attacker) -> None:
    connection = attacker.dial("tcp")
    with contextlib.closing(connection):
        connection.send(b"\x00\xff" * 2000)
        connection.wait(5)


@flood("tls-half-open", "TLS that stops in the middle of its first message", "tls")
def tls_half_open(attacker: Attacker) -> None:
    hold(attacker, "tls", client_hello()[:100])


@flood("tls-handshakes", "whole TLS handshakes without resumption", "tls")
def tls_handshakes(attacker: Attacker) -> None:
    attacker.dial("tls").close(abruptly=True)


@flood("tls-renegotiation", "a TLS 1.2 client that renegotiates on end", "tls")
def tls_renegotiation(attacker: Attacker) -> None:
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_max_proto_version(SSL.TLS1_2_VERSION)
    attacker.count_connection()
    with contextlib.closing(socket.create_connection(("127.0.0.1", attacker.target.tls))) as raw:
        raw.settimeout(None)  # pyOpenSSL wants a blocking socket
        connection = SSL.Connection(context, raw)
        connection.set_connect_state()
        try:
            connection.do_handshake()
            while True:
                connection.renegotiate()
                connection.do_handshake()
                attacker.answers["renegotiated"] += 1
        except SSL.Error as error:
            raise Gone(f"renegotiation: {error.args[0] if error.args else error!r}") from None


# --- Slow ones


def hold(attacker: Attacker, carrier: str, first: bytes, slowly: bytes = b"") -> None:
    """Keep `HELD` connections open that send `first` at once and the rest byte by byte. One that
    the server ends is opened anew."""
    opened: dict[int, socket.socket] = {}
    sent: dict[int, int] = {}
    try:
        while True:
            for number in range(HELD):
                with _noted(attacker, opened, number):
                    if number not in opened:
                        opened[number] = _dial_plainly(attacker, carrier, first)
                        sent[number] = 0
                    elif sent[number] < len(slowly):
                        opened[number].send(slowly[sent[number] : sent[number] + 1])
                        sent[number] += 1
                    if answer := _look(opened[number]):
                        attacker.answers[_first_words(answer)] += 1
            time.sleep(SLOW_SECONDS)
    finally:
        for one in opened.values():
            one.close()


@contextlib.contextmanager
def _noted(attacker: Attacker, opened: dict[int, socket.socket], number: int) -> Iterator[None]:
    try:
        yield
    except (OSError, EOFError) as error:
        attacker.answers[f"held connection: {type(error).__name__}"] += 1
        if number in opened:
            opened.pop(number).close()


def _dial_plainly(attacker: Attacker, carrier: str, first: bytes) -> socket.socket:
    attacker.count_connection()
    made = socket.create_connection(("127.0.0.1", attacker.target.port(carrier)), 5)
    made.sendall(first)
    made.setblocking(False)
    return made


def _look(one: socket.socket) -> bytes:
    """What the server said, perhaps nothing. Raises EOFError at the end."""
    try:
        data = one.recv(4096)
    except BlockingIOError:
        return b""
    if not data:
        raise EOFError
    return data


def _first_words(answer: bytes) -> str:
    if answer.startswith(b"HTTP/1.1 "):
        return f"HTTP {answer[9:12].decode('latin-1')}"
    if b'"code":"' in answer:
        return answer.partition(b'"code":"')[2].partition(b'"')[0].decode("latin-1")
    return f"{answer[:1].hex()}…"


def client_hello() -> bytes:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    wrapped = insecure_context().wrap_bio(incoming, outgoing)
    with contextlib.suppress(ssl.SSLWantReadError):
        wrapped.do_handshake()
    return outgoing.read()


@flood("slow-tcp", "a CONNECT frame that comes byte by byte")
def slow_tcp(attacker: Attacker) -> None:
    frame = encode_frame(Signal.CONNECT, 0, 1, json.dumps(attacker.pair).encode())
    hold(attacker, "tcp", frame[:2], frame[2:-1])


@flood("slow-tls", "a ClientHello that comes byte by byte", "tls")
def slow_tls(attacker: Attacker) -> None:
    hello = client_hello()
    hold(attacker, "tls", hello[:2], hello[2:-1])


@flood("slow-ws", "a WebSocket request that comes byte by byte", "ws")
def slow_ws(attacker: Attacker) -> None:
    hold(attacker, "ws", UPGRADE[:4], UPGRADE[4:-1])


@flood("slow-http", "an HTTP head that comes byte by byte", "http")
def slow_http(attacker: Attacker) -> None:
    head = b"GET /v1/stats HTTP/1.1\r\nHost: localhost\r\nX-Slow: " + b"x" * 500
    hold(attacker, "http", head[:4], head[4:])


@flood("slow-body", "an HTTP body that comes byte by byte", "http")
def slow_body(attacker: Attacker) -> None:
    head = http_request("POST", "/v1/devices", attacker.target.app_key, b"", 500)
    hold(attacker, "http", head, b'{"platform":"' + b"x" * 480)


# --- WebSocket


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
    connection = attacker.dial("http", receive_buffer_bytes=4096)
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
    body = b'{"a":' * (LATE_BYTES // 6 - 1) + b"1" + b"}" * (LATE_BYTES // 6 - 1)
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
