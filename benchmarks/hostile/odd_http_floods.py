"""Floods of odd HTTP: other protocols, heads, bodies and methods than are expected."""

from __future__ import annotations

import contextlib
import itertools
import json
import zlib
from collections.abc import Callable

from benchmarks.hostile.attacker import Attacker, Run, flood
from benchmarks.hostile.http_floods import (
    MANY,
    ask,
    on_connections_of_their_own,
    one_by_one,
    pipelined,
    send_in_bytes,
    with_headers,
)
from benchmarks.hostile.web_floods import BODY_BYTES, http_request
from push.wire.api.paging import make_cursor

STATS = http_request("GET", "/v1/stats")
PROXY_V2 = b"\r\n\r\n\0\r\nQUIT\n" + b"\x21\x11\0\x0c" + b"\xc0\0\2\1\xc0\0\2\2\0\1\0\2"
METHODS = ("BREW", "get", "TRACE", "CONNECT", "PROPFIND", "X" * 2000)
KEYS = (
    "Bearer",
    "Bearer ",
    "Bearer a b",
    "Basic " + "QQ" * 2000,
    "Bearer " + "x" * 15_000,
    "Bearer " + "\u00e9" * 40,
    "Bearer x\r\nAuthorization: Bearer y",
    "Digest " + 'username="x", ' * 500,
)


def with_key(key: str) -> bytes:
    return with_headers(f"Authorization: {key}\r\n".encode("latin-1"))


PIPELINED = {
    "http-methods": (
        "methods that there are not",
        b"".join(http_request(method, "/v1/push") for method in METHODS),
    ),
    "http-hosts": (
        "requests with 400 hosts",
        STATS[:-2] + b"Host: a.example\r\n" * 400 + b"\r\n",
    ),
    "http-encodings": (
        "offers to read the documentation in 1,300 encodings",
        with_headers(b"Accept-Encoding: " + b"gzip;q=0.1," * 1300 + b"br\r\n", path="/docs"),
    ),
    "http-entity-tags": (
        "the OpenAPI document, unless it is one of 2,500 others",
        with_headers(b"If-None-Match: " + b'"abc",' * 2500 + b'"d"\r\n', path="/openapi.json"),
    ),
    "http-traces": (
        "traces that there are not, and a hundred cookies",
        with_headers(b"traceparent: 00-%b-1-01\r\n" % (b"f" * 5000) + b"Cookie: a=b\r\n" * 100),
    ),
    "http-healths": ("health", http_request("GET", "/healthz")),
}
for _name, (_what, _data) in PIPELINED.items():
    flood(_name, f"pipelined: {_what}", "http")(pipelined(_data))


OF_THEIR_OWN = {
    "http-proxy-lines": (
        "the line of a proxy that is none, and a request",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n" + STATS,
    ),
    "http-proxy-headers": ("the header of a proxy that is none, and a request", PROXY_V2 + STATS),
    "http-tls": ("a TLS handshake", b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + b"x" * 505),
}
for _name, (_what, _data) in OF_THEIR_OWN.items():
    flood(_name, f"on a connection of its own: {_what}", "http")(on_connections_of_their_own(_data))


@flood("http-key-forms", "keys of forms that are none, each on a connection of its own", "http")
def http_key_forms(attacker: Attacker) -> None:
    for key in KEYS:
        on_connections_of_their_own(with_key(key))(attacker)


# --- Bodies


