"""`push/web/push.js` in Node.js: its rules, and all it does against a real server.

The tests are written in JavaScript, in `unit` and `live`; here each file of them is one test.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.web.servers import WebServer
from tests.web.tools import HERE, assert_passed, installed, node, run

UNIT = sorted(path.name for path in (HERE / "unit").glob("*.test.mjs"))
LIVE = sorted(path.name for path in (HERE / "live").glob("*.test.mjs"))
SECONDS = 400


def run_tests(path: Path, **variables: str) -> None:
    output = run(
        # Node 20 has a WebSocket, but not without being asked for it.
        *(node(), "--experimental-websocket", "--test", "--test-reporter=tap", path),
        seconds=SECONDS,
        **variables,
    )
    assert_passed(output)


@pytest.mark.parametrize("name", UNIT)
def test_rules(name: str) -> None:
    run_tests(HERE / "unit" / name)


@pytest.mark.parametrize("name", LIVE)
def test_against_a_server(name: str, web_server: WebServer) -> None:
    library = installed("ws") / "wrapper.mjs"
    run_tests(HERE / "live" / name, PUSH_WS_LIBRARY=str(library), **web_server.variables())


def test_between_two_servers(two_servers: tuple[WebServer, WebServer]) -> None:
    first, second = two_servers
    # The first ends when it has no sessions any more, so the second one's API is asked.
    variables = {
        **second.variables(),
        "PUSH_WS": first.ws_url,
        "PUSH_WS_TWO": second.ws_url,
        "PUSH_HTTP_ONE": first.running.http_url,
    }
    run_tests(HERE / "cluster" / "redirect.test.mjs", **variables)
