"""Daemons that deliver webhooks are killed, and so is Redis: nothing is lost, order as promised."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from standardwebhooks import Webhook as Verifier

from push.webhooks.signing import new_secret
from tests.faults.processes import Daemon
from tests.faults.raw import RawDevice
from tests.faults.system import System
from tests.waiting import wait_for

MESSAGES = 60
USERS = 4


class Endpoint:
    """A receiver in a thread. It verifies everything by the reference library."""

    def __init__(self) -> None:
        self.secret = new_secret()
        self.events: list[dict[str, Any]] = []
        self.ids: list[str] = []
        self.refused: list[str] = []
        self.status = 204
        endpoint, verifier = self, Verifier(self.secret)

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                try:
                    event = verifier.verify(body, dict(self.headers.items()))
                except Exception as error:  # what is wrong is seen by the test
                    endpoint.refused.append(repr(error))
                else:
                    endpoint.events.append(event)
                    endpoint.ids.append(self.headers["webhook-id"])
                self.send_response(endpoint.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Nothing is written to the test's output."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def setting(self, *types: str) -> str:
        """`[webhooks] endpoints` with this one."""
        url = f"http://127.0.0.1:{self._server.server_address[1]}/hook"
        wanted = ", ".join(f'"{type}"' for type in types)
        entry = f'{{name = "test", url = "{url}", secret = "{self.secret}", types = [{wanted}]}}'
        return f"[{entry}]"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def first_seqs(self) -> dict[str, list[int]]:
        """By source the events in the order in which they came first."""
        seen: set[str] = set()
        found: dict[str, list[int]] = {}
        for id, event in zip(list(self.ids), list(self.events), strict=False):
            if id not in seen:
                seen.add(id)
                found.setdefault(event["source"], []).append(event["seq"])
        return found


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    made = Endpoint()
    yield made
    made.close()


def deliverers(system: System, count: int, **settings: str) -> list[Daemon]:
    shared = {"redis_url": system.redis.url, **settings}
    made = [
        Daemon("push-webhooks", f"webhooks{number}", system.folder, shared)
        for number in range(count)
    ]
    system.more_processes += made
    for daemon in made:
        daemon.start()
    return made


def say(system: System, number: int) -> int:
    """The status of the answer to a message; each user's are counted alone."""
    body = {"from": "anna", "data": number, "client_id": f"m{number}"}
    path = f"/v1/users/user{number % USERS}/messages"

    def answered() -> int | None:
        status, _ = system.groups[0].post(path, system.admin_key, body)
        return None if status == 503 else status  # until it is connected to Redis again

    return wait_for(answered)


@pytest.mark.parametrize("victim", ["deliverer", "redis"])
def test_nothing_is_lost_and_order_is_kept_when_processes_are_killed(
    make_system: Callable[..., System], endpoint: Endpoint, victim: str
) -> None:
    wanted = {"webhooks_endpoints": endpoint.setting("chat.message")}
    system = make_system(connectors=0, groups=1, **wanted)
    daemons = deliverers(system, 2, **wanted, webhooks_concurrency="2")
    wait_for(lambda: is_wanted(system), "the scripts know what is wanted")
    for number in range(MESSAGES):
        assert say(system, number) == 201
        if number % 20 == 10:
            if victim == "redis":
                system.redis.kill()
                system.redis.start()
            else:
                killed = daemons[number // 20 % 2]
                killed.kill()
                killed.begin()
    wait_for(
        lambda: len(set(endpoint.ids)) == MESSAGES,
        lambda: f"{len(set(endpoint.ids))} of {MESSAGES} events came",
    )
    seqs = endpoint.first_seqs()
    assert len(seqs) == USERS
    assert all(numbers == list(range(1, len(numbers) + 1)) for numbers in seqs.values()), seqs
    assert endpoint.refused == []
    # About once: what was on its way at a kill may come twice.
    assert len(endpoint.ids) <= MESSAGES + 2 * 3 * 2


def is_wanted(system: System) -> bool:
    return b"config-test" in system.redis.call("HGET", "push:webhook-wanted", "chat.message")


def test_the_devices_of_a_killed_connector_are_told_offline(
    make_system: Callable[..., System], endpoint: Endpoint
) -> None:
    wanted = {
        "webhooks_endpoints": endpoint.setting("device.online", "device.offline"),
        "webhooks_offline_after": "1",
    }
    system = make_system(connectors=1, **wanted)
    deliverers(system, 1, **wanted)
    wait_for(lambda: b"1" in system.redis.call("EXISTS", "push:webhook-wanted"))
    pairs = system.register(3)
    devices = []
    for pair in pairs:
        device = RawDevice(system.connectors[0].device_port)
        device.connect(pair)
        devices.append(device)
    wait_for(lambda: len(endpoint.events) == 3, lambda: str(endpoint.events))
    system.connectors[0].kill()
    wait_for(lambda: len(endpoint.events) == 6, lambda: str(endpoint.events))
    told = [(event["type"], event["data"]["token"]) for event in endpoint.events]
    tokens = sorted(pair.token for pair in pairs)
    assert sorted(token for type, token in told if type == "device.online") == tokens
    assert sorted(token for type, token in told if type == "device.offline") == tokens
    for device in devices:
        device.close()


def test_two_processes_deliver_about_once_and_the_api_shows_it(
    make_system: Callable[..., System], endpoint: Endpoint
) -> None:
    wanted = {"webhooks_endpoints": endpoint.setting("chat.message")}
    system = make_system(connectors=0, groups=1, **wanted)
    daemons = deliverers(system, 2, **wanted)
    wait_for(lambda: is_wanted(system), "the scripts know what is wanted")
    for number in range(20):
        assert say(system, number) == 201
    wait_for(lambda: len(endpoint.ids) == 20, lambda: str(len(endpoint.ids)))
    assert len(set(endpoint.ids)) == 20
    status, body = system.api.get("/v1/webhooks/config-test/attempts", system.admin_key)
    assert status == 200
    assert [attempt["status"] for attempt in body["attempts"]] == [204] * 20
    sums = sum(
        float(line.rpartition(" ")[2])
        for daemon in daemons
        for line in daemon.get("/metrics")[1].splitlines()
        if line.startswith('push_webhook_events_total{result="done"}')
    )
    assert sums == 20
