"""TLS as clients see it: `openssl s_client`, `curl` and Python against started daemons."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from benchmarks.hostile.watching import counters
from benchmarks.running import Running, started_server
from push.daemons.config.settings import Connector
from push.daemons.security.certificate import load_server_tls
from push.daemons.security.tls_context import CIPHERS, TLS_1_3_CIPHERS
from push.sdk.backend import PushAPI
from push.wire.frames import FrameDecoder, encode_frame
from push.wire.signals import Signal
from tests import warm
from tests.live.tls import Authority, Client, Pair
from tests.waiting import DEADLINE_SECONDS, wait_for

# Otherwise openssl itself refuses what the server is to refuse.
ANYTHING = "ALL:COMPLEMENTOFALL:@SECLEVEL=0"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"), "server-ca")


@pytest.fixture(scope="module")
def devices(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The CA of devices."""
    return Authority(tmp_path_factory.mktemp("devices"), "device-ca")


@pytest.fixture(scope="module")
def server(authority: Authority) -> Iterator[Running]:
    """TLS for devices and for HTTP, without client certificates."""
    for_devices, for_http = authority.sign("connector"), authority.sign("http", days=5)
    wss = {"connector_wss": "127.0.0.1:0"}
    with started_server(**of_devices(for_devices), **of_http(for_http), **wss) as running:
        yield running


@pytest.fixture(scope="module")
def closed(authority: Authority, devices: Authority) -> Iterator[Running]:
    """For devices with a certificate only, also through a load balancer."""
    with started_server(
        **of_devices(authority.sign("closed")),
        connector_client_ca=str(devices.ca_file),
        connector_proxy_protocol='["127.0.0.1"]',
    ) as running:
        yield running


def of_devices(pair: Pair) -> dict[str, str]:
    return {
        "connector_certificate": str(pair.certificate),
        "connector_private_key": str(pair.key),
    }


def of_http(pair: Pair) -> dict[str, str]:
    return {"http_certificate": str(pair.certificate), "http_private_key": str(pair.key)}


def reload(running: Running) -> str:
    """SIGHUP; the lines that it adds to the log."""
    before = running.log.read_text()
    running.process.send_signal(signal.SIGHUP)

    def added() -> str:
        return running.log.read_text().removeprefix(before)

    wait_for(lambda: "SIGHUP: reloaded" in added())
    return added()


# --- Versions and ciphers -----------------------------------------------------------------------


@pytest.mark.parametrize("port_of", ["tls_address", "wss_address", "http"])
@pytest.mark.parametrize(
    ("version", "is_served"),
    [("-tls1", False), ("-tls1_1", False), ("-tls1_2", True), ("-tls1_3", True)],
)
def test_tls_1_2_and_1_3_are_served_and_nothing_before(
    server: Running, authority: Authority, port_of: str, version: str, is_served: bool
) -> None:
    client = Client(getattr(server, port_of)[1], authority.ca_file)
    connected, said = client.connect(version, "-cipher", ANYTHING)
    assert connected == is_served, said
    if not is_served:
        assert "alert protocol version" in said


def accepted_ciphers(client: Client) -> set[str]:
    """Those of TLS 1.2, each asked for alone. Those that openssl cannot offer are left out."""
    listed = subprocess.run(
        ["openssl", "ciphers", "-tls1_2", "-s", ANYTHING],
        capture_output=True,
        text=True,
        check=True,
        timeout=DEADLINE_SECONDS,
    ).stdout.strip()
    names = [name for name in listed.split(":") if not name.startswith("TLS_")]
    assert len(names) > 50
    assert set(CIPHERS) < set(names)
    return {
        name for name in names if client.connect("-tls1_2", "-cipher", f"{name}:@SECLEVEL=0")[0]
    }


def test_every_cipher_has_forward_secrecy_and_authenticated_encryption(
    server: Running, authority: Authority
) -> None:
    client = Client(server.tls_address[1], authority.ca_file)
    assert accepted_ciphers(client) == {name for name in CIPHERS if "-ECDSA-" in name}
    asked = (*TLS_1_3_CIPHERS, "TLS_AES_128_CCM_SHA256", "TLS_AES_128_CCM_8_SHA256")
    accepted = [name for name in asked if client.connect("-tls1_3", "-ciphersuites", name)[0]]
    assert accepted == list(TLS_1_3_CIPHERS)


