"""The log of a real daemon as lines of JSON, and what it says of its first states."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from benchmarks.running import start_process, twistd
from push.sdk.nio import PushClient
from tests.docs.test_logs_md import log_calls
from tests.waiting import DEADLINE_SECONDS, wait_for


class LoggingDaemon:
    """`twistd push` that logs JSON at the level debug."""

    def __init__(self, folder: Path) -> None:
        self.data, self.log = folder / "data", folder / "log"
        settings = {"server_log": "debug", "server_log_format": "json"}
        self.process = start_process("push", self.data, self.log, settings)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(DEADLINE_SECONDS)

    def lines(self) -> list[dict[str, Any]]:
        """All that are there as a whole; every one must be an object."""
        text = self.log.read_text() if self.log.exists() else ""
        return [json.loads(line) for line in text.split("\n")[:-1]]

    def events(self, name: str) -> list[dict[str, Any]]:
        return [line for line in self.lines() if line["event"] == name]

    def port(self, name: str) -> int:
        (line,) = [line for line in self.events("server.listening") if line["name"] == name]
        return int(line["at"].rpartition(":")[2])

    def key(self, name: str) -> str:
        return (self.data / f"{name}.key").read_text().strip()

    def post(self, path: str, body: Any, key: str) -> tuple[int, Any]:
        connection = HTTPConnection("127.0.0.1", self.port("http"), timeout=DEADLINE_SECONDS)
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        connection.request("POST", path, json.dumps(body), headers)
        answer = connection.getresponse()
        content = json.loads(answer.read())
        connection.close()
        return answer.status, content


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoggingDaemon]:
    running = LoggingDaemon(tmp_path_factory.mktemp("logs"))
    try:
        wait_for(lambda: running.events("server.ready"))
        yield running
    finally:
        running.stop()


def test_first_states_are_logged(daemon: LoggingDaemon) -> None:
    names = {line["event"] for line in daemon.lines()}
    assert names >= {
        "server.starting",
        "server.listening",
        "redis.connected",
        "registry.joined",
        "tls.loaded",
        "memory.limit",
        "server.ready",
    }
    (certificate,) = daemon.events("tls.loaded")
    assert certificate["days"] > 100


def test_a_connection_and_a_push_are_events_with_their_ids(daemon: LoggingDaemon) -> None:
    url = f"tcp://127.0.0.1:{daemon.port('tcp')}"
    admin = daemon.key("admin")
    with PushClient(url, key=daemon.key("app"), platform="p", app="a") as client:
        token = client.register().token
        session = client.wait_connected(timeout=DEADLINE_SECONDS).session
        status, answer = daemon.post("/v1/push", {"to": {"token": token}, "data": 1}, admin)
        assert status == 202
        client.receive(timeout=DEADLINE_SECONDS)
    assert daemon.post("/v1/push", {"to": {"token": token}, "data": 1}, "wrong")[0] == 401

    def of_session(name: str) -> list[dict[str, Any]]:
        return [line for line in daemon.events(name) if line.get("connection") == session]

    wait_for(lambda: of_session("connection.ended"))
    (opened,), (ended,) = of_session("connection.opened"), of_session("connection.ended")
    assert (opened["token"], opened["ip"]) == (token, "127.0.0.1")
    assert (ended["token"], ended["code"]) == (token, "bye")
    (pushed,) = daemon.events("push.accepted")
    assert (pushed["message_id"], pushed["to"], pushed["online"]) == (answer["id"], "token", 1)
    done, refused = daemon.events("http.answered")
    assert (done["route"], done["status"], done["key"]) == ("push", 202, "admin")
    assert (refused["status"], refused.get("key")) == (401, None)


def test_no_line_has_a_secret(daemon: LoggingDaemon) -> None:
    text = daemon.log.read_text()
    assert daemon.key("admin") not in text
    assert daemon.key("app") not in text


def test_every_named_event_is_of_the_document_and_has_its_fields(daemon: LoggingDaemon) -> None:
    fields = {call.event: call.fields for call in log_calls()}
    members = {"ts", "level", "event", "logger", "text", "traceback"}
    for line in daemon.lines():
        assert members - {"traceback"} <= set(line)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["ts"])
        if line["event"] != "other":
            assert set(line) - members <= fields[line["event"]], line


def test_after_a_rotation_it_goes_on_in_a_new_file(daemon: LoggingDaemon) -> None:
    before = daemon.log.with_suffix(".before")
    os.rename(daemon.log, before)
    daemon.process.send_signal(signal.SIGHUP)
    (line,) = wait_for(lambda: daemon.events("reload.done"))
    assert str(daemon.log) in line["what"]
    assert [json.loads(text) for text in before.read_text().splitlines()]


def test_in_the_foreground_nothing_but_objects_is_written(tmp_path: Path) -> None:
    """Where a start with `text` says what to try; `/dev/stdout` is what `twistd -n` logs to."""
    ready_file, said = tmp_path / "ready", tmp_path / "said"
    chosen = {
        "SERVER_DATA": str(tmp_path / "data"),
        "SERVER_LOG_FORMAT": "json",
        "SERVER_READY_FILE": str(ready_file),
        **{f"CONNECTOR_{name}": "127.0.0.1:0" for name in ("TCP", "TLS", "WS", "WSS")},
        "HTTP_LISTEN": "127.0.0.1:0",
    }
    variables = {f"PUSH_{name}": value for name, value in chosen.items()}
    with said.open("wb") as output:
        process = subprocess.Popen(
            [twistd(), "-n", "--pidfile=", "push"],
            env={**os.environ, **variables},
            stdout=output,
        )
    try:
        wait_for(ready_file.exists)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(DEADLINE_SECONDS)
    lines = [json.loads(line) for line in said.read_text().splitlines()]
    assert "server.ready" in [line["event"] for line in lines]
