"""docs/webhooks.md: its receivers are run, its tables compared with the code."""

from __future__ import annotations

import http.client
import os
import re
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from push.daemons.config.loading import load
from push.webhooks.signing import new_secret, signed_headers
from push.wire import defaults
from push.wire.api.operate.webhooks import WEBHOOK_TYPES
from tests.ports import free_port
from tests.waiting import DEADLINE_SECONDS, wait_for
from tests.web.tools import installed, node

TEXT = (Path(__file__).parents[2] / "docs" / "webhooks.md").read_text("utf-8")
EVENT = b'{"type":"chat.message","timestamp":"2026-11-29T21:00:00Z","seq":1,"source":"x","data":{}}'


def block(language: str) -> str:
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.S | re.M)
    return str(found)


class Running:
    """A receiver of the page, as a process."""

    def __init__(self, command: list[str], folder: Path) -> None:
        self.secret = new_secret()
        self._port = free_port()
        self._process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, "WEBHOOK_SECRET": self.secret, "PORT": str(self._port)},
            stdout=subprocess.PIPE,
            text=True,
        )
        wait_for(self._answers, "the receiver listens")

    def _answers(self) -> bool:
        try:
            return self.post({}) == 401
        except OSError:
            return False

    def post(self, headers: dict[str, str], body: bytes = EVENT) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=DEADLINE_SECONDS)
        try:
            connection.request("POST", "/push", body, headers)
            return connection.getresponse().status
        finally:
            connection.close()

    def end(self) -> str:
        """What it has printed. May be called twice."""
        if self._process.stdout is None or self._process.stdout.closed:
            return ""
        self._process.kill()
        printed, _ = self._process.communicate()
        return printed


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Callable[[str], Running]]:
    """`receiver("python")`, `receiver("javascript")`: the one of the page."""
    made: list[Running] = []

    def make(language: str) -> Running:
        if language == "python":
            program, command = tmp_path / "receiver.py", [sys.executable, "receiver.py"]
        else:
            program, command = tmp_path / "receiver.mjs", [node(), "receiver.mjs"]
            (tmp_path / "node_modules").symlink_to(installed("standardwebhooks").parent)
        program.write_text(block(language))
        made.append(Running(command, tmp_path))
        return made[-1]

    yield make
    for running in made:
        running.end()


@pytest.mark.parametrize("language", ["python", "javascript"])
def test_the_receiver_takes_what_is_signed_once_and_nothing_else(
    receiver: Callable[[str], Running], language: str
) -> None:
    """The reference libraries verify our signatures, also beside another one."""
    running = receiver(language)
    now_s = int(time.time())
    good = signed_headers("evt_1_0", now_s, EVENT, [new_secret(), running.secret])
    assert running.post(good) == 204
    assert running.post(good) == 204
    assert running.post(good, EVENT.replace(b"1", b"2")) == 401
    assert running.post(signed_headers("evt_2_0", now_s, EVENT, [new_secret()])) == 401
    assert running.post(signed_headers("evt_3_0", now_s - 3600, EVENT, [running.secret])) == 401
    assert running.end() == "chat.message 1 {}\n"


def test_the_table_has_every_type() -> None:
    table = TEXT.split("| type | when |", 1)[1].split("\n\n", 1)[0]
    assert sorted(re.findall(r"^\| `([a-z.]+)` \|", table, re.M)) == sorted(WEBHOOK_TYPES)


def test_the_example_of_the_configuration_is_one(tmp_path: Path) -> None:
    file = tmp_path / "push.toml"
    file.write_text(block("toml"))
    (endpoint,) = load(config_file=str(file)).webhooks.endpoints
    assert endpoint.id == tomllib.loads(block("toml"))["webhooks"]["endpoints"][0]["name"]


def test_the_figures_are_the_defaults() -> None:
    assert f"`[webhooks] max_waiting` ({defaults.WEBHOOKS_MAX_WAITING:,})" in TEXT
    assert f"`[webhooks] max_age` ({defaults.WEBHOOKS_MAX_AGE_SECONDS // 86_400} days)" in TEXT
    assert f"`[webhooks] offline_after` ({defaults.WEBHOOKS_OFFLINE_AFTER_SECONDS} s)" in TEXT
    assert defaults.WEBHOOKS_RETRIES_SECONDS == (5, 300, 1800, 7200, 18_000, 36_000, 36_000)
    assert "5 s, 5 min, 30 min,\n2 h, 5 h, 10 h and 10 h" in TEXT
