"""A connection while a request of it is answered: what comes then, and whoever goes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from push.http.framework.site import REQUEST_SECONDS
from tests.http.conftest import Behind, MakeWeb, Web, make_request

PUSH = {"to": {"all": True}, "data": 1}
ONE = make_request("POST", "/v1/push", PUSH)
BATCH = make_request("POST", "/v1/push/batch", [PUSH, PUSH])


@pytest.fixture(params=["direct", "ordinary"])
def web(request: Any, make_web: MakeWeb) -> Web:
    made = make_web()
    if request.param == "ordinary":
        made.site.reader.read = lambda *_: None  # type: ignore[attr-defined]
    return made


@pytest.fixture
def held(behind: Behind) -> Deferred[None]:
    """What is behind the routes waits until this fires."""
    behind.waiting = Deferred()
    return behind.waiting


def let_go(web: Web, held: Deferred[None]) -> None:
    web.behind.waiting = None
    held.callback(None)


def test_requests_that_come_meanwhile_wait_and_are_answered_in_order(
    web: Web, held: Deferred[None]
) -> None:
    connection = web.connect()
    for data in (ONE, BATCH, ONE[:30], ONE[30:], BATCH + ONE):
        connection.send(data)
    assert connection.responses() == []
    assert web.behind.calls == 1
    let_go(web, held)
    connection.pass_turns()

    answers = connection.responses()
    assert [answer.status for answer in answers] == [202, 200, 202, 200, 202]
    assert [len(answer.json().get("results", "")) for answer in answers] == [0, 2, 0, 2, 0]
    connection.close()


def test_much_that_comes_meanwhile_is_not_read(web: Web, held: Deferred[None]) -> None:
    connection = web.connect()
    connection.send(ONE)
    count = 0
    while connection.transport.producerState == "producing":
        connection.send(ONE)
        count += 1
        assert count * len(ONE) < 64 * 1024
    let_go(web, held)
    connection.pass_turns()

    assert connection.transport.producerState == "producing"
    assert len(connection.responses()) == count + 1
    connection.close()


def test_a_push_of_a_client_that_has_gone_is_finished(web: Web, held: Deferred[None]) -> None:
    connection = web.connect()
    connection.send(ONE)
    connection.send(ONE)
    connection.close()
    let_go(web, held)
    connection.pass_turns()

    assert len(web.behind.pushed) == 1
    assert connection.transport.value() == b""
    assert web.site.connection_limits.size == 0
    assert web.site.connection_limits.body_bytes == 0


def test_a_request_is_not_ended_while_it_is_answered_but_an_idle_connection_is(
    web: Web, held: Deferred[None]
) -> None:
    connection = web.connect()
    connection.send(ONE)
    web.clock.pump([REQUEST_SECONDS - 1] * 3)
    assert connection.open
    let_go(web, held)
    connection.pass_turns()
    assert len(connection.responses()) == 1
    web.clock.advance(REQUEST_SECONDS - 1)
    assert connection.open
    web.clock.advance(1)
    assert not connection.open


def test_a_client_that_does_not_read_is_counted_and_gets_nothing_more_until_it_does(
    web: Web, held: Deferred[None]
) -> None:
    connection = web.connect()
    connection.send(ONE)
    connection.protocol.pauseProducing()  # the transport's buffer is full
    connection.send(ONE)
    let_go(web, held)
    connection.pass_turns()
    assert len(web.behind.pushed) == 1
    assert web.site.connection_limits.unread_bytes == len(connection.responses()[0].content)
    connection.protocol.resumeProducing()
    connection.pass_turns()

    assert len(connection.responses()) == 2
    assert web.site.connection_limits.unread_bytes == 0
    connection.close()


def test_a_request_waits_for_its_turn_behind_others_of_its_key(web: Web) -> None:
    """The time of a turn is used up: what comes is answered in the next."""
    connection = web.connect()
    connection.send(ONE)
    turns: Any = web.site.turns
    turns._known_left = 0.0
    connection.protocol.dataReceived(BATCH)
    assert len(web.behind.pushed) == 1
    connection.pass_turns()

    assert json.loads(connection.responses()[1].content)["results"]
    connection.close()


def test_a_request_that_cannot_be_answered_ends_its_connection_and_is_logged(
    make_web: MakeWeb, flush_logged_errors: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    web = make_web()
    connection, other = web.connect(), web.connect()

    def fail(data: bytes) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(connection.transport, "write", fail)
    connection.send(ONE)
    assert not connection.open
    assert len(flush_logged_errors(ZeroDivisionError)) == 1
    other.send(ONE)
    assert [answer.status for answer in other.responses()] == [202]
    other.close()
