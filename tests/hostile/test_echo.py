"""A client without credentials gets at most 200 characters of what it sent, and no traceback."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator

import pytest

from benchmarks.hostile.connections import MASK, UPGRADE, insecure_context, ws_frame
from benchmarks.hostile.watching import tracebacks
from benchmarks.running import Running, started_server
from push.wire.frames import encode_frame
from push.wire.signals import Signal
from tests.hostile.judging import MAX_ECHO, longest_echo
from tests.waiting import DEADLINE_SECONDS

QUIET_SECONDS = 0.2  # after an answer: nothing more comes
MANY = "Q" * 3000
NAMES = ("key", "platform", "app", "device", "token", "secret")


def head(line: str, *more: str) -> bytes:
    return "\r\n".join([line, "Host: localhost", "Connection: close", *more, "", ""]).encode()


def post(path: str, body: str, kind: str = "application/json") -> bytes:
    content = body.encode()
    size = f"Content-Length: {len(content)}"
    return head(f"POST {path} HTTP/1.1", f"Content-Type: {kind}", size) + content


HTTP = {
    "path": head(f"GET /{MANY} HTTP/1.1"),
    "path of a route": head(f"GET /v1/devices/{MANY} HTTP/1.1"),
    "query": head(f"GET /v1/stats?{MANY}={MANY} HTTP/1.1"),
    "method": head(f"{MANY} / HTTP/1.1"),
    "version": head(f"GET / HTTP/{MANY}"),
    "target": head(f"GET http://{MANY}/ HTTP/1.1"),
    "host": f"GET / HTTP/1.1\r\nHost: {MANY}\r\nConnection: close\r\n\r\n".encode(),
    "key": head("GET /v1/stats HTTP/1.1", f"Authorization: Bearer {MANY}"),
    "scheme": head("GET /v1/stats HTTP/1.1", f"Authorization: {MANY}"),
    "header name": head("GET /v1/stats HTTP/1.1", f"{MANY}: 1"),
    "no colon": head("GET /v1/stats HTTP/1.1", MANY),
    "content type": post("/v1/devices", "{}", MANY),
    "length": head("POST /v1/devices HTTP/1.1", f"Content-Length: {MANY}"),
    "transfer": head("POST /v1/devices HTTP/1.1", f"Transfer-Encoding: {MANY}"),
    "chunk": head("POST /v1/devices HTTP/1.1", "Transfer-Encoding: chunked") + MANY.encode(),
    "expect": head("POST /v1/devices HTTP/1.1", f"Expect: {MANY}", "Content-Length: 0"),
    "origin": head("OPTIONS /v1/devices HTTP/1.1", f"Origin: http://{MANY}"),
    "body": post("/v1/devices", MANY),
    "field": post("/v1/devices", json.dumps({MANY: 1})),
    "error page": head(f"GET /errors/{MANY} HTTP/1.1"),
}
BODIES = {
    **{name: json.dumps({name: MANY}) for name in NAMES},
    "unknown field": json.dumps({MANY: MANY}),
    "no JSON": MANY,
    "cursors": json.dumps({"token": "a", "secret": "b", "cursors": {MANY: MANY}}),
    "jwt": json.dumps({"jwt": MANY}),
    "dotted jwt": json.dumps({"jwt": f"{MANY}.{MANY}.{MANY}"}),
    "sdk": json.dumps({"jwt": "a", "sdk": MANY}),
}
FRAMES = {
    f"{signal.name} {name}": encode_frame(signal, 0, 1, body.encode())
    for signal in (Signal.SUB, Signal.CONNECT, Signal.DISCONNECT)
    for name, body in BODIES.items()
} | {"garbage": MANY.encode()}
TEXTS = {
    "signal": json.dumps({"signal": MANY}),
    "sub-signal": json.dumps({"signal": "SUB", "subSignal": MANY}),
    "message id": json.dumps({"signal": "SUB", "messageId": MANY}),
    "content": json.dumps({"signal": "SUB", "content": MANY}),
    "member": json.dumps({MANY: MANY}),
    "no JSON": MANY,
    **{f"SUB {name}": f'{{"signal":"SUB","content":{body}}}' for name, body in BODIES.items()},
    **{f"CONNECT {name}": f'{{"signal":"CONNECT","content":{b}}}' for name, b in BODIES.items()},
}
UPGRADES = {
    "sub-protocol": UPGRADE.replace(b"push.v2", MANY.encode()),
    "path": UPGRADE.replace(b"/ws", b"/" + MANY.encode()),
    "origin": UPGRADE.replace(b"\r\n\r\n", f"\r\nOrigin: http://{MANY}\r\n\r\n".encode()),
    "key": UPGRADE.replace(b"AAAAAAAAAAAAAAAAAAAAAA==", MANY.encode()),
    "version": UPGRADE.replace(b"Version: 13", b"Version: " + MANY.encode()),
    "extension": UPGRADE.replace(
        b"\r\n\r\n", f"\r\nSec-WebSocket-Extensions: {MANY}\r\n\r\n".encode()
    ),
}
WS = {
    "close": UPGRADE + ws_frame(b"\x03\xe8" + MANY[:120].encode(), 8),
    "binary": UPGRADE + ws_frame(MANY.encode(), 2),
    "mask": UPGRADE + b"\x81\xfe\x0b\xb8" + MASK + MANY.encode(),
    **{f"upgrade {name}": data for name, data in UPGRADES.items()},
    **{f"text {name}": UPGRADE + ws_frame(text.encode()) for name, text in TEXTS.items()},
}


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with started_server(connector_ws="127.0.0.1:0") as running:
        yield running


@pytest.fixture
def no_traceback(server: Running) -> Iterator[None]:
    yield
    assert server.process.poll() is None
    assert not (found := tracebacks(server)), found


def answer(address: tuple[str, int], data: bytes, *, tls: bool = False) -> str:
    """What comes until the server closes or is silent."""
    with socket.create_connection(address, DEADLINE_SECONDS) as raw:
        connection = insecure_context().wrap_socket(raw) if tls else raw
        found = b""
        with contextlib.suppress(OSError):  # closed with bytes that it had not read; or silent
            connection.sendall(data)
            while part := connection.recv(1 << 16):
                found += part
                connection.settimeout(QUIET_SECONDS)
        return found.decode("utf-8", "replace")


def check(told: str) -> None:
    assert longest_echo(told, "Q") <= MAX_ECHO, told[:1000]
    assert "Traceback" not in told
    assert ".py" not in told


@pytest.mark.usefixtures("no_traceback")
@pytest.mark.parametrize("what", HTTP)
def test_http(server: Running, what: str) -> None:
    told = answer(server.http, HTTP[what])
    check(told)
    wanted = "HTTP/1.1 2" if what == "origin" else "HTTP/1.1 4"
    assert told.startswith(wanted), told[:300]


@pytest.mark.usefixtures("no_traceback")
@pytest.mark.parametrize("carrier", ["tcp", "tls"])
@pytest.mark.parametrize("what", FRAMES)
def test_frames(server: Running, what: str, carrier: str) -> None:
    is_tls = carrier == "tls"
    address = server.tls_address if is_tls else server.tcp_address
    check(answer(address, FRAMES[what], tls=is_tls))


@pytest.mark.usefixtures("no_traceback")
@pytest.mark.parametrize("what", WS)
def test_websocket(server: Running, what: str) -> None:
    check(answer(server.ws_address, WS[what]))
