"""The configurations of docs/loadbalancers.md, run before real daemons.

Only addresses, ports and paths of certificates are others here. On the second machine of the
examples there is a connector and nothing else: a load balancer must find that out.
"""

from __future__ import annotations

import http.client
import json
import re
import shutil
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from push.daemons.config.loading import load
from push.daemons.security.certificate import self_signed
from push.sdk.nio import PushClient
from tests.faults.processes import Daemon, Redis
from tests.faults.system import System
from tests.ports import free_port
from tests.waiting import DEADLINE_SECONDS, wait_for

ROOT = Path(__file__).parents[2]
SAMPLES = {
    "haproxy": ROOT / "etc" / "haproxy" / "haproxy.cfg",
    "nginx": ROOT / "etc" / "nginx" / "nginx.conf",
    "envoy": ROOT / "etc" / "envoy" / "envoy.yaml",
}
# Where .ci/system-packages and Debian have the module for TCP.
STREAM_MODULES = (
    Path("/usr/local/lib/nginx/ngx_stream_module.so"),
    Path("/usr/lib/nginx/modules/ngx_stream_module.so"),
)
# An address of loopback that neither a daemon nor a load balancer has.
CLIENT = "127.0.0.9"
FRONT_PORTS = (443, 6790, 6793)

each_balancer = pytest.mark.parametrize("name", sorted(SAMPLES))


class Balancer(NamedTuple):
    https: int
    tls: int
    wss: int

    def ask(
        self, method: str, path: str, key: str = "", body: Any = None, **headers: str
    ) -> tuple[int, Any, http.client.HTTPMessage]:
        """From `CLIENT`: status, what JSON there is, headers."""
        connection = _connection(self.https)
        try:
            text = None if body is None else json.dumps(body)
            given = {"Content-Type": "application/json", **headers}
            if key:
                given["Authorization"] = f"Bearer {key}"
            connection.request(method, path, text, given)
            answer = connection.getresponse()
            content = answer.read()
            is_json = "json" in answer.headers.get("Content-Type", "")
            return answer.status, json.loads(content) if is_json else content, answer.headers
        finally:
            connection.close()


def _connection(port: int) -> http.client.HTTPSConnection:
    unverified = ssl.create_default_context()
    unverified.check_hostname, unverified.verify_mode = False, ssl.CERT_NONE
    return http.client.HTTPSConnection(
        "127.0.0.1",
        port,
        timeout=DEADLINE_SECONDS,
        source_address=(CLIENT, 0),
        context=unverified,
    )


