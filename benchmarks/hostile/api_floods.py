"""Floods of the HTTP API with a backend's key, of streams of events, and over HTTPS."""

from __future__ import annotations

import base64
import itertools
import json
import socket
import ssl
import time
from collections.abc import Iterator

from benchmarks.hostile.attacker import Attacker, flood
from benchmarks.hostile.connection_floods import hold, renegotiate, update_keys
from benchmarks.hostile.connections import Gone
from benchmarks.hostile.http_floods import (
    MANY,
    chunked,
    on_connections_of_their_own,
    one_by_one,
    pipelined,
    with_headers,
)
from benchmarks.hostile.web_floods import (
    BODY_BYTES,
    UNREAD_BYTES,
    ask_and_read_nothing,
    http_request,
    stream_request,
)

# --- With the key of a backend


def keyed(name: str, what: str, method: str, path: str, body: object = None) -> None:
    """One request again and again, pipelined."""

    @flood(name, f"pipelined, with a backend's key: {what}", "http")
    def run(attacker: Attacker) -> None:
        raw = b"" if body is None else json.dumps(body).encode()
        pipelined(http_request(method, path, attacker.target.api_key, raw))(attacker)


PUSH = {"to": {"token": "nobody"}, "data": 1}
TO_ALL = {"to": {"all": True}, "data": {"n": 0}}
keyed("key-stats", "statistics", "GET", "/v1/stats")
keyed("key-metrics", "the metrics", "GET", "/metrics")
keyed("key-connections", "a page of all sessions", "GET", "/v1/connections?limit=100")
keyed("key-ledger", "a page of the ledger", "GET", "/v1/messages?limit=100")
keyed("key-audit", "a page of the audit trail", "GET", "/v1/audit?limit=100")
keyed("key-series", "the pushes of a day", "GET", "/v1/series?name=pushes&step=60")
keyed("key-wrong-pushes", "pushes to a device that is not there", "POST", "/v1/push", PUSH)
keyed("key-broadcasts", "pushes to all", "POST", "/v1/push", TO_ALL)
keyed("key-bans", "bans of one address", "POST", "/v1/bans", {"ip": "192.0.2.7"})
keyed(
    "key-webhooks",
    "endpoints of webhooks",
    "POST",
    "/v1/webhooks",
    {"url": "https://example.com/push", "types": ["chat.message"]},
)


@flood("key-wrong-batches", "batches of 1,000 items, each of them wrong", "http")
def key_wrong_batches(attacker: Attacker) -> None:
    items = [{"to": {"token": f"nobody{n}", "user": "x" * 300}, "data": n} for n in range(1000)]
    body = json.dumps(items).encode()
    one_by_one(http_request("POST", "/v1/push/batch", attacker.target.api_key, body))(attacker)


@flood("key-batches", "batches of 1,000 pushes to the attackers' devices", "http")
def key_batches(attacker: Attacker) -> None:
    tokens = [pair["token"] for pair in attacker.target.pairs]
    items = [{"to": {"token": tokens[n % len(tokens)]}, "data": n} for n in range(1000)]
    body = json.dumps(items).encode()
    one_by_one(http_request("POST", "/v1/push/batch", attacker.target.api_key, body))(attacker)


@flood("key-wide-pushes", "pushes to 1,000 tokens each", "http")
def key_wide_pushes(attacker: Attacker) -> None:
    tokens = [f"nobody{number}" for number in range(1000)]
    body = json.dumps({"to": {"tokens": tokens}, "data": "x" * 1000}).encode()
    one_by_one(http_request("POST", "/v1/push", attacker.target.api_key, body))(attacker)


@flood("key-idempotency", "pushes, each with an idempotency key of its own", "http")
def key_idempotency(attacker: Attacker) -> None:
    connection = attacker.dial("http")
    body = json.dumps({"to": {"token": attacker.pair["token"]}, "data": 1}).encode()
    head = http_request("POST", "/v1/push", attacker.target.api_key, b"", len(body))[:-2]
    for number in itertools.count():
        name = f"Idempotency-Key: {attacker.number}-{time.monotonic_ns()}-{number}-{'x' * 200}"
        connection.send(head + name.encode() + b"\r\n\r\n" + body)
        connection.wait(0)