def test_with_an_rsa_key_the_ciphers_are_those_of_rsa(authority: Authority) -> None:
    pair = authority.sign("rsa", kind=rsa.RSAPrivateKey)
    with started_server(**of_devices(pair)) as running:
        client = Client(running.tls_address[1], authority.ca_file)
        assert accepted_ciphers(client) == {name for name in CIPHERS if "-RSA-" in name}


# --- Resumption ---------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_a_session_is_resumed_by_its_ticket_until_the_daemon_reloads(
    server: Running, authority: Authority, tmp_path: Path, version: str
) -> None:
    client, ticket = Client(server.tls_address[1], authority.ca_file), tmp_path / "ticket"
    assert "New, TLS" in client.keep_session(ticket, version)
    for _ in range(2):
        # TLS 1.3 lets a ticket be used once; a copy stands for a client that keeps several.
        connected, said = client.connect(version, "-sess_in", str(ticket))
        assert connected
        assert "Reused, TLS" in said
    assert "certificate" in reload(server)
    connected, said = client.connect(version, "-sess_in", str(ticket))
    assert connected
    assert "New, TLS" in said


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_the_session_of_a_client_with_a_certificate_is_resumed(
    closed: Running, authority: Authority, devices: Authority, version: ssl.TLSVersion
) -> None:
    first = Device(closed, authority, devices.sign("resuming"), version=version)
    first.register()  # the ticket comes before the answer
    again = Device(closed, authority, None, version=version, resumed=first)
    assert again.was_resumed
    assert again.register()["code"] == "unauthenticated"


# --- Client certificates ------------------------------------------------------------------------


class Device:
    """A connection for devices through a load balancer, in TLS."""

    def __init__(
        self,
        running: Running,
        authority: Authority,
        pair: Pair | None,
        *,
        version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
        resumed: Device | None = None,
    ) -> None:
        self.context = (
            resumed.context
            if resumed
            else ssl.create_default_context(cafile=str(authority.ca_file))
        )
        self.context.minimum_version = self.context.maximum_version = version
        if pair is not None:
            self.context.load_cert_chain(pair.certificate, pair.key)
        raw = socket.create_connection(running.tls_address, DEADLINE_SECONDS)
        raw.sendall(b"PROXY TCP4 192.0.2.7 127.0.0.1 4000 6790\r\n")
        self._socket = self.context.wrap_socket(
            raw, server_hostname="127.0.0.1", session=resumed and resumed.session
        )
        self.was_resumed = self._socket.session_reused

    @property
    def session(self) -> Any:
        return self._socket.session

    def register(self) -> dict[str, Any]:
        """SUB without a key; the answer."""
        body = json.dumps({"platform": "linux", "app": "test"}).encode()
        self._socket.sendall(encode_frame(Signal.SUB, 0, 1, body))
        decoder = FrameDecoder(1 << 20)
        while True:
            data = self._socket.recv(65536)
            assert data, "the server closed"
            for frame in decoder.feed(data):
                return dict(json.loads(frame.body))


