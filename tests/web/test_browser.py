"""`push/web/push.js` in Chromium: pages at the real server's origin, under a strict policy.

The tests are written in JavaScript, in `browser`; here all of them are one test, in one browser.
"""

from __future__ import annotations

from tests.web.servers import WebServer
from tests.web.tools import HERE, run_in_chromium

BROWSER = sorted((HERE / "browser").glob("*.test.mjs"))


def test_in_a_browser(web_server: WebServer) -> None:
    run_in_chromium(*BROWSER, **web_server.variables())
