"""What keys ask for is done in places, of which each key gets one in turn."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from push.http.server import REQUESTS_AT_A_TIME
from tests.http.conftest import Connection, Web, make_request

EXTRA = 3


def asked(web: Web, key: str, data: str) -> Connection:
    connection = web.connect()
    body = {"to": {"all": True}, "data": data}
    connection.send(make_request("POST", "/v1/push", body, key=key))
    return connection


def end(web: Web, *connections: Connection) -> None:
    for connection in connections:
        connection.close()
    web.clock.advance(1)  # nothing waits for a place any more


def test_a_key_does_not_wait_for_all_that_another_asks_for(make_web: Any, behind: Any) -> None:
    web = make_web()
    behind.waiting = Deferred()
    greedy = [asked(web, "admin-key", "greedy") for _ in range(REQUESTS_AT_A_TIME + EXTRA)]
    other = asked(web, "push-key", "other")
    assert behind.calls == REQUESTS_AT_A_TIME

    behind.waiting.callback(None)

    assert [connection.responses()[0].status for connection in (*greedy, other)] == (
        [202] * (REQUESTS_AT_A_TIME + EXTRA + 1)
    )
    order = [bytes(content.data) for _, content in behind.pushed]
    assert order.index(b'"other"') == 1  # it gets the first place that is free
    end(web, *greedy, other)


def test_what_needs_no_key_waits_for_no_place(make_web: Any, behind: Any) -> None:
    web = make_web()
    behind.waiting = Deferred()
    greedy = [asked(web, "admin-key", "greedy") for _ in range(REQUESTS_AT_A_TIME + EXTRA)]
    assert web.request("GET", "/healthz", key=None).status == 200
    behind.waiting.callback(None)
    end(web, *greedy)
