"""A real daemon behind a load balancer at 127.0.0.1: its settings reach every door."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import ssl
from collections.abc import Iterator
from http.client import HTTPConnection
from typing import Any

import pytest

from benchmarks.running import Running, started_server
from push.wire.frames import FrameDecoder, encode_frame
from push.wire.proxy_header import V2_START
from push.wire.signals import Signal
from tests.waiting import DEADLINE_SECONDS


@pytest.fixture(scope="module")
def daemon() -> Iterator[Running]:
    """One registration a minute from one address."""
    with started_server(
        connector_proxy_protocol='["127.0.0.1"]',
        http_trusted_proxies='["127.0.0.1"]',
        limits_registrations_per_minute="1",
    ) as running:
        yield running


def v1(last: int) -> bytes:
    return f"PROXY TCP4 198.51.100.{last} 192.0.2.1 4711 6789\r\n".encode()


def v2(last: int) -> bytes:
    addresses = bytes([198, 51, 100, last, 192, 0, 2, 1]) + b"\x12\x67\x1a\x85"
    return V2_START + b"\x21\x11\x00\x0c" + addresses


def call(address: tuple[str, int], tls: bool, header: bytes, source: str) -> socket.socket:
    """A connection from `source`; the header goes before the TLS handshake."""
    plain = socket.create_connection(address, DEADLINE_SECONDS, source_address=(source, 0))
    plain.sendall(header)
    if not tls:
        return plain
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(plain)


def register(
    running: Running, carrier: str, header: bytes = b"", source: str = "127.0.0.1", **pair: str
) -> dict[str, Any]:
    tls = carrier == "tls"
    address = running.tls_address if tls else running.tcp_address
    body = {"key": running.app_key, "platform": "p", "app": "a", **pair}
    with call(address, tls, header, source) as connection:
        connection.sendall(encode_frame(Signal.SUB, 0, 1, json.dumps(body).encode()))
        decoder = FrameDecoder(1 << 20)
        while data := connection.recv(65536):
            for frame in decoder.feed(data):
                return dict(json.loads(frame.body))
    return {"closed": True}


def ask(
    running: Running, method: str, path: str, key: str = "", **headers: str
) -> tuple[int, bytes]:
    connection = HTTPConnection(*running.http, timeout=DEADLINE_SECONDS)
    body = json.dumps({"platform": "p", "app": "a"}) if method == "POST" else None
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    if key:
        sent["Authorization"] = f"Bearer {key}"
    if body:
        sent["Content-Type"] = "application/json"
    connection.request(method, path, body, sent)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, content


@pytest.mark.parametrize("carrier", ["tcp", "tls"])
def test_devices_are_told_apart_by_the_header(daemon: Running, carrier: str) -> None:
    first, second, source = {"tcp": (1, 2, "127.0.0.2"), "tls": (3, 4, "127.0.0.3")}[carrier]
    assert "token" in register(daemon, carrier, v1(first))
    assert register(daemon, carrier, v2(first))["code"] == "rate_limited"
    assert "token" in register(daemon, carrier, v2(second))
    assert "token" in register(daemon, carrier, source=source)
    assert register(daemon, carrier, source=source)["code"] == "rate_limited"


def test_http_clients_are_told_apart_by_x_forwarded_for(daemon: Running) -> None:
    def status(forwarded: str) -> int:
        path, key = "/v1/devices", daemon.app_key
        return ask(daemon, "POST", path, key, X_Forwarded_For=forwarded)[0]

    assert status("198.51.100.11") == 201
    assert status("198.51.100.12, 198.51.100.11") == 429
    assert status("198.51.100.11, 127.0.0.1, 198.51.100.12") == 201


def test_loopback_servers_are_told_to_clients_on_loopback_only(daemon: Running) -> None:
    """All that this daemon listens on is loopback; `X-Forwarded-For` says where a client is."""

    def registered(**headers: str) -> list[str]:
        status, content = ask(daemon, "POST", "/v1/devices", daemon.app_key, **headers)
        assert status == 201
        return list(json.loads(content)["servers"])

    def listed(path: str, **headers: str) -> tuple[int, dict[str, Any]]:
        status, content = ask(daemon, "GET", path, daemon.app_key, **headers)
        return status, json.loads(content)

    for far in ("198.51.100.21", "10.0.0.7", "2001:db8:7::1"):
        assert registered(X_Forwarded_For=far) == []
        for path in ("/v1/servers", "/v1/servers?carrier=tls"):
            status, problem = listed(path, X_Forwarded_For=far)
            assert (status, problem["code"]) == (503, "unavailable")
    for near in ("127.0.0.9", "::1"):
        assert len(registered(X_Forwarded_For=near)) == 2
        assert len(listed("/v1/servers", X_Forwarded_For=near)[1]["servers"]) == 2


def test_public_servers_are_told_to_everyone() -> None:
    with started_server(
        connector_public='["tls://localhost:7000"]', http_trusted_proxies='["127.0.0.1"]'
    ) as running:
        status, content = ask(
            running, "GET", "/v1/servers", running.app_key, X_Forwarded_For="198.51.100.7"
        )
    assert (status, json.loads(content)["servers"]) == (200, ["tls://localhost:7000"])


def register_by_http(running: Running, forwarded: str, **pair: str) -> tuple[int, dict[str, Any]]:
    connection = HTTPConnection(*running.http, timeout=DEADLINE_SECONDS)
    headers = {"Content-Type": "application/json", "X-Forwarded-For": forwarded}
    headers["Authorization"] = f"Bearer {running.app_key}"
    body = json.dumps({"platform": "p", "app": "a", **pair})
    connection.request("POST", "/v1/devices", body, headers)
    answer = connection.getresponse()
    content = json.loads(answer.read())
    connection.close()
    return answer.status, content


def test_a_right_secret_is_never_refused_on_either_interface(daemon: Running) -> None:
    address = "198.51.100.31"
    status, pair = register_by_http(daemon, address)
    assert status == 201
    pair = {"token": pair["token"], "secret": pair["secret"]}
    wrong = {**pair, "secret": "x"}
    for _ in range(12):
        assert register_by_http(daemon, address, **wrong)[0] == 429
        assert register(daemon, "tcp", v1(31), **wrong)["code"] == "rate_limited"
    status, again = register_by_http(daemon, address, **pair)
    assert (status, again["token"], again["secret"]) == (201, pair["token"], pair["secret"])
    assert register(daemon, "tcp", v2(31), **pair) == pair


def test_an_ipv6_network_of_64_bits_is_one_address(daemon: Running) -> None:
    assert register_by_http(daemon, "2001:db8:9::1")[0] == 201
    assert register_by_http(daemon, "2001:db8:9::ffff:2")[0] == 429
    assert register_by_http(daemon, "2001:db8:9:1::1")[0] == 201
    assert register_by_http(daemon, "::ffff:198.51.100.41")[0] == 201
    assert register_by_http(daemon, "198.51.100.41")[0] == 429


def test_a_missing_header_is_counted_where_only_a_key_may_look(daemon: Running) -> None:
    nonsense = b"GET / HTTP/1.1\r\n\r\n"
    with (
        call(daemon.tcp_address, False, nonsense, "127.0.0.1") as connection,
        contextlib.suppress(ConnectionResetError),
    ):
        assert connection.recv(100) == b""
    assert ask(daemon, "GET", "/metrics")[0] == 401
    status, content = ask(daemon, "GET", "/metrics", daemon.admin_key)
    assert status == 200
    found = re.search(rb"(?m)^push_connector_bad_proxy_headers_total (\S+)$", content)
    assert found
    assert float(found[1]) == 1
