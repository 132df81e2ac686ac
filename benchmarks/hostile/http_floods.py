"""Floods of single kinds of HTTP requests, each on one kept connection that is dialled again."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence

from benchmarks.hostile.attacker import Attacker, Run, flood, repeated
from benchmarks.hostile.connections import Connection
from benchmarks.hostile.web_floods import http_request, stream_request

BODY_BYTES = 1 << 20


def pipelined(data: bytes, carrier: str = "http") -> Run:
    """Send it on end; answers are read."""

    def run(attacker: Attacker) -> None:
        connection = attacker.dial(carrier)
        block = repeated(data)
        while True:
            connection.send(block)

    return run


def ask(attacker: Attacker, connection: Connection, data: bytes) -> None:
    """Send a request, and wait until it is answered."""
    before = sum(attacker.answers.values())
    connection.send(data)
    while sum(attacker.answers.values()) == before:
        connection.wait(30)


def one_by_one(data: bytes, carrier: str = "http") -> Run:
    """Send it again when it was answered."""

    def run(attacker: Attacker) -> None:
        connection = attacker.dial(carrier)
        while True:
            ask(attacker, connection, data)

    return run


def on_connections_of_their_own(data: bytes, carrier: str = "http") -> Run:
    def run(attacker: Attacker) -> None:
        connection = attacker.dial(carrier)
        with contextlib.closing(connection):
            connection.send(data)
            connection.wait(30)

    return run


def with_headers(headers: bytes, method: str = "GET", path: str = "/v1/stats") -> bytes:
    return http_request(method, path)[:-2] + headers + b"\r\n"


PIPELINED = {
    "http-404": ("requests for what is not there", http_request("GET", "/nothing/there")),
    "http-405": ("a method that the path has not", http_request("DELETE", "/v1/stats")),
    "http-head": ("HEAD", http_request("HEAD", "/v1/stats")),
    "http-docs": ("the documentation", http_request("GET", "/docs")),
    "http-openapi": ("the OpenAPI document", http_request("GET", "/openapi.json")),
    "http-metrics": ("the metrics, which loopback may read", http_request("GET", "/metrics")),
    "http-ready": ("readiness", http_request("GET", "/readyz")),
    "http-headers": ("requests with 400 headers", with_headers(b"a: b\r\n" * 400)),
    "http-large-headers": (
        "requests with a header of 15 KB",
        with_headers(b"a: %b\r\n" % (b"x" * 15_000)),
    ),
    "http-long-urls": ("a path of 8 KB", http_request("GET", "/" + "a/" * 4000)),
    "http-percent": (
        "a path of 5,000 encoded bytes",
        http_request("GET", "/v1/users/" + "%41" * 5000),
    ),
    "http-query": ("a query of 3,000 parameters", http_request("GET", "/healthz?" + "a=1&" * 3000)),
    "http-preflights": (
        "preflights of a foreign page",
        with_headers(
            b"Origin: https://evil.example\r\nAccess-Control-Request-Method: POST\r\n",
            "OPTIONS",
            "/v1/devices",
        ),
    ),
    "http-wrong-keys": ("a wrong key, kept connection", http_request("GET", "/v1/stats", "x" * 43)),
    "http-upgrades": (
        "upgrades to WebSocket where there is none",
        with_headers(b"Upgrade: websocket\r\nConnection: Upgrade\r\n"),
    ),
    "http-expect": (
        "Expect: 100-continue, with a small body",
        http_request("POST", "/v1/devices", "", b"", 2)[:-2] + b"Expect: 100-continue\r\n\r\n{}",
    ),
    "http-ranges": (
        "ranges of the documentation",
        with_headers(b"Range: bytes=0-1\r\n", path="/docs"),
    ),
}
for _name, (_what, _data) in PIPELINED.items():
    flood(_name, f"pipelined: {_what}", "http")(pipelined(_data))


def chunked(key: str, chunk: bytes, count: int) -> bytes:
    head = http_request("POST", "/v1/devices", key, b"", 0)
    return head.replace(b"Content-Length: 0", b"Transfer-Encoding: chunked") + chunk * count


@flood("http-chunks", "bodies in chunks of a byte, with the key of an app", "http")
def http_chunks(attacker: Attacker) -> None:
    data = chunked(attacker.target.app_key, b"1\r\nx\r\n", 100_000)
    one_by_one(data + b"0\r\n\r\n")(attacker)


@flood("http-chunk-extensions", "chunks with extensions of 1,000 bytes", "http")
def http_chunk_extensions(attacker: Attacker) -> None:
    chunk = b"1;" + b"e" * 1000 + b"\r\nx\r\n"
    one_by_one(chunked(attacker.target.app_key, chunk, 1000) + b"0\r\n\r\n")(attacker)


IN_BYTES = with_headers(b"a: %b\r\n" % (b"x" * 10_000))
MANY = 60  # connections of an attacker


def send_in_bytes(connections: Sequence[Connection]) -> None:
    """A byte over each in turn, without end."""
    while True:
        for number in range(len(IN_BYTES)):
            for connection in connections:
                connection.send(IN_BYTES[number : number + 1])


@flood("http-bytes", "requests that come byte by byte, without pause", "http")
def http_bytes(attacker: Attacker) -> None:
    send_in_bytes([attacker.dial("http")])


@flood("https-bytes", "requests over TLS that come byte by byte, each a record", "https")
def https_bytes(attacker: Attacker) -> None:
    send_in_bytes([attacker.dial("https")])


@flood("http-bytes-many", "the same over sixty connections, a byte of each in turn", "http")
def http_bytes_many(attacker: Attacker) -> None:
    send_in_bytes([attacker.dial("http") for _ in range(MANY)])


@flood("http-garbage", "bytes that are not HTTP", "http")
def http_garbage(attacker: Attacker) -> None:
    on_connections_of_their_own(b"\x00\xff\r\n" * 1000)(attacker)


@flood("http-dials", "connections that are opened and cut without a byte", "http")
def http_dials(attacker: Attacker) -> None:
    attacker.dial("http").close(abruptly=True)


@flood("http-cut", "requests on connections that are cut before the answer", "http")
def http_cut(attacker: Attacker) -> None:
    connection = attacker.dial("http")
    connection.send(http_request("GET", "/openapi.json"))
    connection.close(abruptly=True)


@flood(
    "streams-held", "server-sent events of one device, each kept until another takes over", "http"
)
def streams_held(attacker: Attacker) -> None:
    request = stream_request(attacker)
    while True:
        for _ in range(20):
            attacker.dial("http").send(request)
        attacker.close_all()


@flood("streams-wrong-method", "requests for server-sent events that are none, pipelined", "http")
def streams_wrong_method(attacker: Attacker) -> None:
    pipelined(stream_request(attacker).replace(b"GET", b"PUT"))(attacker)


@flood("http-registrations", "registrations with the key of an app", "http")
def http_registrations(attacker: Attacker) -> None:
    body = json.dumps({"platform": "x", "app": "x"}).encode()
    pipelined(http_request("POST", "/v1/devices", attacker.target.app_key, body))(attacker)


def wide_json(carrier: str) -> Run:
    """1 MiB bodies of small values."""
    body = b"[" + b"{}," * (BODY_BYTES // 3 - 2) + b"{}]"

    def run(attacker: Attacker) -> None:
        request = http_request("POST", "/v1/devices", attacker.target.app_key, body)
        one_by_one(request, carrier)(attacker)

    return run


WIDE = "1 MiB bodies of small values, with the key of an app"
flood("http-wide-json", WIDE, "http")(wide_json("http"))
flood("https-bodies", f"over TLS: {WIDE}", "https")(wide_json("https"))


@flood("streams-wrong", "server-sent events with a wrong secret", "http")
def streams_wrong(attacker: Attacker) -> None:
    request = stream_request(attacker)
    secret = attacker.pair["secret"].encode()
    on_connections_of_their_own(request.replace(secret, b"A" * len(secret)))(attacker)
