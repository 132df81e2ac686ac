"""Floods before a session: connections, handshakes, credentials, and clients that are slow."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator

from OpenSSL import SSL

from benchmarks.hostile.attacker import Attacker, flood
from benchmarks.hostile.connections import CLOSE, UPGRADE, Gone, insecure_context, ws_frame
from benchmarks.hostile.web_floods import http_request
from push.wire.frames import encode_frame
from push.wire.signals import Signal

HELD = 60  # connections that an attacker keeps open and does not use
SLOW_SECONDS = 0.5  # between two bytes on each of them
KEY_UPDATE_SECONDS = 0.0005  # several lines at once are one wish


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


@flood("https-handshakes", "whole TLS handshakes at the HTTP API, without resumption", "https")
def https_handshakes(attacker: Attacker) -> None:
    attacker.dial("https").close(abruptly=True)


@flood("https-half-open", "TLS at the HTTP API that stops in its first message", "https")
def https_half_open(attacker: Attacker) -> None:
    hold(attacker, "https", client_hello()[:100])


@flood("https-garbage", "bytes at the HTTP API that are not TLS", "https")
def https_garbage(attacker: Attacker) -> None:
    attacker.count_connection()
    with contextlib.closing(_dial_plainly(attacker, "https", b"\x00\xff\r\n" * 1000)) as made:
        made.settimeout(5)
        try:
            made.recv(100)
        except OSError as error:
            raise Gone(type(error).__name__) from None


@flood("https-requests", "requests with a wrong key over TLS, each on its own connection", "https")
def https_requests(attacker: Attacker) -> None:
    connection = attacker.dial("https")
    with contextlib.closing(connection):
        connection.send(http_request("GET", "/v1/stats", "x" * 43))
        connection.wait(30)


@flood("tls-renegotiation", "a TLS 1.2 client that renegotiates on end", "tls")
def tls_renegotiation(attacker: Attacker) -> None:
    renegotiate(attacker, attacker.target.tls)


def renegotiate(attacker: Attacker, port: int) -> None:
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_max_proto_version(SSL.TLS1_2_VERSION)
    attacker.count_connection()
    with contextlib.closing(socket.create_connection(("127.0.0.1", port))) as raw:
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


@flood("tls-key-updates", "a TLS 1.3 client that asks for new keys on end", "tls")
def tls_key_updates(attacker: Attacker) -> None:
    update_keys(attacker, attacker.target.tls)


def update_keys(attacker: Attacker, port: int) -> None:
    """By the program of OpenSSL: Python's modules have no such function. It takes a line that
    begins with K for the wish."""
    attacker.count_connection()
    command = ["openssl", "s_client", "-tls1_3", "-connect", f"127.0.0.1:{port}"]
    silent = subprocess.DEVNULL
    client = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=silent, stderr=silent, bufsize=0
    )
    assert client.stdin is not None
    try:
        while client.poll() is None:
            client.stdin.write(b"K\n")
            time.sleep(KEY_UPDATE_SECONDS)
    except OSError as error:
        raise Gone(type(error).__name__) from None
    finally:
        client.kill()
        client.wait()


@flood("tls-garbage", "a ClientHello whose rest is noise", "tls")
def tls_garbage(attacker: Attacker) -> None:
    attacker.count_connection()
    hello = client_hello()
    with contextlib.closing(_dial_plainly(attacker, "tls", hello[:60] + b"\xff" * 4000)) as made:
        made.settimeout(5)
        try:
            made.recv(100)
        except OSError as error:
            raise Gone(type(error).__name__) from None


@flood("tls-small-records", "PING frames in TLS records of a byte", "tls")
def tls_small_records(attacker: Attacker) -> None:
    connection = attacker.session("tls")
    frame = connection.encoded(Signal.PING, b"", 5)
    while True:
        for place in range(len(frame)):
            connection.send(frame[place : place + 1])


@flood("ws-openings", "WebSocket requests with 60 headers and many offers of compression", "ws")
def ws_openings(attacker: Attacker) -> None:
    connection = attacker.dial("ws", upgrade=False)
    offers = b"Sec-WebSocket-Extensions: " + b"permessage-deflate; a=b, " * 40 + b"x\r\n"
    headers = b"".join(b"X-%d: %s\r\n" % (number, b"x" * 60) for number in range(50))
    with contextlib.closing(connection):
        connection.send(UPGRADE[:-2] + offers + headers + b"\r\n")
        connection.carrier = "http"
        connection.wait(5)


@flood("ws-closes", "WebSocket connections that are closed when they are open", "ws")
def ws_closes(attacker: Attacker) -> None:
    connection = attacker.dial("ws")
    with contextlib.closing(connection):
        connection.send(ws_frame(b"\x03\xe8" + b"x" * 120, CLOSE))
        connection.wait(5)


# --- Slow ones


def hold(attacker: Attacker, carrier: str, first: bytes, slowly: bytes = b"") -> None:
    """Keep `HELD` connections open that send `first` at once and the rest byte by byte. One that
    the server ends is replaced."""
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
