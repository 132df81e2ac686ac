"""What devices and HTTP clients send cannot forge a line of the log or control who reads it."""

from __future__ import annotations

import contextlib
import json
import socket
import time
import unicodedata
from pathlib import Path

from benchmarks.running import Running, started_server
from push.wire.frames import encode_frame
from push.wire.signals import Signal
from tests.waiting import DEADLINE_SECONDS

MARK = "the last one"
NASTY = [
    "\x1b[2J\x1b]0;owned\x07",
    "\r\n2026-01-01T00:00:00+0000 [push#info] forged",
    "\n\t[forged]",
    "\x85\x9b31m\x7f\x00",
    "\u202egnp.exe\u2066\u200b\u2028\u2029\ufeff",
]


def send(running: Running, data: bytes) -> None:
    """Send and wait until the server has closed."""
    with socket.create_connection(running.tcp_address, DEADLINE_SECONDS) as connection:
        connection.sendall(data)
        while connection.recv(65536):
            pass


def nasty_frames(text: str) -> list[bytes]:
    """One end of a connection each, with `text` in what is told of it."""
    bodies = [
        (Signal.DISCONNECT, {"code": text, "reason": text}),
        (Signal.SUB, {"platform": text, "app": text}),
        (Signal.SUB, {text: {text: text}}),
        (Signal.CONNECT, {"jwt": text, "sdk": text}),
        (Signal.CONNECT, {"jwt": text, "cursors": {text: 1}}),
        (Signal.CONNECT, {"token": text, "secret": text}),
    ]
    raw = [encode_frame(Signal.CONNECT, 0, 1, text.encode() + b"{")]
    return raw + [
        encode_frame(signal, 0, 1, json.dumps(body, ensure_ascii=ascii_only).encode())
        for signal, body in bodies
        for ascii_only in (True, False)
    ]


def test_no_line_of_the_log_is_a_devices(tmp_path: Path) -> None:
    with started_server("push", tmp_path / "data", server_log="debug") as running:
        for text in NASTY:
            for frame in nasty_frames(text):
                send(running, frame + encode_frame(Signal.DISCONNECT, 0, 0, b'{"reason":"end"}'))
            with socket.create_connection(running.http, DEADLINE_SECONDS) as http:
                path = text.replace("\r\n", "").replace("\n", "").encode()
                http.sendall(b"GET /" + path + b" HTTP/1.1\r\nHost: x\r\nX: " + path + b"\r\n\r\n")
                http.settimeout(DEADLINE_SECONDS)
                with contextlib.suppress(ConnectionError):
                    http.recv(65536)
        last = json.dumps({"reason": MARK}).encode()
        send(running, encode_frame(Signal.DISCONNECT, 0, 0, last))
        deadline = time.monotonic() + DEADLINE_SECONDS
        while MARK not in (text := running.log.read_bytes().decode()):
            assert time.monotonic() < deadline, text
    assert "\\x1b[2J" in text, "what was sent is in the log"
    controls = {each for each in text if unicodedata.category(each) in ("Cc", "Cf", "Zl", "Zp")}
    assert controls <= {"\n", "\t"}
    for line in text.splitlines():
        assert line.startswith("\t") or line[:4].isdigit(), line
        assert "forged" not in line.split("] ")[0], line
        assert "Traceback" not in line
