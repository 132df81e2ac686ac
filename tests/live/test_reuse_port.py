"""Several connectors on one port of one machine, as real processes on one Redis."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import RedisServer
from tests.faults.processes import Daemon
from tests.faults.raw import RawDevice
from tests.waiting import wait_for

MakeDaemon = Callable[..., Daemon]
# All on one of two instances: once in 2^31.
DEVICES = 32


@pytest.fixture
def make_daemon(tmp_path: Path, make_redis: Callable[..., RedisServer]) -> Iterator[MakeDaemon]:
    """`make_daemon("push-connector", "one", …settings)`: not started yet, ended with the test."""
    redis = make_redis()
    daemons: list[Daemon] = []

    def make(tap: str, name: str, folder: Path = tmp_path, **settings: str) -> Daemon:
        folder.mkdir(exist_ok=True)
        daemons.append(Daemon(tap, name, folder, {"redis_url": redis.url, **settings}))
        return daemons[-1]

    yield make
    for daemon in daemons:
        daemon.stop()


def start(*daemons: Daemon) -> None:
    for daemon in daemons:
        daemon.begin()
    for daemon in daemons:
        daemon.wait_for_line("] ready")


def sharing(port: int) -> dict[str, str]:
    return {"server_reuse_port": "true", "connector_tcp": f"127.0.0.1:{port}"}


def refusal(daemon: Daemon) -> str:
    """What a daemon that does not start says in its log (its standard error is nowhere)."""
    daemon.begin()
    wait_for(lambda: not daemon.running, lambda: f"{daemon.name} ends\n{daemon.log_text()}")
    lines = [line for line in daemon.log_text().splitlines() if "#critical]" in line]
    assert len(lines) == 1, daemon.log_text()
    assert "Traceback" not in daemon.log_text()
    return lines[0].split("] ", 1)[1]


def key(tmp_path: Path, name: str) -> str:
    return (tmp_path / "data" / f"{name}.key").read_text().strip()


def test_two_connectors_serve_one_port_and_one_goes_on_without_the_other(
    make_daemon: MakeDaemon, shared_port: int, tmp_path: Path
) -> None:
    url = f"tcp://127.0.0.1:{shared_port}"
    one = make_daemon("push-connector", "one", **sharing(shared_port))
    two = make_daemon("push-connector", "two", **sharing(shared_port))
    api, sub = make_daemon("push-api", "api"), make_daemon("push-sub", "sub")
    start(one, two, api, sub)

    devices = [RawDevice(shared_port) for _ in range(DEVICES)]
    pairs = [device.register(key(tmp_path, "app")) for device in devices]
    for device, pair in zip(devices, pairs, strict=True):
        device.begin_connect(pair)
        device.end_connect()
    sessions = [daemon.metric("push_connector_sessions") for daemon in (one, two)]
    assert sum(sessions) == DEVICES
    assert all(sessions), sessions

    def seen() -> dict[str, int]:
        _, stats = api.get("/v1/stats", key(tmp_path, "admin"))
        rows = [row for row in stats["nodes"] if row["service"] == "push-connector"]
        return {row["instance"]: row["sessions"] for row in rows}

    wait_for(
        lambda: seen() == {"one": sessions[0], "two": sessions[1]}, lambda: f"both known: {seen()}"
    )
    assert sub.get("/v1/servers", key(tmp_path, "app"))[1]["servers"] == [url]

    one.kill()
    for pair in pairs:
        again = RawDevice(shared_port)
        again.begin_connect(pair)
        again.end_connect()
        devices.append(again)
    wait_for(lambda: two.metric("push_connector_sessions") == DEVICES, "all are on the other")
    wait_for(lambda: list(seen()) == ["two"], lambda: f"one is gone: {seen()}")
    assert sub.get("/v1/servers", key(tmp_path, "app"))[1]["servers"] == [url]
    for device in devices:
        device.close()


def test_an_instance_that_drains_leaves_the_port_to_the_others(
    make_daemon: MakeDaemon, shared_port: int, tmp_path: Path
) -> None:
    """Its devices are told the same address, and come to the other one there."""
    one = make_daemon("push-connector", "one", **sharing(shared_port), connector_drain_rate="4")
    two = make_daemon("push-connector", "two", **sharing(shared_port))
    start(one, two)
    devices = [RawDevice(shared_port) for _ in range(DEVICES)]
    pairs = [device.register(key(tmp_path, "app")) for device in devices]
    for device, pair in zip(devices, pairs, strict=True):
        device.begin_connect(pair)
        device.end_connect()
    assert one.metric("push_connector_sessions") > 2
    wait_for(lambda: "push_connector_sessions 0" not in two.get("/metrics")[1], "both have some")
    os.kill(one.pid, signal.SIGTERM)
    one.wait_for_line(f"Port {shared_port} Closed")
    for pair in pairs:  # while the others of the first are still waiting for their turn
        again = RawDevice(shared_port)
        again.begin_connect(pair)
        again.end_connect()
        devices.append(again)
    wait_for(lambda: two.metric("push_connector_sessions") == DEVICES, "all are on the other")
    wait_for(lambda: not one.running, "the drained one ends")
    for device in devices:
        device.close()


def test_without_a_name_each_start_has_its_own(
    make_daemon: MakeDaemon, shared_port: int, tmp_path: Path
) -> None:
    settings = {**sharing(shared_port), "server_node": ""}
    one = make_daemon("push-connector", "one", **settings)
    two = make_daemon("push-connector", "two", **settings)
    api = make_daemon("push-api", "api")
    start(one, two, api)
    _, stats = api.get("/v1/stats", key(tmp_path, "admin"))
    names = {row["instance"] for row in stats["nodes"] if row["service"] == "push-connector"}
    assert len(names) == 2
    assert all(name.startswith(f"{socket.gethostname()}-") for name in names)


def test_http_and_admin_ports_are_shared_too(make_daemon: MakeDaemon, shared_port: int) -> None:
    settings = {"server_reuse_port": "true", "http_listen": f"127.0.0.1:{shared_port}"}
    start(
        make_daemon("push-api", "one", **settings),
        make_daemon("push-api", "two", **settings),
    )


def test_a_second_start_of_one_name_is_refused(make_daemon: MakeDaemon, shared_port: int) -> None:
    """And the name is free again after a kill, as soon as the lease of the killed one lapsed."""
    first = make_daemon("push-connector", "one", **sharing(shared_port))
    second = make_daemon("push-connector", "one", **sharing(shared_port))
    start(first)
    assert refusal(second) == (
        "twistd push-connector: the name 'one' is in use by another push-connector on this machine "
        f"(process {first.pid}); give each instance a name of its own: --server-node"
    )
    first.kill()
    start(second)


def test_a_second_start_elsewhere_is_not_ready_until_the_first_ends(
    make_daemon: MakeDaemon, shared_port: int, tmp_path: Path
) -> None:
    """With another data folder only the registry knows."""
    first = make_daemon("push-connector", "one", **sharing(shared_port))
    second = make_daemon("push-connector", "one", tmp_path / "other", **sharing(shared_port))
    start(first)
    second.begin()
    second.wait_for_line("the name 'one' is taken: another live push-connector")
    status, answer = second.get("/readyz")
    assert status == 503
    assert answer["detail"].count("the name 'one' is taken") == 1
    first.stop()
    second.wait_for_line("] ready")


def test_a_port_is_not_shared_with_one_who_does_not_ask_for_it(make_daemon: MakeDaemon) -> None:
    alone = make_daemon("push-connector", "alone")
    start(alone)
    address = f"127.0.0.1:{alone.device_port}"
    other = make_daemon("push-connector", "other", **sharing(alone.device_port))
    assert refusal(other) == (
        f"twistd push-connector: cannot listen on {address}: Address already in use by a "
        "process that does not share it (--reuse-port, the same user). "
        "Free the port or set [connector] tcp"
    )
    plain = make_daemon("push-connector", "plain", connector_tcp=address)
    assert refusal(plain) == (
        f"twistd push-connector: cannot listen on {address}: Address already in use. "
        "Free the port or set [connector] tcp"
    )


def test_the_embedded_redis_shares_no_port(make_daemon: MakeDaemon, tmp_path: Path) -> None:
    """Two of `twistd push` would be two worlds behind one port."""
    settings = {"redis_url": "embedded", "server_reuse_port": "true"}
    first = make_daemon("push", "one", **settings)
    start(first)
    assert "reuse_port does nothing with the embedded Redis" in first.log_text()
    settings["connector_tcp"] = f"127.0.0.1:{first.device_port}"
    other = make_daemon("push", "two", tmp_path / "other", **settings)
    assert "Address already in use. Free the port" in refusal(other)
