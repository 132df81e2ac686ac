"""All connections of a site together: how many, and how many bytes they hold."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from push.access.rate_limits import RefusalCounts
from push.http.edge import connection_limits
from push.http.framework.access import KEYLESS_BODY_BYTES
from push.http.framework.site import REQUEST_SECONDS
from tests.http.conftest import Connection, Web, make_request

PUSH = json.dumps({"to": {"all": True}, "data": 1}).encode()
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
MakeWeb = Callable[..., Web]


def head(length: int, key: str | None = "push-key") -> bytes:
    request = make_request("POST", "/v1/push", b"", key=key)
    return request.replace(b"Content-Length: 0", b"Content-Length: %d" % length)


def statuses(connection: Connection) -> list[int]:
    return [response.status for response in connection.responses()]


@pytest.fixture
def refusals() -> RefusalCounts:
    return RefusalCounts()


def test_health_is_answered_though_all_connections_are_held(
    make_web: MakeWeb, refusals: RefusalCounts
) -> None:
    """They send nothing, or a byte from time to time."""
    web = make_web(max_connections=10, refusals=refusals)
    held = [web.connect() for _ in range(10)]
    for connection in held[5:]:
        connection.send(b"GET /healthz HTTP/1.1\r\n")

    asking = web.connect()
    asking.send(HEALTH)

    assert statuses(asking) == [200]
    assert [connection.open for connection in held] == [False] + [True] * 9
    assert refusals == {connection_limits.CONNECTIONS: 1}
    for connection in (*held, asking):
        connection.close()
    assert web.site.connection_limits.size == 0


def test_a_client_with_a_key_stays_while_there_are_others(make_web: MakeWeb) -> None:
    web = make_web(max_connections=3)
    backend = web.connect()
    backend.send(make_request("POST", "/v1/push", PUSH, key="push-key"))
    strangers = [web.connect() for _ in range(20)]

    assert backend.open
    assert [connection.open for connection in strangers] == [False] * 18 + [True] * 2
    backend.send(make_request("POST", "/v1/push", PUSH, key="push-key"))
    assert statuses(backend) == [202, 202]
    for connection in (backend, *strangers):
        connection.close()


def known(web: Web) -> Connection:
    """One that waits for its client, who has shown the key of a backend."""
    connection = web.connect()
    connection.send(make_request("POST", "/v1/push", PUSH, key="push-key"))
    assert statuses(connection) == [202]
    return connection


def test_a_newcomer_is_not_ended_for_the_next_one_where_all_others_are_known(
    make_web: MakeWeb,
) -> None:
    """Else nobody would get in: several are accepted before the first of them is read."""
    web = make_web(max_connections=16)  # two for strangers
    backends = [known(web) for _ in range(16)]
    newcomers = [web.connect() for _ in range(4)]
    assert [connection.open for connection in backends] == [False] * 3 + [True] * 13
    assert [connection.open for connection in newcomers] == [False, True, True, True]
    newcomers[1].send(HEALTH)
    assert statuses(newcomers[1]) == [200]
    for connection in (*backends, *newcomers):
        connection.close()


def test_strangers_whose_requests_take_long_do_not_keep_others_away(make_web: MakeWeb) -> None:
    """As when Redis does not answer."""
    web = make_web(max_connections=16)
    backend = known(web)
    web.behind.waiting = Deferred()
    body = json.dumps({"platform": "x", "app": "x"}).encode()
    registering = [web.connect() for _ in range(15)]
    for connection in registering:
        connection.send(make_request("POST", "/v1/devices", body, key="app-key"))
    asking = web.connect()
    asking.send(HEALTH)
    assert statuses(asking) == [200]
    assert backend.open
    assert [connection.open for connection in registering] == [False] + [True] * 14
    web.behind.waiting.callback(None)
    assert [statuses(connection) for connection in registering[1:]] == [[201]] * 14
    for connection in (backend, asking, *registering):
        connection.close()
    assert web.site.connection_limits.size == 0


def test_health_is_answered_though_all_connections_are_at_work(make_web: MakeWeb) -> None:
    """A few more are taken than there may be, and of these one goes for the next."""
    web = make_web(max_connections=16)
    web.behind.waiting = Deferred()
    busy = [web.connect() for _ in range(16)]
    for connection in busy:
        connection.send(make_request("POST", "/v1/push", PUSH, key="push-key"))
    for _ in range(10):
        asking = web.connect()
        asking.send(HEALTH)
        assert statuses(asking) == [200]
    assert web.site.connection_limits.size == 16 + 1
    web.behind.waiting.callback(None)
    assert [statuses(connection) for connection in busy] == [[202]] * 16
    for connection in (*busy, asking):
        connection.close()


def test_where_all_have_work_the_one_that_only_reads_for_longest_is_ended(
    make_web: MakeWeb,
) -> None:
    web = make_web(max_connections=16)
    web.behind.waiting = Deferred()
    reading = [web.connect() for _ in range(2)]
    for connection in reading:
        connection.send(make_request("GET", "/v1/devices/some", key="read-key"))
    busy = [web.connect() for _ in range(14)]
    for connection in busy:
        connection.send(make_request("POST", "/v1/push", PUSH, key="push-key"))
    asking = web.connect()
    asking.send(HEALTH)
    assert statuses(asking) == [200]
    assert [connection.open for connection in reading] == [False, True]
    web.behind.waiting.callback(None)
    assert [statuses(connection) for connection in busy] == [[202]] * 14
    for connection in (*busy, *reading, asking):
        connection.close()
    assert web.site.connection_limits.size == 0


class Streaming:
    """A connection with a key, whose answer may go on."""

    has_key = True
    is_cut = False

    def cut(self) -> None:
        self.is_cut = True


def test_a_stream_of_events_is_ended_for_nobody(refusals: RefusalCounts) -> None:
    limits = connection_limits.ConnectionLimits(2, refusals)
    streaming, reading = Streaming(), Streaming()
    for client in (streaming, reading):
        limits.join(client)
        limits.note_working(client, b"GET")
    limits.note_streaming(streaming)
    assert limits.has_room()
    assert (streaming.is_cut, reading.is_cut) == (False, True)
    limits.join(Streaming())
    limits.note_waiting(streaming)  # it has ended
    assert limits.has_room()
    assert limits.size == 1


def test_a_request_of_a_backend_that_is_being_answered_is_never_ended_for_another(
    make_web: MakeWeb, refusals: RefusalCounts
) -> None:
    web = make_web(max_connections=2, refusals=refusals)
    web.behind.waiting = Deferred()
    busy = [web.connect() for _ in range(2)]
    for connection in busy:
        connection.send(make_request("POST", "/v1/push", PUSH, key="push-key"))

    assert web.site.buildProtocol(None) is None
    assert refusals == {connection_limits.CONNECTIONS: 1}

    web.behind.waiting.callback(None)
    assert [statuses(connection) for connection in busy] == [[202], [202]]
    for connection in busy:
        connection.close()


def test_without_a_key_a_body_is_small(web: Web) -> None:
    for key in (None, "wrong"):
        for length, refused in ((KEYLESS_BODY_BYTES, False), (KEYLESS_BODY_BYTES + 1, True)):
            connection = web.connect()
            connection.send(head(length, key))
            assert statuses(connection) == ([401] if refused else [])
            connection.close()


def test_without_a_key_a_body_is_small_where_no_key_is_needed(make_web: MakeWeb) -> None:
    web = make_web("sub", open_registration=True)
    connection = web.connect()
    connection.send(
        make_request("POST", "/v1/devices", b"", key=None).replace(
            b"Content-Length: 0", b"Content-Length: %d" % (KEYLESS_BODY_BYTES + 1)
        )
    )
    connection.responses()[0].assert_problem("too_large")
    connection.close()


def test_bodies_are_bounded_in_all(
    make_web: MakeWeb, refusals: RefusalCounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_limits, "MAX_BODY_BYTES_IN_ALL", 1000)
    web = make_web(refusals=refusals)
    one, other = web.connect(), web.connect()
    one.send(head(600))
    other.send(head(600))

    problem = other.responses()[0].assert_problem("unavailable")
    assert "127.0.0.1" not in problem["detail"]
    assert other.responses()[0].headers["retry-after"] == "1"
    assert refusals == {connection_limits.BODIES: 1}
    one.send(PUSH.ljust(600))
    assert statuses(one) == [202]
    # What was answered, and what has gone, is not held any more.
    for connection in (one, web.connect(), web.connect()):
        connection.send(head(900))
        assert statuses(connection)[1:] == []
        connection.close()
    other.close()


def test_strangers_leave_room_for_bodies_of_backends(
    make_web: MakeWeb, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key of an app is in every copy of it: it says nothing about who sends."""
    monkeypatch.setattr(connection_limits, "MAX_BODY_BYTES_IN_ALL", 2000)
    monkeypatch.setattr(connection_limits, "MAX_BODY_BYTES_OF_STRANGERS", 1000)
    web = make_web()
    strangers = [web.connect() for _ in range(3)]
    for connection, size in zip(strangers, (900, 200, 100), strict=True):
        connection.send(head(size, "app-key"))
    assert [statuses(connection) for connection in strangers] == [[], [503], []]

    backends = [web.connect() for _ in range(2)]
    for connection in backends:
        connection.send(make_request("POST", "/v1/push", PUSH, key="push-key"))
        connection.send(head(500))
    assert [statuses(connection) for connection in backends] == [[202], [202]]
    assert web.site.connection_limits.body_bytes == 2000
    for connection in (*strangers, *backends):
        connection.close()
    assert web.site.connection_limits.body_bytes == 0