@pytest.fixture(scope="module")
def all_daemons(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """Two connectors, push-api, push-group and push-sub that believe the load balancer."""
    believe = {"connector_proxy_protocol": '["127.0.0.1"]', "http_trusted_proxies": '["127.0.0.1"]'}
    folder = tmp_path_factory.mktemp("balanced")
    system = System(folder, Redis(), 2, believe, sub=True, groups=1)
    public = json.dumps([f"tls://127.0.0.1:{free_port()}"])  # the load balancer's
    for connector in system.connectors:
        for listener in ("tls", "wss"):
            connector.set(f"connector_{listener}", f"127.0.0.1:{free_port()}")
        connector.set("server_reuse_port", "true")
        connector.set("connector_public", public)
    try:
        system.start()
        yield system
    finally:
        system.end()


@pytest.fixture
def system(all_daemons: System) -> System:
    """The same for all tests. A connector that one of them drained is started again."""
    for connector in all_daemons.connectors:
        if not connector.running:
            connector.begin()
    for connector in all_daemons.connectors:
        connector.wait_for_line("] ready")
    return all_daemons


def adapted(name: str, system: System, folder: Path, front: Balancer) -> str:
    """The sample with the addresses and files of this test."""
    one, two = system.connectors
    assert system.sub is not None
    behind = {
        ("1", "6790"): ("127.0.0.1", _port_of(one, "connector_tls")),
        ("1", "6793"): ("127.0.0.1", _port_of(one, "connector_wss")),
        ("2", "6790"): ("127.0.0.1", _port_of(two, "connector_tls")),
        ("2", "6793"): ("127.0.0.1", _port_of(two, "connector_wss")),
    }
    for port, daemon in (("8080", system.api), ("8081", system.groups[0]), ("8082", system.sub)):
        behind["1", port] = ("127.0.0.1", daemon.http_port)
        behind["2", port] = ("127.0.0.2", daemon.http_port)  # nothing listens there
    text = SAMPLES[name].read_text("utf-8")
    for port, own in zip(("443", "6790", "6793"), front, strict=True):
        text = text.replace(f"bind :{port}", f"bind 127.0.0.1:{own}")
        text = re.sub(rf"listen {port}\b", f"listen 127.0.0.1:{own}", text)
        text = text.replace(
            f"address: 0.0.0.0, port_value: {port}}}", f"address: 127.0.0.1, port_value: {own}}}"
        )
    for between in (":", ", port_value: "):
        text = re.sub(
            rf"10\.0\.1\.([12]){between}(\d+)",
            lambda found, between=between: between.join(map(str, behind[found[1], found[2]])),
            text,
        )
    text = re.sub(r"/etc/(?:haproxy|nginx|envoy)/push", f"{folder}/push", text)
    if name == "nginx":
        module = next((path for path in STREAM_MODULES if path.exists()), None)
        load = f"load_module {module};" if module else ""
        text = re.sub(r"^include /etc/nginx/modules-enabled/.*$", load, text, flags=re.MULTILINE)
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        paths = " ".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
        text = text.replace("http {", f"http {{ {paths} access_log off;")
    return text


def _port_of(connector: Daemon, setting: str) -> int:
    return int(re.findall(r":(\d+)", connector._settings[setting])[-1])


def commands(name: str, config: Path) -> tuple[list[str], list[str]]:
    """What checks the file, and what runs it in the foreground."""
    if name == "haproxy":
        return ["haproxy", "-c", "-f", str(config)], ["haproxy", "-db", "-f", str(config)]
    if name == "nginx":
        given = f"pid {config.parent}/pid; error_log stderr;"
        nginx = ["nginx", "-e", "stderr", "-p", str(config.parent), "-c", str(config), "-g"]
        return [*nginx, given, "-t"], [*nginx, f"{given} daemon off;"]
    envoy = ["envoy", "-c", str(config), "-l", "warning"]
    return [*envoy, "--mode", "validate"], [*envoy, "--use-dynamic-base-id", "--concurrency", "1"]


@contextmanager
def running(name: str, system: System, folder: Path) -> Iterator[Balancer]:
    if shutil.which(name) is None:
        pytest.skip(f"needs {name} (sh .ci/system-packages)")
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = self_signed(key, "push.example.com", days=2).public_bytes(Encoding.PEM)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "push.example.com.key").write_bytes(private)
    (folder / "push.example.com.pem").write_bytes(certificate + private)
    tls = _port_of(system.connectors[0], "connector_public")
    front = Balancer(free_port(), tls, free_port())
    config = folder / SAMPLES[name].name
    config.write_text(adapted(name, system, folder, front))
    check, run = commands(name, config)
    checked = subprocess.run(check, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(run, cwd=folder, stdout=log, stderr=log)
    try:
        wait_for(
            lambda: process.poll() is not None or _ready(front),
            lambda: (folder / "log").read_text(),
        )
        assert process.poll() is None, (folder / "log").read_text()
        yield front
    finally:
        process.terminate()
        process.wait(DEADLINE_SECONDS)


def _ready(front: Balancer) -> bool:
    """Each daemon of HTTP is found, the one that does not answer is not asked any more."""
    paths = ("/readyz", "/v1/groups/none", "/v1/servers")
    try:
        return all(front.ask("GET", path)[0] not in (502, 503, 504) for path in paths)
    except (OSError, http.client.HTTPException):
        return False


@each_balancer
def test_each_path_reaches_its_daemon_and_devices_are_reached(
    name: str, system: System, tmp_path: Path
) -> None:
    with running(name, system, tmp_path) as front:
        pair = registered(front, system)
        _, servers, _ = front.ask("GET", "/v1/servers", system.admin_key)
        assert servers.get("servers") == [f"tls://127.0.0.1:{front.tls}"], servers
        # What a browser asks before it registers.
        asks = {"Origin": "https://127.0.0.1", "Access-Control-Request-Method": "POST"}
        assert front.ask("OPTIONS", "/v1/devices", **asks)[0] < 300
        admin = system.admin_key
        assert front.ask("GET", f"/v1/devices/{pair['token']}", admin)[0] == 200
        assert front.ask("GET", "/v1/users/ada/conversations", admin)[0] == 200
        made = front.ask("POST", "/v1/groups", admin, {"owner": "ada", "name": "Ada's"})
        assert made[0] == 201, made

        with device(front, system, pair) as client:
            client.wait_connected(timeout=DEADLINE_SECONDS)
            push = {"to": {"token": pair["token"]}, "data": {"text": "x" * 2_000}}
            assert front.ask("POST", "/v1/push", admin, push)[0] == 202
            assert client.receive(timeout=DEADLINE_SECONDS).data == push["data"]


@each_balancer
def test_a_device_of_a_connector_that_drains_gets_to_the_other_one(
    name: str, system: System, tmp_path: Path
) -> None:
    with running(name, system, tmp_path) as front:
        pair = registered(front, system)
        with device(front, system, pair) as client:
            before = client.wait_connected(timeout=DEADLINE_SECONDS).node
            (gate,) = (each for each in system.connectors if each.name == before)
            (other,) = (each for each in system.connectors if each.name != before)
            drained = front.ask("POST", f"/v1/nodes/{before}/drain", system.admin_key, {})
            assert drained[0] in (200, 202), drained
            wait_for(lambda: _nodes(system, pair["token"]) == [other.name])
            wait_for(lambda: not gate.running)
            push = {"to": {"token": pair["token"]}, "data": {"text": name}}
            assert front.ask("POST", "/v1/push", system.admin_key, push)[0] == 202
            assert client.receive(timeout=DEADLINE_SECONDS).data == push["data"]


def device(front: Balancer, system: System, pair: dict[str, str]) -> PushClient:
    return PushClient(
        [f"tls://127.0.0.1:{front.tls}"],
        token=pair["token"],
        secret=pair["secret"],
        ca_file=system.folder / "data" / "server.crt",
    )


def _nodes(system: System, token: str) -> list[str]:
    _, body = system.api.get("/v1/connections", system.admin_key)
    return [each["node"] for each in body["connections"] if each["token"] == token]


@each_balancer
def test_the_clients_address_is_known_however_it_lies(
    name: str, system: System, tmp_path: Path
) -> None:
    """Over HTTP, and for a session over TLS that the load balancer does not open."""
    with running(name, system, tmp_path) as front:
        claims = {"X-Forwarded-For": "198.51.100.7"}
        refused = front.ask("GET", f"/v1/stats?{name}", "wrong" * 8, **claims)
        assert refused[0] == 401

        def addresses() -> set[str]:
            _, body = system.api.get("/v1/audit?limit=100", system.admin_key)
            return {entry["ip"] for entry in body["audit"] if entry["status"] == 401}

        wait_for(lambda: CLIENT in addresses())
        assert "198.51.100.7" not in addresses()

        pair = registered(front, system)
        connection = _connection(front.wss)
        try:
            own = {"Push-Token": pair["token"], "Push-Secret": pair["secret"]}
            connection.request("GET", "/v1/stream", headers=own)
            stream = connection.getresponse()  # its socket is closed when nobody has it
            assert stream.status == 200
            wait_for(lambda: _sessions(system, pair["token"]) == [(CLIENT, "sses")])
        finally:
            connection.close()


def registered(front: Balancer, system: System) -> dict[str, str]:
    """Token and secret of a device that is new."""
    app_key = (system.folder / "data" / "app.key").read_text()
    status, pair, _ = front.ask("POST", "/v1/devices", app_key, {"platform": "x", "app": "x"})
    assert status == 201, pair
    found: dict[str, str] = pair
    return found


def _sessions(system: System, token: str) -> list[tuple[str, str]]:
    _, body = system.api.get("/v1/connections", system.admin_key)
    return [(each["ip"], each["carrier"]) for each in body["connections"] if each["token"] == token]


# Without any of the programs


def test_all_three_have_the_same_parts() -> None:
    """Ports in front, servers behind, how long a device may be silent."""
    servers = {
        f"10.0.1.{machine}:{port}" for machine in (1, 2) for port in (6790, 6793, 8080, 8081, 8082)
    }
    fronts: dict[str, Callable[[str], list[str]]] = {
        "haproxy": lambda text: re.findall(r"bind :(\d+)", text),
        "nginx": lambda text: re.findall(r"listen (\d+)", text),
        "envoy": lambda text: re.findall(r"0\.0\.0\.0, port_value: (\d+)", text),
    }
    for name, path in SAMPLES.items():
        text = path.read_text("utf-8")
        assert sorted(map(int, fronts[name](text))) == sorted(FRONT_PORTS), name
        found = re.findall(r"(10\.0\.1\.\d)(?::|, port_value: )(\d+)", text)
        assert {":".join(each) for each in found} == servers, name
        assert ("2100s" if name == "envoy" else "35m") in text
        assert f"/etc/{name}/push.example.com.pem" in text


def test_the_settings_of_the_page_are_those_that_the_files_need(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "loadbalancers.md").read_text("utf-8")
    (text,) = re.findall(r"^```toml\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    config = tmp_path / "push.toml"
    config.write_text(text)
    settings = load(config_file=str(config))
    balancer = settings.connector.proxy_protocol
    assert settings.http.trusted_proxies == balancer
    assert len(balancer) == 1
    for path in SAMPLES.values():
        assert str(path.relative_to(ROOT)) in page


def test_envoys_file_hangs_together() -> None:
    """Each route and listener leads to a cluster that there is; devices' clusters send PROXY."""
    static = yaml.safe_load(SAMPLES["envoy"].read_text("utf-8"))["static_resources"]
    clusters = {each["name"]: each for each in static["clusters"]}
    used = set(re.findall(r"'cluster': '(\w+)'", str(static["listeners"])))
    assert used == set(clusters)
    for name, cluster in clusters.items():
        assert cluster["load_assignment"]["cluster_name"] == name
        sends = "ProxyProtocolUpstreamTransport" in str(cluster.get("transport_socket"))
        assert sends == (name in ("connectors", "websockets"))
        (check,) = cluster["health_checks"]
        assert check.get("http_health_check") == (None if sends else {"path": "/readyz"})