@flood("key-events", "live events that nobody reads, beside pushes", "http")
def key_events(attacker: Attacker) -> None:
    request = http_request("GET", "/v1/events", attacker.target.api_key)
    for _ in range(20):
        attacker.dial("http", receive_buffer_bytes=UNREAD_BYTES).send(request)
    body = {"to": {"token": attacker.pair["token"]}, "data": "x" * 100}
    push = http_request("POST", "/v1/push", attacker.target.api_key, json.dumps(body).encode())
    pipelined(push)(attacker)


@flood("key-held", "connections that have shown a backend's key, and are kept", "http")
def key_held(attacker: Attacker) -> None:
    hold(attacker, "http", http_request("GET", "/v1/whoami", attacker.target.api_key))


# --- Without one


def jwt(number: int) -> str:
    parts = ({"alg": "HS256", "kid": "x" * 100}, {"sub": f"user{number}", "exp": 1 << 40})
    texts = [base64.urlsafe_b64encode(json.dumps(part).encode()) for part in parts]
    return b".".join([*texts, b"A" * 43]).replace(b"=", b"").decode()


@flood("http-jwts", "keys that look like JWTs, each another", "http")
def http_jwts(attacker: Attacker) -> None:
    connection = attacker.dial("http")
    for number in itertools.count():
        connection.send(http_request("GET", "/v1/stats", jwt(number)))
        connection.wait(0)


@flood("streams-jwts", "streams of events with JWTs that nobody has signed", "http")
def streams_jwts(attacker: Attacker) -> None:
    request = with_headers(f"Authorization: Bearer {jwt(1)}\r\n".encode(), path="/v1/stream")
    on_connections_of_their_own(request)(attacker)


@flood("http2", "the preface of HTTP/2, and frames", "http")
def http2(attacker: Attacker) -> None:
    settings = b"\0\0\0\4\0\0\0\0\0" * 100
    on_connections_of_their_own(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings)(attacker)


@flood("http-trailers", "chunked bodies with trailers of 15 KB", "http")
def http_trailers(attacker: Attacker) -> None:
    trailer = b"0\r\n" + b"a: b\r\n" * 2500 + b"\r\n"
    pipelined(chunked(attacker.target.app_key, b"1\r\nx\r\n", 1) + trailer)(attacker)


@flood("http-empty-lines", "empty lines where a request is to begin", "http")
def http_empty_lines(attacker: Attacker) -> None:
    pipelined(b"\r\n")(attacker)


@flood("http-options", "OPTIONS *", "http")
def http_options(attacker: Attacker) -> None:
    pipelined(http_request("OPTIONS", "*"))(attacker)


@flood("http-forwarded", "X-Forwarded-For with 1,500 addresses", "http")
def http_forwarded(attacker: Attacker) -> None:
    pipelined(with_headers(b"X-Forwarded-For: " + b"192.0.2.1," * 1500 + b"192.0.2.2\r\n"))(
        attacker
    )


@flood("http-digits", "bodies that are one number of 60,000 digits", "http")
def http_digits(attacker: Attacker) -> None:
    pipelined(http_request("POST", "/v1/devices", "", b'{"platform":' + b"9" * 60_000 + b"}"))(
        attacker
    )


