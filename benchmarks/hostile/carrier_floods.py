"""Floods below the frames of sessions: pieces of TLS, of WebSocket and of event streams."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from itertools import cycle

from benchmarks.hostile.attacker import Attacker, flood, repeated
from benchmarks.hostile.connection_floods import HELD, client_hello
from benchmarks.hostile.connections import (
    CLOSE,
    CONTINUATION,
    PING,
    TEXT,
    UPGRADE,
    Connection,
    Gone,
    insecure_context,
    ws_frame,
    ws_text,
)
from benchmarks.hostile.web_floods import stream_request
from push.wire.signals import Signal

# RFC 8446, 5.1: records of the types 21 and 22 with their first bytes.
ALERT, HANDSHAKE = b"\x15\x03\x03", b"\x16\x03\x01"
LONG_RECORD = HANDSHAKE + (16_000).to_bytes(2, "big") + b"\x01\x00\x3e\x7c"
DIALS = 8  # connections of one attacker that are used in turn
MAX_BYTES = 1 << 20


def dial_raw(attacker: Attacker, carrier: str) -> Connection:
    """A TCP connection to the port of `carrier`, of which nothing is expected."""
    connection = attacker.dial(carrier, upgrade=False, sealed=False)
    connection.carrier = "http"  # what comes is counted as the status lines in it
    return connection


def in_turn(attacker: Attacker, carrier: str, first: bytes, piece: bytes) -> None:
    """Connections that send `first` at once, then `piece` byte by byte, a byte of each in turn."""
    opened = [dial_raw(attacker, carrier) for _ in range(DIALS)]
    for connection in opened:
        connection.send(first)
    for byte in cycle(piece):
        for connection in opened:
            connection.send(bytes((byte,)))


# --- TLS


@flood("tls-bytes", "the long first record of a TLS client, byte by byte without pause", "tls")
def tls_bytes(attacker: Attacker) -> None:
    in_turn(attacker, "tls", LONG_RECORD, b"\x00")


@flood("tls-empty-records", "handshake records with nothing in them", "tls")
def tls_empty_records(attacker: Attacker) -> None:
    connection = dial_raw(attacker, "tls")
    data = repeated(HANDSHAKE + b"\x00\x00")
    while True:
        connection.send(data)


@flood("tls-alerts", "TLS alerts that are warnings, before anything else", "tls")
def tls_alerts(attacker: Attacker) -> None:
    connection = dial_raw(attacker, "tls")
    connection.send(client_hello() + repeated(ALERT + b"\x00\x02\x01\x5a"))
    connection.wait(5)
    connection.close(abruptly=True)


@flood("tls-long-hellos", "a first message of TLS of 60 KB, most of it names", "tls")
def tls_long_hellos(attacker: Attacker) -> None:
    attacker.count_connection()
    context = insecure_context.__wrapped__()
    context.set_alpn_protocols([f"{number:0200}" for number in range(300)])
    try:
        with socket.create_connection(("127.0.0.1", attacker.target.tls)) as made:
            context.wrap_socket(made)
    except OSError as error:
        raise Gone(type(error).__name__) from None


@flood("tls-held", "TLS connections that are open, and ask for no session", "tls")
def tls_held(attacker: Attacker) -> None:
    hold_all(attacker, [attacker.dial("tls") for _ in range(HELD)])


@flood("tls-resets", "TLS clients that are cut off within their first message", "tls")
def tls_resets(attacker: Attacker) -> None:
    hello = client_hello()
    while True:
        connection = dial_raw(attacker, "tls")
        connection.send(hello)
        connection.close(abruptly=True)


# --- WebSocket


def hold_all(attacker: Attacker, opened: list[Connection]) -> None:
    """Until the server ends one of them."""
    while True:
        for connection in opened:
            connection.take()
        time.sleep(0.5)


@flood("ws-bytes", "requests for WebSocket that come byte by byte without pause", "ws")
def ws_bytes(attacker: Attacker) -> None:
    in_turn(attacker, "ws", UPGRADE[:-2] + b"X-Long: ", b"x")


@flood("ws-controls-between", "fragments of a byte with Pings of 125 bytes between", "ws")
def ws_controls_between(attacker: Attacker) -> None:
    connection = attacker.session("ws")
    connection.send(ws_frame(b'{"signal":"PING"', final=False))
    data = repeated(ws_frame(b" ", CONTINUATION, final=False) + ws_frame(b"x" * 125, PING))
    while True:
        connection.send(data)


@flood("ws-close-held", "WebSocket connections that say Close, and stay", "ws")
def ws_close_held(attacker: Attacker) -> None:
    opened = []
    for _ in range(HELD):
        opened.append(attacker.dial("ws"))
        opened[-1].send(ws_frame(b"\x03\xe8", CLOSE))
    hold_all(attacker, opened)


@flood("ws-held", "WebSocket connections that are open, and ask for no session", "ws")
def ws_held(attacker: Attacker) -> None:
    hold_all(attacker, [attacker.dial("ws") for _ in range(HELD)])


@flood("ws-frame-bytes", "a WebSocket message of a megabyte that comes byte by byte", "ws")
def ws_frame_bytes(attacker: Attacker) -> None:
    connection = attacker.session("ws")
    connection.send(ws_frame(b" " * 900_000)[:20])
    while True:
        connection.send(b"x")


def large_text(filling: bytes) -> bytes:
    """A PING as large as a message may be."""
    text = ws_text(Signal.PING, b'{"interval":10,"x":' + filling + b"}", 5)
    assert len(text) <= MAX_BYTES
    return text


FILLINGS = {
    "deep": b"[" * 500_000 + b"]" * 500_000,
    "wide": b"[" + b"{}," * 330_000 + b"{}]",
    "escaped": b'"' + b"\\u0061" * 170_000 + b'"',
    "names": b"{" + b",".join(b'"%d":0' % number for number in range(90_000)) + b"}",
}
for _name, _filling in FILLINGS.items():

    @flood(f"ws-large-{_name}", f"WebSocket messages of a megabyte whose JSON is {_name}", "ws")
    def ws_large(attacker: Attacker, text: bytes = large_text(_filling)) -> None:
        connection = attacker.session("ws")
        data = ws_frame(text, TEXT)
        while True:
            connection.send(data)


@flood("ws-large-fragments", "messages of a megabyte in fragments of a kilobyte", "ws")
def ws_large_fragments(attacker: Attacker) -> None:
    connection = attacker.session("ws")
    text = large_text(b'"' + b"x" * 1_000_000 + b'"')
    parts = [text[start : start + 1024] for start in range(0, len(text), 1024)]
    frames = [ws_frame(parts[0], TEXT, final=False)]
    frames += [ws_frame(part, CONTINUATION, final=False) for part in parts[1:]]
    data = b"".join([*frames, ws_frame(b"", CONTINUATION)])
    while True:
        connection.send(data)


# --- Event streams, and what is sent where nothing is expected any more


@flood("streams-talk", "event streams at a device port whose clients talk byte by byte", "ws")
def streams_talk(attacker: Attacker) -> None:
    connection = dial_raw(attacker, "ws")
    connection.send(stream_request(attacker))
    while not attacker.answers["HTTP 200"]:
        connection.wait(30)
    while True:
        connection.send(b"x")


@flood("streams-ws", "event streams at a device port, each cut when it begins", "ws")
def streams_ws(attacker: Attacker) -> None:
    connection = dial_raw(attacker, "ws")
    connection.send(stream_request(attacker))
    connection.wait(30)
    connection.close(abruptly=True)


@flood("streams-ws-held", "event streams at a device port, each kept until another comes", "ws")
def streams_ws_held(attacker: Attacker) -> None:
    request = stream_request(attacker)
    while True:
        for _ in range(20):
            dial_raw(attacker, "ws").send(request)
        attacker.close_all()


@flood("late-words", "frames that are none, and then bytes until the connection is cut")
def late_words(attacker: Attacker) -> None:
    opened = [dial_raw(attacker, "tcp") for _ in range(DIALS)]
    for connection in opened:
        connection.send(b"\x00" * 20)
    with contextlib.suppress(Gone):
        while True:
            for connection in opened:
                connection.send(b"x")


@flood("urgent", "TCP's urgent data, before a session")
def urgent(attacker: Attacker) -> None:
    connection = dial_raw(attacker, "tcp")
    while True:
        connection.send_urgently(b"x")


@flood("resets", "CONNECT that is cut off before its answer")
def resets(attacker: Attacker) -> None:
    while True:
        connection = attacker.dial("tcp")
        connection.frame(Signal.CONNECT, json.dumps(attacker.pair).encode(), 1)
        connection.close(abruptly=True)
