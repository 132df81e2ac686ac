"""`push/web/push.js` in Chromium: pages at the real server's origin, under a strict policy.

The tests are written in JavaScript, in `browser`; here each file of them is one test.
"""

from __future__ import annotations

import pytest

from tests.web.servers import WebServer
from tests.web.test_client import run_tests
from tests.web.tools import HERE, SCREENSHOTS, chromium, installed

BROWSER = sorted(path.name for path in (HERE / "browser").glob("*.test.mjs"))


@pytest.mark.parametrize("name", BROWSER)
def test_in_a_browser(name: str, web_server: WebServer) -> None:
    tools = installed("playwright-core").parents[1]
    run_tests(
        HERE / "browser" / name,
        PUSH_WEB_TOOLS=str(tools),
        PUSH_CHROMIUM=chromium(),
        PUSH_SCREENSHOTS=str(SCREENSHOTS),
        **web_server.variables(),
    )