def test_without_a_certificate_of_the_right_ca_the_handshake_fails(
    authority: Authority, devices: Authority, tmp_path: Path
) -> None:
    right, wrong = devices.sign("right"), Authority(tmp_path, "strangers").sign("wrong")
    with started_server(
        **of_devices(authority.sign("direct")),
        connector_client_ca=str(devices.ca_file),
        connector_wss="127.0.0.1:0",
    ) as running:
        assert "alert certificate required" in Client(
            running.wss_address[1], authority.ca_file
        ).until_closed("-tls1_3")
        client = Client(running.tls_address[1], authority.ca_file)
        own = ("-cert", str(right.certificate), "-key", str(right.key))
        others = ("-cert", str(wrong.certificate), "-key", str(wrong.key))
        for version in ("-tls1_2", "-tls1_3"):
            said = client.until_closed(version)
            assert "alert handshake failure" in said or "alert certificate required" in said
            assert "alert unknown ca" in client.until_closed(version, *others)
            connected, said = client.connect(version, *own)
            assert connected
            assert "CN = device-ca" in said.partition("Acceptable client certificate CA")[2]
        refused = 'push_connector_refusals_total{code="client_certificate",request="TLS"}'
        assert counters(running)[refused] == 5
        assert "Traceback" not in running.log.read_text()

        # A reload takes another CA; who was let in by the one before is not any more.
        devices.ca_file.rename(tmp_path / "kept.pem")
        try:
            devices.ca_file.write_bytes((tmp_path / "strangers.pem").read_bytes())
            reload(running)
            assert client.connect("-tls1_3", *others)[0]
            assert "alert unknown ca" in client.until_closed("-tls1_3", *own)
        finally:
            (tmp_path / "kept.pem").rename(devices.ca_file)


def test_a_certificate_admits_and_is_no_credential(
    closed: Running, authority: Authority, devices: Authority
) -> None:
    """Behind a load balancer that passes TLS on; a key is needed as without it."""
    device = Device(closed, authority, devices.sign("device"))
    answer = device.register()
    assert (answer["ok"], answer["code"]) == (False, "unauthenticated")
    with pytest.raises((ssl.SSLError, ConnectionError, AssertionError)):
        Device(closed, authority, None).register()


# --- HTTPS --------------------------------------------------------------------------------------


def curl(url: str, *options: str, ca_file: Path | None = None) -> tuple[int, str]:
    """The status (0: no answer) and the body."""
    trust = ["--cacert", str(ca_file)] if ca_file else []
    ran = subprocess.run(
        ["curl", "-sS", "-w", "\n%{http_code}", *trust, *options, url],
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_SECONDS,
    )
    body, _, status = ran.stdout.rpartition("\n")
    return int(status or 0), body or ran.stderr


def url_of(running: Running, path: str = "", scheme: str = "https") -> str:
    return f"{scheme}://127.0.0.1:{running.http[1]}{path}"


def test_the_http_api_is_served_by_tls_and_not_without(
    server: Running, authority: Authority
) -> None:
    key = f"Authorization: Bearer {server.admin_key}"
    pushed = ("-H", key, "-H", "Content-Type: application/json")
    body = ("-d", '{"to": {"all": true}, "data": 1}')
    status, _ = curl(url_of(server, "/v1/push"), *pushed, *body, ca_file=authority.ca_file)
    assert status == 202
    for path in ("/healthz", "/readyz", "/metrics", "/openapi.json"):
        assert curl(url_of(server, path), ca_file=authority.ca_file)[0] == 200
    status, said = curl(url_of(server, "/healthz"))
    assert (status, "certificate" in said) == (0, True), "nobody trusts the CA by itself"
    assert curl(url_of(server, "/healthz", "http"))[0] == 0
    assert "listening: https " in server.log.read_text()


def test_a_refusal_in_the_middle_of_a_request_is_read_over_tls(
    server: Running, authority: Authority, tmp_path: Path
) -> None:
    """The client is still sending when it comes."""
    large = tmp_path / "large"
    large.write_bytes(b"x" * 40_000_000)
    key = f"Authorization: Bearer {server.admin_key}"
    options = ("-H", key, "-H", "Content-Type: application/json", "-H", "Expect:")
    status, body = curl(
        url_of(server, "/v1/push"),
        *options,
        "--data-binary",
        f"@{large}",
        ca_file=authority.ca_file,
    )
    assert (status, json.loads(body)["code"]) == (413, "too_large")


def test_after_a_refusal_tls_ends_in_order(server: Running, authority: Authority) -> None:
    """Else a client cannot tell the end of the answer from an attack that cuts it off."""
    context = ssl.create_default_context(cafile=str(authority.ca_file))
    raw = socket.create_connection(server.http, DEADLINE_SECONDS)
    with context.wrap_socket(
        raw, server_hostname="127.0.0.1", suppress_ragged_eofs=False
    ) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\n\r\n")  # without a Host
        answer = b""
        while data := connection.recv(65536):
            answer += data
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b'"code":"malformed"' in answer