@flood("http-escapes", "1 MiB bodies of escaped characters, with the key of an app", "http")
def http_escapes(attacker: Attacker) -> None:
    body = b'{"platform":"' + b"\\ud83d\\ude00" * (BODY_BYTES // 12 - 3) + b'"}'
    one_by_one(http_request("POST", "/v1/devices", attacker.target.app_key, body))(attacker)


@flood("http-thrown-away", "bodies of any length that were refused, and come nevertheless", "http")
def http_thrown_away(attacker: Attacker) -> None:
    connection = attacker.dial("http")
    connection.send(http_request("POST", "/v1/devices", "", b"", 1 << 40))
    data = b"x" * 60_000
    while True:
        connection.send(data)


@flood("http-announced", "large bodies that never come, announced with the key of an app", "http")
def http_announced(attacker: Attacker) -> None:
    head = http_request("POST", "/v1/devices", attacker.target.app_key, b"", BODY_BYTES)
    opened = [attacker.dial("http") for _ in range(MANY // 3)]
    for connection in opened:
        connection.send(head)
    while True:
        for connection in opened:
            connection.wait(0.1)


@flood("http-health", "requests for health, each on its own connection", "http")
def http_health(attacker: Attacker) -> None:
    on_connections_of_their_own(http_request("GET", "/healthz"))(attacker)


@flood("http-console", "the files of the console", "http")
def http_console(attacker: Attacker) -> None:
    paths = ("/", "/console/app.js", "/push.js", "/errors", "/console/../../etc/passwd")
    pipelined(b"".join(http_request("GET", path) for path in paths))(attacker)


@flood("http-slow-readers", "large documents that are read a few bytes at a time", "http")
def http_slow_readers(attacker: Attacker) -> None:
    opened = [attacker.dial("http", receive_buffer_bytes=UNREAD_BYTES) for _ in range(MANY)]
    for connection in opened:
        connection.send(http_request("GET", "/openapi.json") * 3)
    while True:
        for connection in opened:
            connection.sip(64)
        time.sleep(0.05)


# --- HTTPS


@flood("https-pipelining", "pipelined requests over TLS", "https")
def https_pipelining(attacker: Attacker) -> None:
    pipelined(http_request("GET", "/v1/stats"), "https")(attacker)


@flood("https-unread", "documents over TLS that nobody reads", "https")
def https_unread(attacker: Attacker) -> None:
    ask_and_read_nothing(attacker, "https")


@flood("https-refused", "requests over TLS that are refused, and the rest of which comes", "https")
def https_refused(attacker: Attacker) -> None:
    connection = attacker.dial("https")
    while True:
        connection.send(b"\n" * 1000)


@flood("https-slow", "an HTTP head over TLS that comes byte by byte, to its deadline", "https")
def https_slow(attacker: Attacker) -> None:
    opened = [attacker.dial("https") for _ in range(MANY)]
    data = b"GET / HTTP/1.1\r\nX: " + b"x" * 2000
    for place in range(len(data)):
        for connection in opened:
            connection.send(data[place : place + 1])
            connection.wait(0)
        time.sleep(0.2)


@flood("https-streams", "streams of events over TLS, opened and not read", "https")
def https_streams(attacker: Attacker) -> None:
    connection = attacker.dial("https", receive_buffer_bytes=UNREAD_BYTES)
    connection.send(stream_request(attacker))
    connection.wait(1)


@flood("https-resumed", "TLS handshakes that resume a session, again and again", "https")
def https_resumed(attacker: Attacker) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    session = None
    for made in _dialled(attacker):
        sealed = context.wrap_socket(made, session=session)
        session = sealed.session
        attacker.answers["resumed" if sealed.session_reused else "not resumed"] += 1
        sealed.close()


def _dialled(attacker: Attacker) -> Iterator[socket.socket]:
    while True:
        attacker.count_connection()
        try:
            yield socket.create_connection(("127.0.0.1", attacker.target.http), 5)
        except OSError as error:
            raise Gone(type(error).__name__) from None


@flood("https-renegotiation", "a TLS 1.2 client of the API that renegotiates on end", "https")
def https_renegotiation(attacker: Attacker) -> None:
    renegotiate(attacker, attacker.target.http)


@flood("https-key-updates", "a TLS 1.3 client of the API that asks for new keys", "https")
def https_key_updates(attacker: Attacker) -> None:
    update_keys(attacker, attacker.target.http)