def stall(connection: Connection) -> None:
    """The client does not read: the transport asks for no more."""
    connection.protocol.pauseProducing()


def test_unread_answers_are_bounded_in_all(
    make_web: MakeWeb, refusals: RefusalCounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    web = make_web(refusals=refusals)
    size = len(web.request("GET", "/docs").content)
    monkeypatch.setattr(connection_limits, "MAX_UNREAD_BYTES_IN_ALL", 3 * size)
    connections = [web.connect() for _ in range(5)]
    for connection in connections:
        stall(connection)
        connection.send(b"GET /docs HTTP/1.1\r\nHost: x\r\n\r\n" * 50)
        assert len(connection.responses()) == 1, "the others wait until it was read"

    assert [connection.open for connection in connections] == [False, False, True, True, True]
    assert refusals == {connection_limits.UNREAD: 2}
    reading = connections[-1]
    reading.protocol.resumeProducing()
    reading.pass_turns()
    assert statuses(reading) == [200] * 50
    for connection in connections:
        connection.close()


def test_unread_answers_of_strangers_go_first(
    make_web: MakeWeb, monkeypatch: pytest.MonkeyPatch
) -> None:
    web = make_web()
    size = len(web.request("GET", "/docs").content)
    monkeypatch.setattr(connection_limits, "MAX_UNREAD_BYTES_IN_ALL", 2 * size)
    backend, *strangers = [web.connect() for _ in range(4)]
    for connection in (backend, *strangers):
        stall(connection)
        key = "push-key" if connection is backend else None
        connection.send(make_request("GET", "/docs", key=key))
    assert [connection.open for connection in (backend, *strangers)] == [True, False, False, True]
    for connection in (backend, *strangers):
        connection.close()


def test_a_client_that_never_reads_is_cut_off(web: Web) -> None:
    connection = web.connect()
    stall(connection)
    connection.send(b"GET /docs HTTP/1.1\r\nHost: x\r\n\r\n")
    web.clock.advance(REQUEST_SECONDS + 10)
    assert not connection.open


def test_pipelined_requests_wait_for_their_turn(web: Web) -> None:
    """Of a connection one is served before others are looked at, whatever came with it."""
    greedy, other = web.connect(), web.connect()
    greedy.protocol.dataReceived(HEALTH * 100)
    other.protocol.dataReceived(HEALTH)

    assert statuses(greedy) == [200]
    other.pass_turns()
    assert statuses(other) == [200]
    assert statuses(greedy) == [200] * 100
    for connection in (greedy, other):
        connection.close()


def test_a_request_that_waits_for_its_turn_is_not_served_to_a_client_that_has_gone(
    web: Web,
) -> None:
    connection = web.connect()
    connection.protocol.dataReceived(make_request("POST", "/v1/push", PUSH) * 2)
    connection.close()
    connection.pass_turns()
    assert len(web.behind.pushed) == 1


def test_turns_are_over_when_all_is_served(web: Web) -> None:
    connection = web.connect()
    connection.send(HEALTH * 20)
    assert web.site.turns.waiting == 0
    connection.close()


def large_batch(count: int, size: int) -> Any:
    return [{"to": {"user": f"u{number}"}, "data": "x" * size} for number in range(count)]


def test_a_large_batch_is_worked_off_in_parts_and_others_are_served(web: Web) -> None:
    connection, other = web.connect(), web.connect()
    items = large_batch(1000, 100)
    connection.protocol.dataReceived(make_request("POST", "/v1/push/batch", items))
    assert 0 < len(web.behind.pushed) < 1000, "the first part"
    other.send(HEALTH)
    connection.pass_turns()

    assert statuses(other) == [200]
    (response,) = connection.responses()
    assert [result["status"] for result in response.json()["results"]] == [202] * 1000
    assert [target.names[0] for target, _ in web.behind.pushed] == [f"u{n}" for n in range(1000)]
    for each in (connection, other):
        each.close()


def test_a_part_of_a_batch_has_a_mebibyte(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    parts: list[int] = []
    push_batch = web.behind.push_batch

    async def noting(items: Any, owner: str) -> Any:
        parts.append(len(items))
        return await push_batch(items, owner)

    monkeypatch.setattr(web.behind, "push_batch", noting)
    web.request("POST", "/v1/push/batch", large_batch(20, 200_000))
    assert parts == [5, 5, 5, 5]


def test_a_batch_of_millions_of_items_is_refused_by_its_first_thousand(web: Web) -> None:
    """The rest is not even looked at: it is no JSON."""
    body = b"[" + b"1," * 1001 + b"}" * 1000
    problem = web.request("POST", "/v1/push/batch", body).assert_problem("invalid")
    assert "1 to 1,000" in problem["detail"]
    web.request("POST", "/v1/push/batch", b"[]").assert_problem("invalid")
    web.request("POST", "/v1/push/batch", b"{}").assert_problem("invalid")
    web.request("POST", "/v1/push/batch", b"[1,").assert_problem("malformed")
    web.request("POST", "/v1/push/batch", b"[" * 100_000).assert_problem("malformed")
    web.request("POST", "/v1/push/batch", b'["\xff"]').assert_problem("malformed")


def test_an_item_that_is_larger_than_any_push_fails_alone(web: Web) -> None:
    good = {"to": {"all": True}, "data": 1}
    results = web.request(
        "POST", "/v1/push/batch", [good, large_batch(1, 2_000_000)[0], good]
    ).json()["results"]
    assert [result["status"] for result in results] == [202, 413, 202]


def test_an_item_that_nests_too_deep_fails_alone(web: Web) -> None:
    good = b'{"to":{"all":true},"data":1}'
    deep = b'{"to":{"all":true},"data":' + b"[" * 40 + b"]" * 40 + b"}"
    results = web.request("POST", "/v1/push/batch", b"[" + deep + b"," + good + b"]").json()
    assert [result["status"] for result in results["results"]] == [400, 202]
