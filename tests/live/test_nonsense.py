"""Bad input gets its documented answer, and nobody else notices."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from benchmarks.fleet import Fleet
from benchmarks.running import Api, Running, started_server
from push.wire.frames import FrameDecoder, encode_frame
from push.wire.signals import ConnectStatus, Signal
from tests.waiting import DEADLINE_SECONDS


def answers(running: Running, sent: bytes) -> list[tuple[str, int, Any]]:
    """What the server says to these bytes until it closes, as (signal, sub-signal, body)."""
    with socket.create_connection(running.tcp_address, DEADLINE_SECONDS) as connection:
        connection.sendall(sent)
        received = b""
        while data := connection.recv(65536):
            received += data
    frames = FrameDecoder(1 << 20).feed(received)
    return [(Signal(f.signal).name, f.sub_signal, json.loads(f.body)) for f in frames]


def connect_frame(body: Any) -> bytes:
    return encode_frame(Signal.CONNECT, 0, 1, json.dumps(body).encode())


@pytest.mark.parametrize(
    ("sent", "code", "reason"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "bad_frame", "magic"),
        (b"\x00", "bad_frame", "magic"),
        (struct.pack(">BBBIBH", 0xF8, 2, 6, 2**32 - 1, 0, 1), "frame_too_large", "4294967295"),
        (struct.pack(">BBBIBH", 0xF8, 2, 0x86, 0, 0, 1), "bad_frame", "reserved"),
        (encode_frame(Signal.PUSH), "bad_frame", "PUSH"),
        (encode_frame(Signal.PING), "bad_frame", "PING"),
        (encode_frame(Signal.CONTACT), "bad_frame", "CONTACT"),
        (encode_frame(Signal.CONNECT, 0, 1, b"{nonsense"), "bad_frame", "CONNECT"),
        (encode_frame(Signal.CONNECT, 0, 1, b"[]"), "bad_frame", "object"),
        (encode_frame(Signal.CONNECT, 0, 1, b'{"token":1}'), "bad_frame", "token"),
        (encode_frame(Signal.CONNECT, 0, 1, b"\xff\xfe"), "bad_frame", "UTF-8"),
        (encode_frame(Signal.SUB, 0, 1, b'{"platform":"x"}'), "bad_frame", "app"),
    ],
)
def test_a_broken_frame_ends_the_connection_and_says_why(
    push_server: Running, sent: bytes, code: str, reason: str
) -> None:
    ((name, _, body),) = answers(push_server, sent)
    assert (name, body["code"]) == ("DISCONNECT", code)
    assert reason in body["reason"]


def test_a_cursor_that_is_none_of_ours_is_ignored(push_server: Running) -> None:
    """It is opaque to a client: one from elsewhere must not cost it the connection."""
    fleet = Fleet(push_server.tcp_address, 1)
    fleet.connect(push_server.app_key)
    pair = fleet.pairs()[0]
    cursors = {"all": "1795474409092664-0", "nowhere": "abc"}
    with socket.create_connection(push_server.tcp_address, DEADLINE_SECONDS) as connection:
        connection.sendall(connect_frame({**pair, "cursors": cursors}))
        (frame,) = FrameDecoder(1 << 20).feed(connection.recv(65536))
    assert (frame.signal, frame.sub_signal) == (Signal.CONNECT_ACK, ConnectStatus.ACCEPTED)
    fleet.close()


def test_a_connection_that_never_begins_tls_is_cut(tmp_path: Path) -> None:
    with (
        started_server(data_folder=tmp_path / "data", connector_handshake_timeout="1") as running,
        socket.create_connection(running.tls_address, DEADLINE_SECONDS) as connection,
        contextlib.suppress(ConnectionResetError),
    ):
        assert connection.recv(1) == b""


def test_another_version_is_told_ours(push_server: Running) -> None:
    sent = struct.pack(">BBBIBH", 0xF8, 1, 6, 0, 0, 1)
    status = ConnectStatus.UNACCEPTABLE_PROTOCOL_VERSION
    assert answers(push_server, sent) == [("CONNECT_ACK", status, {"versions": [2]})]


def test_an_unknown_token_is_rejected(push_server: Running) -> None:
    ((name, status, body),) = answers(push_server, connect_frame({"token": "X", "secret": "Y"}))
    assert (name, status) == ("CONNECT_ACK", ConnectStatus.IDENTIFIER_REJECTED)
    assert body["code"] == "unknown_token"


def test_a_wrong_secret_and_a_jwt_without_a_key_are_bad_credentials(push_server: Running) -> None:
    fleet = Fleet(push_server.tcp_address, 1)
    (token,) = fleet.connect(push_server.app_key)
    fleet.close()
    for credentials in ({"token": token, "secret": "no"}, {"jwt": "a.b.c"}):
        ((name, status, body),) = answers(push_server, connect_frame(credentials))
        assert (name, status) == ("CONNECT_ACK", ConnectStatus.BAD_CREDENTIALS)
        assert body["code"] == "unauthenticated"


def test_a_registration_without_the_right_key_is_refused_and_the_connection_stays(
    push_server: Running,
) -> None:
    sub = {"key": "wrong", "platform": "x", "app": "y"}
    sent = encode_frame(Signal.SUB, 0, 1, json.dumps(sub).encode())
    connect = json.dumps({"token": "X", "secret": "Y"}).encode()
    said = answers(push_server, sent + encode_frame(Signal.CONNECT, 0, 2, connect))
    (name, _, body), (then, _, _) = said
    assert (name, body["ok"], body["code"]) == ("SUB", False, "unauthenticated")
    assert then == "CONNECT_ACK"


@pytest.mark.parametrize(
    ("key", "body", "status", "code"),
    [
        (None, b"{}", 401, "unauthenticated"),
        ("wrong", b"{}", 401, "unauthenticated"),
        ("app", b"{}", 403, "forbidden"),
        ("admin", b"{nonsense", 400, "malformed"),
        ("admin", b"[]", 422, "invalid"),
        ("admin", b'{"to":{"token":"X"},"data":1}', 404, "unknown_token"),
        ("admin", b'{"to":{"topic":"x y"},"data":1}', 422, "invalid"),
        ("admin", b'{"to":{"ip":"10.0.0.0/99"},"data":1}', 422, "invalid"),
        ("admin", b'{"to":{"all":true},"data":1,"colour":"red"}', 422, "invalid"),
        ("admin", b'{"to":{"all":true},"data":[1e400]}', 422, "invalid"),
        ("admin", b'{"to":{"all":true},"data":' + b"9" * 5000 + b"}", 422, "invalid"),
        ("admin", b'{"to":{"all":true},"data":"' + b"x" * 300_000 + b'"}', 413, "too_large"),
    ],
)
def test_a_bad_push_is_a_problem_with_its_code(
    push_server: Running, key: str | None, body: bytes, status: int, code: str
) -> None:
    keys = {"admin": push_server.admin_key, "app": push_server.app_key}
    headers = {"Content-Type": "application/json"}
    if key:
        headers["Authorization"] = f"Bearer {keys.get(key, key)}"
    request = urllib.request.Request(f"{push_server.http_url}/v1/push", body, headers)
    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(request, timeout=DEADLINE_SECONDS)
    problem = json.loads(raised.value.read())
    assert raised.value.code == status
    assert raised.value.headers["Content-Type"] == "application/problem+json"
    assert (problem["code"], problem["type"].endswith(f"/errors/{code}")) == (code, True)


def test_a_thousand_devices_each_get_a_push_to_all_exactly_once(push_server: Running) -> None:
    fleet = Fleet(push_server.tcp_address, 1000)
    fleet.connect(push_server.app_key)
    Api(push_server).post("/v1/push", {"to": {"all": True}, "data": "everyone"})
    fleet.receive_and_acknowledge(1000, DEADLINE_SECONDS)
    Api(push_server).post("/v1/push", {"to": {"all": True}, "data": "again"})
    fleet.receive_and_acknowledge(1000, DEADLINE_SECONDS)
    assert set(fleet.counts()) == {2}
    fleet.close()


def test_nothing_of_all_this_was_logged_as_a_traceback(push_server: Running) -> None:
    assert "Traceback" not in push_server.log.read_text()