def gzipped() -> bytes:
    """1 MiB that becomes a thousand times as much, but for its sum at the end. One piece is packed
    so that it can follow itself: to pack all of them takes seconds."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    piece = b"\0" * (1 << 20)
    first, again = (packer.compress(piece) + packer.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    return first + 899 * again


def repeated_key() -> bytes:
    """One key again and again, with other values."""
    members = [b'"platform":"%d"' % number for number in range(BODY_BYTES // 24)]
    return b"{" + b",".join(members) + b"}"


def exponents() -> bytes:
    return b"[" + b",".join([b"1e-99999", b"9" * 300, b"-0.0", b"1E999"] * 3000) + b"]"


def backslashes() -> bytes:
    """A text that is an escape from its beginning to its end, and is not closed."""
    return b'{"platform":"' + b"\\" * (BODY_BYTES - 100)


def posted(make_body: Callable[[], bytes], headers: bytes = b"") -> Run:
    """The body is made in the attackers."""

    def run(attacker: Attacker) -> None:
        body = make_body()
        head = http_request("POST", "/v1/devices", attacker.target.app_key, b"", len(body))
        one_by_one(head[:-2] + headers + b"\r\n" + body)(attacker)

    return run


BODIES = {
    "http-gzip": ("900 MiB of zeros, compressed", gzipped, b"Content-Encoding: gzip\r\n"),
    "http-repeated-keys": ("JSON of one key again and again", repeated_key, b""),
    "http-exponents": ("JSON of numbers that are too large and too small", exponents, b""),
    "http-backslashes": ("JSON of 1 MiB of backslashes", backslashes, b""),
}
for _name, (_what, _make, _headers) in BODIES.items():
    flood(_name, f"bodies with the key of an app: {_what}", "http")(posted(_make, _headers))


@flood("http-expect-held", "bodies that are announced, asked for and never sent", "http")
def http_expect_held(attacker: Attacker) -> None:
    head = http_request("POST", "/v1/devices", attacker.target.app_key, b"", BODY_BYTES)
    opened = [attacker.dial("http") for _ in range(MANY // 3)]
    for connection in opened:
        connection.send(head[:-2] + b"Expect: 100-continue\r\n\r\n")
    while True:
        for connection in opened:
            connection.wait(0.1)


@flood("http-chunks-many", "bodies in chunks of a byte, over sixty connections in turn", "http")
def http_chunks_many(attacker: Attacker) -> None:
    head = http_request("POST", "/v1/devices", attacker.target.app_key, b"", 0)
    head = head.replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    opened = [attacker.dial("http") for _ in range(MANY)]
    for connection in opened:
        connection.send(head)
    while True:
        for connection in opened:
            connection.send(b"1\r\nx\r\n")


# --- Connections


@flood("http-silent", "two hundred connections that say nothing", "http")
def http_silent(attacker: Attacker) -> None:
    opened = [attacker.dial("http") for _ in range(200)]
    while True:
        for connection in opened:
            connection.wait(0.05)


@flood("http-closes", "requests that end their connection, and are cut when answered", "http")
def http_closes(attacker: Attacker) -> None:
    on_connections_of_their_own(with_headers(b"Connection: close\r\n"))(attacker)


@flood("https-connects", "requests over TLS with a wrong key, each on its own connection", "https")
def https_connects(attacker: Attacker) -> None:
    on_connections_of_their_own(http_request("GET", "/v1/stats", "x" * 43), "https")(attacker)


@flood("https-plain", "requests without TLS, where there is TLS", "https")
def https_plain(attacker: Attacker) -> None:
    connection = attacker.dial("http")
    with contextlib.closing(connection):
        connection.send(STATS)
        connection.wait(30)


# --- With the key of a backend


@flood("key-connects", "requests with a backend's key, each on its own connection", "http")
def key_connects(attacker: Attacker) -> None:
    on_connections_of_their_own(http_request("GET", "/v1/whoami", attacker.target.api_key))(
        attacker
    )


@flood("key-dials", "a backend's key on connections that are cut at once", "http")
def key_dials(attacker: Attacker) -> None:
    connection = attacker.dial("http")
    connection.send(http_request("GET", "/v1/whoami", attacker.target.api_key))
    connection.close(abruptly=True)


@flood("key-bytes", "sixty connections that have shown a backend's key, then byte by byte", "http")
def key_bytes(attacker: Attacker) -> None:
    opened = [attacker.dial("http") for _ in range(MANY)]
    for connection in opened:
        connection.send(http_request("GET", "/v1/whoami", attacker.target.api_key))
    send_in_bytes(opened)


LISTS = {
    "bans": "/v1/bans",
    "audit": "/v1/audit",
    "connections": "/v1/connections",
    "keys": "/v1/keys",
    "topics": "/v1/topics",
    "webhooks": "/v1/webhooks",
    "recent": "/v1/messages",
}
PLACES: tuple[tuple[str | int, ...], ...] = ((), (1 << 63,), (-1,), ("x" * 100,), (1, 2, 3, "0-0"))


@flood("key-cursors", "pages of all lists, with cursors that lie", "http")
def key_cursors(attacker: Attacker) -> None:
    key = attacker.target.api_key
    pages = []
    for name, path in LISTS.items():
        cursors = [make_cursor(name, *place) for place in PLACES]  # type: ignore[arg-type]  # keys of a dict are str
        cursors += ["A" * 256, "%ff%00", make_cursor("members", "x")]
        pages += [http_request("GET", f"{path}?limit=100&cursor={each}", key) for each in cursors]
    pipelined(b"".join(pages))(attacker)


@flood("key-groups", "groups of 500 members, made one after the other", "http")
def key_groups(attacker: Attacker) -> None:
    connection = attacker.dial("http")
    members = [f"member{number}" for number in range(500)]
    for number in itertools.count():
        body = json.dumps({"owner": f"attacker{number % 10}", "name": "x", "members": members})
        request = http_request("POST", "/v1/groups", attacker.target.api_key, body.encode())
        ask(attacker, connection, request)
