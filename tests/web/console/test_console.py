"""The console in headless Chromium, against a real server with real devices; its parts in Node.js.

The tests are written in JavaScript, in `unit` and `browser`; here each file of them is one test.
"""

from __future__ import annotations

import json
import re
import secrets
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import NamedTuple

import pytest

from benchmarks.fleet import Fleet
from benchmarks.running import Running, started_server
from tests.docs.test_plain_english import NOT_USED
from tests.waiting import DEADLINE_SECONDS, wait_for
from tests.web.servers import SETTINGS
from tests.web.tools import ROOT, SCREENSHOTS, installed, node, run, run_in_chromium

HERE = Path(__file__).parent
CONSOLE = ROOT / "push" / "web" / "console"
UNIT = sorted(path.name for path in (HERE / "unit").glob("*.test.mjs"))
BROWSER = sorted((HERE / "browser").glob("*.test.mjs"))
# Keys of texts that are made of a part and a value: t(`state.${state}`), count("became.open", n).
MADE = re.compile(r"`([a-z.-]+)\$\{")


class Receiver:
    """A server that takes webhooks, and fails those of messages."""

    def __init__(self) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(500 if body["type"].startswith("message.") else 204)
                self.end_headers()

            def log_message(self, *args: object) -> None:
                """Nothing: the console shows what came of it."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def settings(self) -> dict[str, str]:
        secret = f"whsec_{b64encode(secrets.token_bytes(32)).decode()}"
        url = f"http://127.0.0.1:{self._server.server_port}/hook"
        return {"webhooks_endpoints": f'[{{name="orders", url="{url}", secret="{secret}"}}]'}

    def __enter__(self) -> Receiver:
        Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class Stage(NamedTuple):
    """A server, and the names of what happened there: see scene.py."""

    running: Running
    names: str


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with Receiver() as receiver, started_server(**SETTINGS, **receiver.settings()) as running:
        output = tmp_path_factory.mktemp("scene") / "output"
        words = (running.http_url, str(running.tcp_address[1]), running.admin_key, running.app_key)
        with output.open("wb") as file:
            scene = subprocess.Popen(
                [sys.executable, "-m", "tests.web.console.scene", *words],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        try:
            wait_for(
                lambda: output.read_text().endswith("}\n") or scene.poll() is not None,
                lambda: output.read_text(),
            )
            assert scene.poll() is None, output.read_text()
            yield Stage(running, output.read_text())
        finally:
            scene.communicate(timeout=DEADLINE_SECONDS)


@pytest.mark.parametrize("name", UNIT)
def test_parts(name: str) -> None:
    run(node(), "--test", "--test-reporter=spec", HERE / "unit" / name)


def test_in_a_browser(stage: Stage) -> None:
    run_browser(stage, *BROWSER)


def test_draining(redis_url: str) -> None:
    """Two nodes, with devices on the one that is drained, slowly."""
    settings = {**SETTINGS, "redis_url": redis_url}
    with (
        started_server(**settings, server_node="one") as first,
        started_server(**settings, server_node="two", connector_drain_rate="4") as second,
    ):
        devices = Fleet(second.tcp_address, 60)
        try:
            devices.connect(second.app_key)
            run_browser(Stage(first, "{}"), HERE / "drain" / "drain.test.mjs")
        finally:
            devices.close()


def run_browser(stage: Stage, *files: Path) -> None:
    run_in_chromium(
        *files,
        pictures=SCREENSHOTS / "console",
        CONSOLE_URL=stage.running.http_url,
        CONSOLE_KEY=stage.running.admin_key,
        CONSOLE_APP_KEY=stage.running.app_key,
        CONSOLE_NAMES=stage.names,
    )


def test_the_types_of_the_console_fit() -> None:
    compiler = installed("typescript") / "bin" / "tsc"
    run(node(), compiler, "--project", HERE / "tsconfig.json")


def texts(language: str) -> dict[str, str]:
    found: dict[str, str] = json.loads((CONSOLE / f"{language}.json").read_text())
    return found


def places(text: str) -> set[str]:
    return set(re.findall(r"\{(\w+)\}", text))


def test_both_languages_have_the_same_texts_with_the_same_places() -> None:
    english, chinese = texts("en"), texts("zh")
    assert english.keys() == chinese.keys()
    differ = {
        # A language that does not tell one from many may leave the number out, or have it in both.
        key
        for key in english
        if places(english[key]) - {"n"} != places(chinese[key]) - {"n"}
    }
    assert differ == set()
    assert all(text.strip() for text in (*english.values(), *chinese.values()))


def test_every_text_is_known_and_used() -> None:
    sources = "\n".join(path.read_text() for path in CONSOLE.rglob("*.js"))
    known = texts("en")
    plain = set(re.findall(r'\bt\(\s*"([a-z][\w.-]*)"', sources))
    counted = set(re.findall(r'\bcount\("([a-z][\w.-]*)"', sources))
    assert plain - known.keys() == set()
    assert {f"{key}.{form}" for key in counted for form in ("one", "other")} - known.keys() == set()
    made = tuple({*MADE.findall(sources), "act."})
    unused = {
        key
        for key in known
        if f'"{key}"' not in sources
        and f'"{key.removesuffix(".one").removesuffix(".other")}"' not in sources
        and not key.startswith(made)
    }
    assert unused == set()


def test_every_reason_has_its_sentence() -> None:
    source = (CONSOLE / "lib" / "why.js").read_text()
    known = texts("en")
    dropped = re.findall(r'"(\w+)"', source.split("const DROPPED = [")[1].split("]")[0])
    listed = source.split("export const REASONS = [")[1].split("];")[0]
    reasons = set(re.findall(r'"(\w+)"', listed)) | {f"dropped_{reason}" for reason in dropped}
    assert {f"why.{reason}" for reason in reasons} <= known.keys()
    assert {f"dropped.{reason}" for reason in dropped} <= known.keys()
    overall = source.split("export const MESSAGE_REASONS = [")[1].split("]")[0]
    for reason in re.findall(r'"(\w+)"', overall):
        assert {f"became-all.{reason}", f"outcome.{reason}"} <= known.keys()


@pytest.mark.parametrize("pattern", sorted(NOT_USED))
def test_english_texts_are_in_plain_english(pattern: str) -> None:
    found = {key: text for key, text in texts("en").items() if re.search(pattern, text, re.I)}
    assert found == {}, NOT_USED[pattern]
