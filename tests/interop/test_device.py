"""A device in Perl, written from docs/protocol.md alone, against two real connectors."""

from __future__ import annotations

import json
import queue
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from benchmarks.running import Running, started_server
from push.sdk.backend import PushAPI
from push.wire.signals import RequestName
from tests.docs.test_minting import mint_by_shell
from tests.docs.test_protocol_md import members
from tests.waiting import DEADLINE_SECONDS, wait_for

SCRIPT = Path(__file__).with_name("device.pl")
Event = dict[str, Any]


class Device:
    """The process: its events, and commands to it."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            ["perl", str(SCRIPT), *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._events: queue.Queue[Event | None] = queue.Queue()
        self._seen: list[Event] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._events.put(json.loads(line))
        self._events.put(None)

    def next(self, name: str) -> Event:
        """The next event of that name; others before it are passed over."""
        while True:
            try:
                event = self._events.get(timeout=DEADLINE_SECONDS)
            except queue.Empty:
                event = None
            assert event is not None, f"no {name!r} came after {self._seen}"
            self._seen.append(event)
            if event["event"] == name:
                return event

    def tell(self, do: str, **more: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"do": do, **more}).encode() + b"\n")
        self.process.stdin.flush()

    def ask(self, request: RequestName, **body: object) -> Event:
        self.tell("publish", sub=request.value, body=body)
        answer = self.next("answer")
        assert answer["value"] == request
        return dict(answer["body"])

    def end(self) -> None:
        self.process.kill()
        self.process.wait(DEADLINE_SECONDS)
        self._reader.join()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()


class World:
    """Two connectors with one certificate and one Redis; `first` is the HTTP interface as well."""

    def __init__(self, folder: Path, redis_url: str, stack: ExitStack) -> None:
        self.jwt_secret = b"a secret of thirty-two bytes, at least"
        (folder / "jwt.secret").write_bytes(self.jwt_secret)
        settings = {
            "redis_url": redis_url,
            "auth_jwt_key_file": str(folder / "jwt.secret"),
            "connector_drain_rate": "1000",
        }
        data = folder / "first"
        self.first = stack.enter_context(
            started_server("push", data, server_node="first", **settings)
        )
        settings["connector_certificate"] = self.ca_file = str(data / "server.crt")
        settings["connector_private_key"] = str(data / "server.key")
        settings["connector_admin"] = ""
        settings["connector_max_connections"] = "1"
        # As a deployment on several machines does it: the same key everywhere.
        (folder / "second").mkdir(mode=0o700)
        shutil.copy(data / "app.key", folder / "second")
        self.second = stack.enter_context(
            started_server("push-connector", folder / "second", server_node="second", **settings)
        )
        self.api = stack.enter_context(PushAPI(self.first.http_url, self.first.admin_key))
        wait_for(lambda: self._connectors() == {"first", "second"}, "the nodes know each other")

    def _connectors(self) -> set[str]:
        return {n["instance"] for n in self.api.nodes() if n["service"] == "push-connector"}

    def url(self, carrier: str, running: Running) -> str:
        host, port = running.tls_address if carrier == "tls" else running.tcp_address
        return f"{carrier}://{host}:{port}"


def _has_perl() -> bool:
    command = ["perl", "-MJSON::PP", "-MIO::Socket::IP", "-e", "1"]
    return bool(shutil.which("perl")) and subprocess.run(command, check=False).returncode == 0


pytestmark = pytest.mark.skipif(not _has_perl(), reason="Perl is not installed (Debian: perl)")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, redis_server: Any) -> Iterator[World]:
    redis_server.ensure_empty()
    with ExitStack() as stack:
        yield World(tmp_path_factory.mktemp("world"), redis_server.url, stack)


@pytest.fixture
def start(world: World, tmp_path: Path) -> Iterator[Callable[..., Device]]:
    """`start(state_name, *servers, jwt="…")`: a device, which registers itself if it is new."""
    devices: list[Device] = []

    def run(name: str, *servers: str, **options: str) -> Device:
        given = {
            "state": str(tmp_path / name),
            "servers": ",".join(servers),
            "ca": world.ca_file,
            "key": world.first.app_key,
            **options,
        }
        device = Device(*(f"{key}={value}" for key, value in given.items()))
        devices.append(device)
        return device

    yield run
    for device in devices:
        device.end()


@pytest.mark.parametrize("carrier", ["tcp", "tls"])
def test_it_registers_acknowledges_and_catches_up(
    world: World, start: Callable[..., Device], carrier: str
) -> None:
    url = world.url(carrier, world.first)
    device = start("device", url)
    token = device.next("registered")["value"]
    assert device.next("accepted")["value"] == url

    pushed = world.api.push(to={"token": token}, data={"n": 1})
    message = device.next("message")
    assert (message["value"], message["body"]["id"]) == ({"n": 1}, pushed.id)
    wait_for(lambda: world.api.message(pushed.id).acknowledged == 1, "it acknowledges")
    device.tell("ping", interval=20)
    assert device.next("pong")["value"] == 20

    # A message that it did not accept comes again on the next connection.
    device.tell("hold")
    device.next("holding")
    held = world.api.push(to={"token": token}, data="held")
    wait_for(lambda: world.api.message(held.id).written == 1, "it was sent")
    device.tell("drop")
    device.next("accepted")
    assert device.next("message")["value"] == "held"
    wait_for(lambda: world.api.message(held.id).acknowledged == 1, "it acknowledges that too")

    # What comes while it does not run waits for it, in order, and nothing else does.
    device.tell("bye")
    device.process.wait(DEADLINE_SECONDS)
    for n in (2, 3):
        world.api.push(to={"token": token}, data=n)
    again = start("device", url)
    again.next("accepted")
    assert [again.next("message")["value"] for _ in range(2)] == [2, 3]


def test_two_users_chat(world: World, start: Callable[..., Device], tmp_path: Path) -> None:
    """Anna is a device that is bound to a user by its JWT; Ben is a user without a device."""
    jwts = {name: mint_by_shell(tmp_path, world.jwt_secret, name) for name in ("anna", "ben")}
    anna = start("anna", world.url("tls", world.first), jwt=jwts["anna"])
    assert anna.next("accepted")["body"]["user"] == "anna"
    ben = start("ben", world.url("tcp", world.second), jwt=jwts["ben"], key="")
    accepted = ben.next("accepted")["body"]
    assert accepted["user"] == "ben"
    assert "user:ben" in accepted["streams"]

    data = {"text": "Tonight?"}
    sent = anna.ask(RequestName.MS, to={"user": "ben"}, data=data, client_id="m-1")
    came = ben.next("message")["body"]
    assert (set(sent), set(came)) == (set(members("chat-sent")), set(members("chat-message")))
    assert (came["kind"], came["from"], came["conversation"]) == ("chat", "anna", "user:anna")
    assert (came["id"], came["seq"], came["data"]) == (
        sent["id"],
        sent["seq"],
        {"text": "Tonight?"},
    )
    ben.ask(RequestName.MRN, conversation="user:anna", read=came["seq"])
    while (receipt := anna.next("message")["body"]).get("kind") != "receipt":
        pass
    assert (receipt["conversation"], receipt["read"]) == ("user:ben", sent["seq"])

    # Without a device Ben keeps his cursors himself, and misses nothing.
    ben.tell("hold")
    ben.next("holding")
    anna.ask(RequestName.MS, to={"user": "ben"}, data="At eight.")
    ben.tell("drop")
    ben.next("accepted")
    while (came := ben.next("message"))["body"].get("kind") == "receipt":
        pass  # for what Ben has read: it may have come while Ben's device acknowledged nothing
    assert came["value"] == "At eight."
    page = ben.ask(RequestName.MP, conversation="user:anna", after=1)
    assert [message["data"] for message in page["messages"]] == ["At eight."]


def test_it_follows_a_redirect_and_leaves_a_connector_that_drains(
    world: World, start: Callable[..., Device]
) -> None:
    """Last: the second connector, which has room for one session, ends with its drain."""
    first, second = (world.url("tls", each) for each in (world.first, world.second))
    wait_for(lambda: list(world.api.each_connection(node="second")) == [], "there is room")
    device = start("device", second, first)
    token = device.next("registered")["value"]
    assert device.next("accepted")["value"] == second

    other = start("other", second)
    other_token = other.next("registered")["value"]
    refusal = other.next("refused")
    assert (refusal["value"], refusal["body"]["servers"]) == (6, [first])
    assert other.next("accepted")["value"] == first
    world.api.push(to={"token": other_token}, data="after the redirect")
    assert other.next("message")["value"] == "after the redirect"

    world.api.drain("second")
    goodbye = device.next("ended")
    assert (goodbye["value"], goodbye["body"]["servers"]) == ("draining", [first])
    assert device.next("accepted")["value"] == first
    world.api.push(to={"token": token}, data="after the drain")
    assert device.next("message")["value"] == "after the drain"
