"""Each example of docs/blocking.md, and those of docs/sdk.md about networks, as they stand."""

from __future__ import annotations

import ast
import asyncio
import inspect
import json
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest

from benchmarks.running import Running, started_server
from push.sdk import aio
from push.sdk.backend import PushAPI, Registration
from tests.waiting import DEADLINE_SECONDS, wait_for

DOCS = Path(__file__).parents[2] / "docs"
JWT_SECRET = "a secret of at least thirty-two bytes"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder: Path = tmp_path_factory.mktemp("documents")
    key_file = folder / "jwt.key"
    key_file.write_text(JWT_SECRET)
    with started_server("push", folder / "data", auth_jwt_key_file=str(key_file)) as running:
        yield running


def blocks_of(page: str, after: str = "") -> list[str]:
    """The Python examples of a page, or of its part that begins with the line `after`."""
    text = (DOCS / page).read_text("utf-8")
    if after:
        text = re.split(r"\n#{2,3} ", text.split(f"\n{after}\n", 1)[1], maxsplit=1)[0]
    return re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


class World:
    """What the examples take for granted, and a server that they talk to."""

    def __init__(self, server: Running) -> None:
        self._server = server
        host, port = server.tcp_address
        self.url = f"tcp://{host}:{port}"
        self.finished = threading.Event()
        self.device = self._new_device()
        self.names: dict[str, Any] = {
            "servers": [self.url],
            "token": self.device.token,
            "secret": self.device.secret,
            "app_key": server.app_key,
            "make_jwt": self._make_jwt,
            "finished": self.finished,
        }

    def _new_device(self) -> Registration:
        with PushAPI(self._server.http_url, self._server.app_key) as api:
            return api.register_device("linux", "documents")

    @staticmethod
    def _make_jwt() -> str:
        claims = {"sub": "ada", "aud": "push", "exp": int(time.time() + 600)}
        return jwt.encode(claims, JWT_SECRET, "HS256")

    def push(self, *data: object) -> None:
        with PushAPI(self._server.http_url, self._server.admin_key) as api:
            for each in data:
                api.push(to={"token": self.device.token}, data=each)

    def run(self, block: str) -> None:
        code = block.replace("tls://push.example:6790", self.url)
        code = code.replace("01JGZ…", self.device.token).replace('"…"', repr(self.device.secret))
        exec(compile(code, "blocking.md", "exec"), self.names)

    def start(self, block: str) -> threading.Thread:
        thread = threading.Thread(target=self.run, args=(block,))
        thread.start()
        return thread


def said(capsys: pytest.CaptureFixture[str], *parts: str) -> str:
    """Wait until all of it was printed."""
    seen = ""

    def has_all() -> bool:
        nonlocal seen
        seen += capsys.readouterr().out
        return all(part in seen for part in parts)

    wait_for(has_all, lambda: seen)
    return seen


def test_the_examples_of_the_blocking_client(
    server: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    first, waiting, register, chat, threads, fork = blocks_of("blocking.md")
    world = World(server)
    world.push("hello", "world")
    running = world.start(first)
    said(capsys, "hello", "world")
    world.names["client"].close()
    running.join(DEADLINE_SECONDS)
    assert not running.is_alive()

    world.push("for receive")
    world.run(waiting)
    said(capsys, "connected to", "for receive")

    world.run(register)
    said(capsys, "{}")
    assert world.names["credentials"].token != world.device.token

    world.run(chat)
    said(capsys, "1 {'text': 'Tonight at eight?'}", "['ada', 'ben']")

    world.push(*(f"work {n}" for n in range(8)))
    running = world.start(threads)
    said(capsys, *(f"work {n}" for n in range(8)))
    world.finished.set()
    running.join(DEADLINE_SECONDS)
    assert not running.is_alive()

    world.run(fork)
    said(capsys, "the child ended with 0")


def test_the_examples_of_the_heartbeat_and_of_networks(
    server: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    [heartbeat] = blocks_of("sdk.md", "### Heartbeat")
    [check] = blocks_of("sdk.md", "### When the network changes")
    world = World(server)
    names = {**world.names, "PushClient": aio.PushClient}

    async def run(block: str) -> None:
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        running = eval(compile(block, "sdk.md", "exec", flags), names)
        assert inspect.isawaitable(running)
        await running

    async def test() -> None:
        (tmp_path / "heartbeats.json").write_text(json.dumps({"home": 472}))
        async with asyncio.timeout(DEADLINE_SECONDS):
            await run(heartbeat)
        assert json.loads((tmp_path / "heartbeats.json").read_text())["home"] == 472
        assert names["client"].network == "train"
        device = {"token": world.device.token, "secret": world.device.secret}
        async with aio.PushClient([world.url], **device) as client:
            await client.wait_connected()
            names["client"] = client
            await run(check)
            assert names["answered"] is True

    asyncio.run(test())
