"""Topics as a user has them: an API and two connectors as processes, curl and pushctl."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from benchmarks.running import Running, start_process, started_server, wait_until_ready
from tests import warm
from tests.waiting import DEADLINE_SECONDS, wait_for


class Cluster:
    """An API and two connectors. `curl` and `pushctl` are run as processes."""

    def __init__(self, api: Running, connectors: list[Running], folder: Path) -> None:
        self.connectors = connectors
        self._api = api
        self._folder = folder

    def curl(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        command = ["curl", "-sS", "-m", "10", "-X", method, "-w", "\n%{http_code}"]
        command += ["-H", f"Authorization: Bearer {self._api.admin_key}"]
        if body is not None:
            command += ["-H", "Content-Type: application/json", "-d", json.dumps(body)]
        command.append(self._api.http_url + path)
        out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        text, _, status = out.rpartition("\n")
        return int(status), json.loads(text) if text.strip() else None

    def push(self, topic: str, data: Any, **more: Any) -> dict[str, Any]:
        status, answer = self.curl(
            "POST", "/v1/push", {"to": {"topic": topic}, "data": data, **more}
        )
        assert status == 202, answer
        return dict(answer)

    def pushctl(self, *arguments: str) -> str:
        done = subprocess.run(
            [warm.commands() / "pushctl", *arguments],
            cwd=self._folder,
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=DEADLINE_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def listen(self, name: str, connector: int, count: int) -> subprocess.Popen[str]:
        """A device in a terminal, until it has `count` messages."""
        host, port = self.connectors[connector].tcp_address
        command = [warm.commands() / "pushctl", "listen", "--credentials", f"{name}.json", "--json"]
        command += ["--server", f"tcp://{host}:{port}", "--count", str(count)]
        command += ["--timeout", str(DEADLINE_SECONDS)]
        return subprocess.Popen(
            command,
            cwd=self._folder,
            env=self._environment(),
            stdout=subprocess.PIPE,
            text=True,
        )

    def wait_for_sessions(self, topic: str, count: int) -> None:
        """Until so many live sessions follow the topic."""
        path = f"/v1/connections?topic={topic}"
        wait_for(lambda: len(self.curl("GET", path)[1]["connections"]) == count)

    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "PUSH_URL": self._api.http_url,
            "PUSH_KEY": self._api.admin_key,
        }


@pytest.fixture(params=[1, 2])
def cluster(
    request: pytest.FixtureRequest, make_redis: Callable[..., Any], tmp_path: Path
) -> Iterator[Cluster]:
    """On one Redis server, and on two."""
    urls = [make_redis().url for _ in range(request.param)]
    settings = {"redis_url": json.dumps(urls), "connector_admin": "127.0.0.1:0"}
    data = tmp_path / "data"
    with ExitStack() as stack:

        def start(tap: str, **more: str) -> Running:
            return stack.enter_context(started_server(tap, data, **settings, **more))

        api = start("push-api")
        connectors = [start("push-connector", server_node=f"c{n}") for n in (1, 2)]
        start_of_sub = start("push-sub")
        cluster = Cluster(api, connectors, tmp_path)
        for name in ("anna", "ben"):
            cluster.pushctl(
                "register", "--credentials", f"{name}.json", "--url", start_of_sub.http_url
            )
        yield cluster


def numbers(output: str) -> list[Any]:
    return [json.loads(line)["data"] for line in output.splitlines()]


def test_devices_on_two_connectors_follow_a_topic(cluster: Cluster) -> None:
    cluster.pushctl("subscribe", "news", "--credentials", "anna.json")
    listeners = [cluster.listen("anna", 0, 4), cluster.listen("ben", 1, 4)]
    cluster.wait_for_sessions("news", 1)
    cluster.pushctl("subscribe", "news", "--credentials", "ben.json")
    cluster.wait_for_sessions("news", 2)  # at once: it is not connected anew
    assert cluster.pushctl("topics") == "TOPIC  DEVICES\nnews   2\n"

    sent = [cluster.push("news", n) for n in range(4)]

    outputs = [listener.communicate(timeout=DEADLINE_SECONDS)[0] for listener in listeners]
    assert [numbers(output) for output in outputs] == [[0, 1, 2, 3]] * 2
    assert [answer["online"] for answer in sent] == [1] * 4  # one stream, which is followed
    path = f"/v1/messages/{sent[3]['id']}"
    wait_for(lambda: cluster.curl("GET", path)[1]["acknowledged"] == 2)

    # Both are away now. One leaves, the other gets what it missed at the other connector.
    cluster.push("news", "for both")
    cluster.pushctl("unsubscribe", "news", "--credentials", "ben.json")
    last = cluster.push("news", "for anna")
    assert cluster.curl("GET", f"/v1/messages/{last['id']}")[1]["addressed"] == 1
    output, _ = cluster.listen("anna", 1, 2).communicate(timeout=DEADLINE_SECONDS)
    assert numbers(output) == ["for both", "for anna"]
    token = json.loads((cluster._folder / "ben.json").read_text())["token"]
    status, shown = cluster.curl("GET", f"/v1/devices/{token}")
    assert (status, shown["topics"], shown["backlog"]) == (200, [], 0)


def test_a_killed_server_has_the_subscription_at_its_next_start(tmp_path: Path) -> None:
    """SIGKILL loses neither a subscription that was answered, nor what was pushed then."""
    data, log = tmp_path / "data", tmp_path / "log"
    process = start_process("push", data, log, {})
    running = wait_until_ready(process, log, data)
    first = Cluster(running, [running], tmp_path)
    first.pushctl("register", "--credentials", "anna.json")
    first.pushctl("subscribe", "news", "--credentials", "anna.json")
    first.push("news", 1)
    process.kill()
    process.wait(DEADLINE_SECONDS)

    with started_server("push", data) as running:
        second = Cluster(running, [running], tmp_path)
        assert second.pushctl("topics") == "TOPIC  DEVICES\nnews   1\n"
        second.push("news", 2)
        output, _ = second.listen("anna", 0, 2).communicate(timeout=DEADLINE_SECONDS)
        assert numbers(output) == [1, 2]