def test_the_clients_take_a_ca_file(server: Running, authority: Authority) -> None:
    with PushAPI(url_of(server), server.admin_key, ca_file=str(authority.ca_file)) as api:
        assert api.bans().bans == []
    pushctl = warm.commands() / "pushctl"
    trust = ("--ca-file", str(authority.ca_file))
    ran = subprocess.run(
        [pushctl, "--url", url_of(server), *trust, "bans"],
        env={**os.environ, "PUSH_KEY": server.admin_key},
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_SECONDS,
    )
    assert (ran.returncode, ran.stdout) == (0, "no bans\n"), ran.stderr


def test_the_pair_that_a_first_start_made_serves_http_too(tmp_path: Path) -> None:
    """Self-signed: clients trust the certificate itself as their CA file."""
    data = tmp_path / "data"
    load_server_tls(Connector(), data)
    pair = Pair(data / "server.crt", data / "server.key")
    with started_server(data_folder=data, **of_http(pair)) as running:
        with PushAPI(url_of(running), running.admin_key, ca_file=str(pair.certificate)) as api:
            assert api.bans().bans == []
        assert curl(url_of(running, "/readyz"), ca_file=pair.certificate)[0] == 200


def test_pushctl_says_when_the_scheme_is_wrong(server: Running) -> None:
    pushctl = warm.commands() / "pushctl"
    ran = subprocess.run(
        [pushctl, "--url", url_of(server, scheme="http"), "bans"],
        env={**os.environ, "PUSH_KEY": server.admin_key},
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_SECONDS,
    )
    assert ran.returncode == 1
    assert "if it speaks TLS there: use https://" in ran.stderr


def test_a_certificate_that_ends_soon_is_a_note_a_warning_and_a_metric(
    server: Running, authority: Authority
) -> None:
    _, ready = curl(url_of(server, "/readyz"), ca_file=authority.ca_file)
    (note,) = [note for note in json.loads(ready)["notes"] if "certificate" in note]
    assert "of http ends on" in note
    assert "in 4 days" in note
    assert note in server.log.read_text()
    _, metrics = curl(url_of(server, "/metrics"), ca_file=authority.ca_file)
    lines = [line for line in metrics.splitlines() if line.startswith("push_certificate_expiry")]
    ends = {line.split('"')[1]: float(line.split()[-1]) for line in lines}
    assert set(ends) == {"connector", "http"}
    assert ends["connector"] - ends["http"] > 80 * 86_400


def test_a_reload_takes_a_new_certificate_for_http(authority: Authority, tmp_path: Path) -> None:
    pair = authority.sign("changing", days=5)
    with started_server(**of_http(pair)) as running:
        new = Authority(tmp_path, "new-ca")
        made = new.sign("changing")
        pair.certificate.write_bytes(made.certificate.read_bytes())
        assert "is not that of the certificate" in reload(running)
        assert curl(url_of(running, "/healthz"), ca_file=authority.ca_file)[0] == 200
        pair.key.write_bytes(made.key.read_bytes())
        assert str(pair.certificate) in reload(running)
        assert curl(url_of(running, "/healthz"), ca_file=authority.ca_file)[0] == 0
        status, ready = curl(url_of(running, "/readyz"), ca_file=new.ca_file)
        assert status == 200
        assert "certificate" not in ready


# --- Without TLS --------------------------------------------------------------------------------


def test_a_public_listener_without_tls_is_a_note_and_a_warning() -> None:
    with started_server(connector_tcp="0.0.0.0:0", connector_ws="0.0.0.0:0") as running:
        _, ready = curl(url_of(running, "/readyz", "http"))
        notes = [note for note in json.loads(ready)["notes"] if "without TLS" in note]
        assert [note.partition(" is ")[0] for note in notes] == [
            "[connector] tcp = 0.0.0.0:0",
            "[connector] ws = 0.0.0.0:0",
        ]
        assert all(note in running.log.read_text() for note in notes)
