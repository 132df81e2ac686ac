"""Floods of bytes that are cut oddly, or come from many addresses: segments and records."""

from __future__ import annotations

import contextlib
import random
import socket
import ssl
from collections.abc import Iterator
from itertools import count

from benchmarks.hostile.attacker import Attacker, flood, repeated
from benchmarks.hostile.carrier_floods import DIALS
from benchmarks.hostile.connections import (
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    UPGRADE,
    Connection,
    Gone,
    insecure_context,
    ws_frame,
    ws_text,
)
from benchmarks.hostile.request_floods import body_of
from push.wire.frames import encode_frame
from push.wire.signals import Signal

LONG_NAME = "x" * 63 + "." + "y" * 63 + "." + "z" * 63 + "." + "w" * 60  # 253 bytes: the most


def some_address() -> str:
    """Of the sixteen million of loopback."""
    return ".".join(["127", *(str(random.randrange(1, 255)) for _ in range(3))])


@flood("many-addresses", "wrong secrets and wrong keys, each from another address")
def many_addresses(attacker: Attacker) -> None:
    connection = attacker.dial("tcp", source=some_address())
    body = body_of(key="x" * 40, platform="x", app="x")
    with contextlib.closing(connection):
        connection.frame(Signal.SUB, body, 1)
        connection.answer()
        connection.connect({**attacker.pair, "secret": "A" * len(attacker.pair["secret"])})


@flood("urgent-session", "TCP's urgent data between the PING frames of a session")
def urgent_session(attacker: Attacker) -> None:
    connection = attacker.session()
    frame = encode_frame(Signal.PING, 0, 5)
    while True:
        connection.send(frame)
        connection.send_urgently(b"\xf8")


# --- TLS


class Sealed:
    """A client of TLS whose bytes are sent as the caller likes."""

    def __init__(self, attacker: Attacker, name: str = "localhost") -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = insecure_context().wrap_bio(self._incoming, self._outgoing, server_hostname=name)
        attacker.count_connection()
        self.socket = socket.create_connection(("127.0.0.1", attacker.target.tls), 30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with _gone_at_errors():
            self._shake_hands()

    def _shake_hands(self) -> None:
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                self.socket.sendall(self._outgoing.read())
                data = self.socket.recv(1 << 16)
                if not data:
                    raise Gone("closed") from None
                self._incoming.write(data)
            else:
                self.socket.sendall(self._outgoing.read())
                return

    def sealed(self, data: bytes) -> bytes:
        self.tls.write(data)
        return self._outgoing.read()

    def farewell(self) -> bytes:
        with contextlib.suppress(ssl.SSLError):
            self.tls.unwrap()
        return self._outgoing.read()

    def send(self, data: bytes) -> None:
        with _gone_at_errors():
            self.socket.sendall(data)

    def close(self) -> None:
        self.socket.close()


@contextlib.contextmanager
def _gone_at_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Gone(type(error).__name__) from None


@flood("tls-record-bytes", "PING frames, the records of which come byte by byte", "tls")
def tls_record_bytes(attacker: Attacker) -> None:
    opened = [Sealed(attacker) for _ in range(DIALS)]
    try:
        while True:
            records = [each.sealed(encode_frame(Signal.PING, 0, 5)) for each in opened]
            for place in range(len(records[0])):
                for each, record in zip(opened, records, strict=True):
                    each.send(record[place : place + 1])
    finally:
        for each in opened:
            each.close()


@flood("tls-farewells", "TLS that is ended as soon as it is open, and goes on nevertheless", "tls")
def tls_farewells(attacker: Attacker) -> None:
    with contextlib.closing(Sealed(attacker, LONG_NAME)) as client:
        client.send(client.farewell())
        client.send(b"\x17\x03\x03\x00\x10" + bytes(16))
        client.send(b"\x00" * 4096)


@flood("tls-broken-records", "records that nobody can read, after a handshake", "tls")
def tls_broken_records(attacker: Attacker) -> None:
    with contextlib.closing(Sealed(attacker)) as client:
        client.send(repeated(b"\x17\x03\x03\x00\x20" + b"\xaa" * 32, 4000))
        client.send(b"x")


@flood("tls-resumed", "TLS handshakes that resume a session, each from another address", "tls")
def tls_resumed(attacker: Attacker) -> None:
    context = insecure_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # its tickets come within the handshake
    session: ssl.SSLSession | None = None
    for _ in range(50):
        attacker.count_connection()
        with _gone_at_errors(), socket.socket() as made:
            made.settimeout(30)
            made.bind((some_address(), 0))
            made.connect(("127.0.0.1", attacker.target.tls))
            with context.wrap_socket(made, session=session) as wrapped:
                attacker.answers["resumed" if wrapped.session_reused else "not resumed"] += 1
                session = wrapped.session


# --- WebSocket


def wrong_frames() -> list[bytes]:
    """Each breaks RFC 6455 in another way, or nearly."""
    text = ws_text(Signal.PING, b"", 5)
    masked = ws_frame(text)
    return [
        bytes([0xC1]) + masked[1:],  # a bit of compression
        bytes([0xF1]) + masked[1:],  # all reserved bits
        masked[:1] + bytes([masked[1] & 0x7F]) + text,  # not masked
        ws_frame(b"x" * 126, PING),  # a control that is too long
        ws_frame(b"x", PING, final=False),
        ws_frame(b"x", CONTINUATION),
        ws_frame(b"x", TEXT, final=False) + ws_frame(b"x", TEXT),
        ws_frame(b"\x03", CLOSE),
        ws_frame(b"\x03\xed", CLOSE),  # a code that is never sent
        ws_frame(b"\xff\xff" + b"x" * 123, CLOSE),
        ws_frame(b"\x03\xe8" + b"\xff" * 123, CLOSE),  # its reason is no UTF-8
        ws_frame(b"\xff\xfe\xfd"),
        ws_frame(b"x", 3),
        ws_frame(b"x", 11),
        b"\x81\xff" + b"\xff" * 8,  # a length of 64 bits
        b"\x81\xfe\x00\x01" + masked[2:6] + b"x",  # a length that is longer than need be
        ws_frame(b"x" * 125, PONG) * 50,
    ]


_OFFERS = (
    b"Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; "
    b"client_no_context_takeover; server_max_window_bits=15; client_max_window_bits=8\r\n"
)


def upgraded(attacker: Attacker, carrier: str) -> Connection:
    """A WebSocket for which compression was offered."""
    connection = attacker.dial(carrier, upgrade=False)
    connection.upgrade(UPGRADE[:-2] + _OFFERS + b"\r\n")
    return connection


@flood("ws-wrong", "frames that break RFC 6455, of each kind, after an offer of compression", "ws")
def ws_wrong(attacker: Attacker) -> None:
    for number in count(attacker.number):
        wrong = wrong_frames()
        connection = upgraded(attacker, ("ws", "wss")[number % 2])
        with contextlib.closing(connection), contextlib.suppress(Gone):
            connection.send(wrong[number % len(wrong)])
            connection.wait(1)


@flood("wss-fragments", "PING messages over wss, each byte a fragment and a record", "wss")
def wss_fragments(attacker: Attacker) -> None:
    connection = attacker.session("wss")
    text = ws_text(Signal.PING, b"", 5)
    while True:
        connection.send(ws_frame(text[:1], TEXT, final=False))
        for place in range(1, len(text)):
            connection.send(ws_frame(b"x" * 125, PING))
            is_last = place == len(text) - 1
            connection.send(ws_frame(text[place : place + 1], CONTINUATION, final=is_last))
