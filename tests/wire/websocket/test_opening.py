"""The opening handshake: what is answered, however it comes in pieces."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from push.wire.signals import ConnectStatus, DisconnectCode
from push.wire.websocket.close_codes import close_code
from push.wire.websocket.opening import MAX_HEAD_BYTES, Accepted, Opening, OpeningRules, Refused
from push.wire.websocket.origins import Origins

RULES = OpeningRules(Origins())
KEY = base64.b64encode(b"0123456789abcdef").decode()
HEADERS = {
    "Host": "a.example",
    "Upgrade": "websocket",
    "Connection": "keep-alive, Upgrade",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Protocol": "push.v2",
}


def request(line: str = "GET /ws HTTP/1.1", **changed: str | None) -> bytes:
    headers = {**HEADERS, **{name.replace("_", "-"): text for name, text in changed.items()}}
    lines = [f"{name}: {text}" for name, text in headers.items() if text is not None]
    return "\r\n".join([line, *lines, "", ""]).encode("latin-1")


def fed(data: bytes, piece_bytes: int) -> Accepted | Refused | None:
    opening = Opening(RULES)
    for start in range(0, len(data), piece_bytes):
        result = opening.feed(data[start : start + piece_bytes])
        if result is not None:
            return result
    return None


@pytest.mark.parametrize("piece_bytes", [1, 1000])
def test_another_implementation_accepts_the_answer(piece_bytes: int) -> None:
    client = ClientProtocol(parse_uri("ws://a.example/ws"), subprotocols=[Subprotocol("push.v2")])
    client.send_request(client.connect())
    [asked] = client.data_to_send()
    answer = fed(asked, piece_bytes)
    assert isinstance(answer, Accepted)
    client.receive_data(answer.answer)
    assert client.handshake_exc is None
    assert client.subprotocol == "push.v2"
    assert client.extensions == []


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        (request("GET / HTTP/1.1"), 404),
        (request("GET /ws/ HTTP/1.1"), 404),
        (request("GET /%77s HTTP/1.1"), 404),
        (request("OPTIONS * HTTP/1.1"), 404),
        (request("POST /ws HTTP/1.1"), 400),
        (request("GET /ws HTTP/1.0"), 400),
        (request("GET /ws"), 400),
        (request("GET  /ws HTTP/1.1"), 400),
        (request("GET http://a.example/ HTTP/1.1"), 404),
        (request("GET http://a.example HTTP/1.1"), 404),
        (request("GET http://me@a.example/ws HTTP/1.1"), 400),
        (request("GET ftp://a.example/ws HTTP/1.1"), 404),
        (request("GET /ws HTTP/2.0"), 400),
        (request(Host=None), 400),
        (request(Host="a b"), 400),
        (request(Host="a.example/x"), 400),
        (request(Host="me@a.example"), 400),
        (request(Host="a.example:http"), 400),
        (request(Host="[::1"), 400),
        (request(Host="a.example", host="a.example"), 400),
        (request(Content_Length="5"), 400),
        (request(Transfer_Encoding="chunked"), 400),
        (request(Host="\xff"), 400),
        (request(Upgrade=None), 400),
        (request(Upgrade="h2c"), 400),
        (request(Connection="close"), 400),
        (request(Connection="\xfc"), 400),
        (request(Sec_WebSocket_Version=None), 400),
        (request(Sec_WebSocket_Version="8"), 426),
        (request(Sec_WebSocket_Version="13, 8"), 426),
        (request(Sec_WebSocket_Version="13", sec_websocket_version="8"), 426),
        (request(sec_websocket_key=KEY), 400),
        (request(Sec_WebSocket_Key=None), 400),
        (request(Sec_WebSocket_Key="short"), 400),
        (request(Sec_WebSocket_Key="!" * 24), 400),
        (request(Sec_WebSocket_Protocol=None), 400),
        (request(Sec_WebSocket_Protocol="push.v1, push"), 400),
        (request(Sec_WebSocket_Protocol="\xe4"), 400),
        (request(Origin="https://b.example"), 403),
        (request("GET http://b.example/ws HTTP/1.1", Origin="https://a.example"), 403),
        (request(Host="", Origin="https://a.example"), 403),
        (request(Origin="null"), 403),
        (request(Origin=""), 403),
        (request(Origin="https://a.example", origin="https://a.example"), 403),
        (request(Cookie="x" * MAX_HEAD_BYTES), 431),
        (b"x" * (MAX_HEAD_BYTES + 1), 431),
        (b"\r\n\r\n", 400),
        (b"\xf8", 400),
    ],
)
@pytest.mark.parametrize("piece_bytes", [1, 1 << 20])
def test_what_does_not_fit_is_refused(asked: bytes, status: int, piece_bytes: int) -> None:
    refused = fed(asked, piece_bytes)
    assert isinstance(refused, Refused)
    head, _, body = refused.answer.partition(b"\r\n\r\n")
    assert head.split(b" ")[1] == str(status).encode()
    assert body.decode() == f"{refused.reason}\n"
    assert len(body) <= 200
    assert b"Content-Length: %d" % len(body) in head


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        (request("HEAD /ws HTTP/1.1"), 400),
        (request("HEAD /nothing HTTP/1.1"), 404),
        (request("HEAD /ws HTTP/1.1", Cookie="x" * MAX_HEAD_BYTES), 431),
    ],
)
@pytest.mark.parametrize("piece_bytes", [1, 1 << 20])
def test_the_answer_to_head_has_no_body(asked: bytes, status: int, piece_bytes: int) -> None:
    refused = fed(asked, piece_bytes)
    assert isinstance(refused, Refused)
    head, _, body = refused.answer.partition(b"\r\n\r\n")
    assert head.split(b" ")[1] == str(status).encode()
    assert body == b""
    assert b"Content-Length: %d" % (len(refused.reason) + 1) in head


@pytest.mark.parametrize(
    "asked",
    [
        request("GET http://a.example/ws HTTP/1.1"),
        request("GET wss://a.example:6793/ws?v=1 HTTP/1.1"),
        request(
            "GET http://b.example/ws HTTP/1.1", Host="a.example", Origin="https://b.example:8443"
        ),
        request(Host=""),
        request(Host="a.example:"),
        request(Host="A.Example:6791", Origin="https://a.example"),
        request(Host="[::1]:6791", Origin="http://[::1]:8080"),
        request(Host="xn--bcher-kva.example", Origin="https://xn--bcher-kva.example"),
        request(Upgrade="WebSocket"),
        request(Upgrade="h2c, websocket"),
        request(Upgrade="h2c", upgrade="websocket"),
        request(Connection="Upgrade", connection="keep-alive"),
        request(Sec_WebSocket_Version="13", sec_websocket_version="13"),
        request(Sec_WebSocket_Protocol="chat", sec_websocket_protocol="push.v2"),
        request(Sec_WebSocket_Protocol="chat,push.v2,"),
        request(Content_Length="0"),
    ],
)
def test_whatever_rfc_6455_and_9112_allow_is_accepted(asked: bytes) -> None:
    accepted = Opening(RULES).feed(asked)
    assert isinstance(accepted, Accepted), accepted
    assert accepted.answer.startswith(b"HTTP/1.1 101 ")


def test_another_version_is_told_what_to_upgrade_to() -> None:
    refused = Opening(RULES).feed(request(Sec_WebSocket_Version="8"))
    assert isinstance(refused, Refused)
    for line in (b"Upgrade: websocket", b"Connection: Upgrade", b"Sec-WebSocket-Version: 13"):
        assert b"\r\n" + line + b"\r\n" in refused.answer


def test_what_comes_after_the_request_is_kept() -> None:
    result = Opening(RULES).feed(request() + b"frames")
    assert isinstance(result, Accepted)
    assert result.rest == b"frames"


def test_an_unfinished_request_is_waited_for() -> None:
    assert fed(request()[:-1], 1) is None


@given(st.binary(max_size=300))
def test_whatever_comes_it_is_answered_or_waited_for(noise: bytes) -> None:
    for data in (noise, b"GET /ws HTTP/1.1\r\n" + noise + b"\r\n\r\n", request()[:-2] + noise):
        result = fed(data, 1 << 20)
        assert result is None or isinstance(result, Accepted | Refused)


def test_close_codes_follow_the_list_of_the_contract() -> None:
    expected = ["bye", "taken_over", "kicked", "draining", "heartbeat_timeout", "handshake_timeout"]
    expected += ["bad_frame", "frame_too_large", "rate_limited", "credentials_expired", "internal"]
    assert [code.value for code in DisconnectCode] == expected
    assert [close_code(code) for code in expected] == [1000, *range(4001, 4011)]
    assert close_code("ciao") == 1000
    for status in ConnectStatus:
        assert close_code(status.name) == 4100 + status
