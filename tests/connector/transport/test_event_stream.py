"""Sessions over server-sent events, on real sockets, with and without TLS."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NamedTuple

import jwt
import msgspec
import pytest
import pytest_twisted

from push.access.ban_table import ActiveBan
from push.connector.limits.connector_limits import ConnectorLimitSettings
from push.connector.transport.event_stream import MAX_UNREAD_BYTES, StreamConnection
from push.pushing.content import PushContent
from push.pushing.service import Push
from push.pushing.targets import Target
from push.wire.codecs.events import NEVER_MS
from push.wire.signals import ConnectStatus, DisconnectCode
from tests.connector.conftest import JWT_SECRET
from tests.connector.stream_client import StreamClient, connect_stream
from tests.waiting import WaitUntil

Make = Callable[..., Awaitable[Any]]


class Pair(NamedTuple):
    token: str
    secret: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Push-Token": self.token, "Push-Secret": self.secret}


def bearer(user: str, *, expires_s: int = 4_000_000_000, **claims: Any) -> dict[str, str]:
    text = jwt.encode({"sub": user, "exp": expires_s, "aud": "push", **claims}, JWT_SECRET)
    return {"Authorization": f"Bearer {text}"}


async def register(node: Any) -> Pair:
    made = await node.devices.register(
        platform="p", app="a", device=None, token=None, secret=None, ip="127.0.0.1"
    )
    return Pair(made.token, made.secret)


@pytest.fixture
def web_node(node: Any) -> Any:
    """A connector that listens for WebSocket, and so serves streams."""
    node.listen(web=True)
    return node


@pytest_twisted.async_yield_fixture
async def stream(node: Any, wait_until: WaitUntil) -> AsyncIterator[Make]:
    """`await stream(headers, "?ack=id")`: a client; it has the head of the answer."""
    clients: list[StreamClient] = []

    async def make(
        headers: dict[str, str],
        query: str = "",
        *,
        on: Any = None,
        tls: Any = None,
        method: str = "GET",
        target: str = "/v1/stream",
    ) -> StreamClient:
        asked = on or node
        client = await connect_stream(asked.reactor, asked.ports[-1].getHost().port, tls)
        clients.append(client)
        client.ask(target + query, headers, method)
        await wait_until(lambda: client.status and (client.status == 200 or client.closed))
        return client

    yield make
    for client in clients:
        client.transport.abortConnection()
    await wait_until(lambda: all(client.closed for client in clients))


async def numbers_of(client: StreamClient, wait_until: WaitUntil, expected: list[Any]) -> None:
    await wait_until(lambda: client.numbers == expected)


async def cursor_of(node: Any, token: str) -> int:
    """The stored cursor in the device's own stream."""
    return int((await node.record(token))[f"c:dev:{token}"])


# --- Events -------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_messages_are_events_and_acknowledged_when_they_were_written(
    web_node: Any, stream: Make, wait_until: WaitUntil
) -> None:
    pair = await register(web_node)
    before = await web_node.push("token", pair.token, data=0)
    client = await stream(pair.headers)
    assert client.headers["content-type"] == "text/event-stream"
    assert client.headers["cache-control"] == "no-store"
    results = [await web_node.push("token", pair.token, data=number) for number in (1, 2)]
    await wait_until(lambda: client.numbers == [0, 1, 2])
    assert [body["id"] for body in client.messages] == [before.id, *(each.id for each in results)]
    ids = [event.last_id for event in client.reader.events]
    assert len(set(ids)) == 3
    assert all(0 < len(id.encode()) <= 64 for id in ids)

    async def are_acknowledged() -> bool:
        message = await web_node.pushing.message(results[-1].id)
        return bool(message.acknowledged == 1)

    await wait_until(are_acknowledged)
    session = next(iter(web_node.gateway.sessions.values()))
    assert session.connection.carrier == "sse"
    assert session.protocol.window.used == 0


@pytest_twisted.ensureDeferred
async def test_what_was_written_does_not_come_again(
    web_node: Any, stream: Make, wait_until: WaitUntil
) -> None:
    pair = await register(web_node)
    client = await stream(pair.headers)
    await web_node.push("token", pair.token, data=1)
    await wait_until(lambda: client.numbers == [1])
    client.transport.loseConnection()
    await wait_until(lambda: not web_node.gateway.sessions)
    again = await stream(pair.headers)
    await web_node.push("token", pair.token, data=2)
    await wait_until(lambda: again.numbers == [2])


@pytest_twisted.ensureDeferred
async def test_qos_0_and_controls_are_events_without_an_id(
    web_node: Any, stream: Make, wait_until: WaitUntil
) -> None:
    pair = await register(web_node)
    client = await stream(pair.headers)
    await web_node.push("token", pair.token, data="stored")
    await wait_until(lambda: client.numbers == ["stored"])
    last_id = client.last_id
    await web_node.push("token", pair.token, data="qos 0", qos=0)
    await web_node.push("token", pair.token, data="ttl 0", ttl_seconds=0)
    await web_node.topics.subscribe("news", pair.token)
    await wait_until(lambda: client.numbers == ["stored", "qos 0", "ttl 0"])
    await wait_until(lambda: client.kinds == ["follow"])
    assert client.last_id == last_id


@pytest_twisted.ensureDeferred
async def test_a_message_in_no_log_is_acknowledged_when_it_was_written(
    web_node: Any, stream: Make, wait_until: WaitUntil
) -> None:
    pair = await register(web_node)
    await stream(pair.headers)
    pushed = await web_node.push("token", pair.token, data=1, ttl_seconds=0)

    async def is_acknowledged() -> bool:
        return bool((await web_node.pushing.message(pushed.id)).acknowledged == 1)

    await wait_until(is_acknowledged)


@pytest_twisted.ensureDeferred
async def test_line_breaks_in_the_json_of_a_message_break_no_event(
    web_node: Any, stream: Make, wait_until: WaitUntil
) -> None:
    pair = await register(web_node)
    client = await stream(pair.headers)
    data = b'{\r\n "a":\n\r "b\\n\\r\xe2\x80\xa8"}'
    content = PushContent(data=msgspec.Raw(data))
    await web_node.pushing.push(Push(Target("token", (pair.token,)), content, None))
    await wait_until(lambda: client.numbers == [json.loads(data)])


# --- By id --------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_by_id_only_the_next_request_acknowledges(
    web_node: Any, stream: Make, wait_until: WaitUntil
) -> None:
    pair = await register(web_node)
    client = await stream(pair.headers, "?ack=id")
    begin = await cursor_of(web_node, pair.token)
    for number in range(3):
        await web_node.push("token", pair.token, data=number)
    await wait_until(lambda: client.numbers == [0, 1, 2])
    second = client.reader.events[1].last_id
    client.transport.loseConnection()
    await wait_until(lambda: not web_node.gateway.sessions)
    assert await cursor_of(web_node, pair.token) == begin
    again = await stream({**pair.headers, "Last-Event-ID": second}, "?ack=id")
    assert await cursor_of(web_node, pair.token) > begin
    await wait_until(lambda: again.numbers == [2])


@pytest_twisted.ensureDeferred
async def test_an_id_is_known_as_soon_as_its_event_is(
    web_node: Any, stream: Make, wait_until: WaitUntil
) -> None:
    """The client comes back at once, while nothing of its former session was stored."""
    pair = await register(web_node)
    client = await stream(pair.headers, "?ack=id")
    for number in range(20):
        await web_node.push("token", pair.token, data=number)
        await numbers_of(client, wait_until, [number])
        client = await stream({**pair.headers, "Last-Event-ID": client.last_id}, "?ack=id")
    assert not client.numbers


@pytest.mark.parametrize(
    "event_id", ["", "x", "0123456789abcdef01234567.1", "a" * 65, "ä", "a.b", "1.1 x", "." * 64]
)
@pytest_twisted.ensureDeferred
async def test_an_unknown_id_reads_from_the_stored_cursors(
    web_node: Any, stream: Make, wait_until: WaitUntil, event_id: str
) -> None:
    pair = await register(web_node)
    await web_node.push("token", pair.token, data=1)
    client = await stream({**pair.headers, "Last-Event-ID": event_id}, "?ack=id")
    await wait_until(lambda: client.numbers == [1])


@pytest_twisted.ensureDeferred
async def test_an_id_covers_all_streams_and_never_goes_back(
    web_node: Any, stream: Make, wait_until: WaitUntil
) -> None:
    pair = await register(web_node)
    await web_node.topics.subscribe("news", pair.token)
    client = await stream(pair.headers, "?ack=id")
    await web_node.push("token", pair.token, data="own 1")
    await wait_until(lambda: len(client.numbers) == 1)
    first = client.last_id
    await web_node.push("topic", "news", data="topic 1")
    await wait_until(lambda: len(client.numbers) == 2)
    await web_node.push("all", data="all 1")
    await wait_until(lambda: len(client.numbers) == 3)
    third = client.last_id
    await web_node.push("topic", "news", data="topic 2")
    await wait_until(lambda: len(client.numbers) == 4)
    client = await stream({**pair.headers, "Last-Event-ID": third}, "?ack=id")
    await wait_until(lambda: client.numbers == ["topic 2"])
    # An older one acknowledges nothing that is not acknowledged, and reads nothing again.
    client = await stream({**pair.headers, "Last-Event-ID": first}, "?ack=id")
    await wait_until(lambda: client.numbers == ["topic 2"])


@pytest_twisted.ensureDeferred
async def test_an_id_stays_known_while_others_have_the_device(
    web_node: Any, dial: Make, stream: Make, wait_until: WaitUntil
) -> None:
    pair = await register(web_node)
    client = await stream(pair.headers, "?ack=id")
    for number in (1, 2):
        await web_node.push("token", pair.token, data=number)
    await wait_until(lambda: client.numbers == [1, 2])
    first = client.reader.events[0].last_id
    other = await dial(web_node, web=True)
    await other.connect(token=pair.token, secret=pair.secret)
    await wait_until(lambda: other.numbers == [1, 2])
    again = await stream({**pair.headers, "Last-Event-ID": first}, "?ack=id")
    await wait_until(lambda: again.numbers == [2])


@pytest_twisted.ensureDeferred
async def test_positions_end_ten_minutes_after_they_were_kept_on(
    web_node: Any, stream: Make, wait_until: WaitUntil
) -> None:
    pair = await register(web_node)
    client = await stream(pair.headers, "?ack=id")
    await web_node.push("token", pair.token, data=1)
    await wait_until(lambda: client.numbers == [1])
    home = web_node.shards.of(f"dev:{pair.token}")
    key = home.key(f"event-positions:{pair.token}")
    await wait_until(lambda: home.command("EXISTS", key))
    assert 540 <= await home.command("TTL", key) <= 600
    await web_node.devices.forget(pair.token)
    assert not await home.command("EXISTS", key)


@pytest_twisted.ensureDeferred
async def test_a_full_window_ends_the_response_and_the_client_comes_back_at_once(
    make_node: Make, redis_url: str, stream: Make, wait_until: WaitUntil
) -> None:
    """However often: the server has sent it away, so it does not flap."""
    node = await make_node(
        redis_url,
        limits={"window_messages": 4},
        connector_limits=ConnectorLimitSettings(connects_per_minute=1),
    )
    node.listen(web=True)
    pair = await register(node)
    for number in range(10):
        await node.push("token", pair.token, data=number)
    got: list[Any] = []
    headers = pair.headers
    ended = []
    while len(got) < 10:
        client = await stream(headers, "?ack=id", on=node)
        await numbers_of(client, wait_until, list(range(10))[len(got) : len(got) + 4])
        if len(client.numbers) == 4:
            await wait_until(lambda client=client: client.closed)
        got += client.numbers
        ended.append((len(client.numbers), client.reader.retry_ms if client.closed else None))
        headers = {**pair.headers, "Last-Event-ID": client.last_id}
    assert got == list(range(10))
    assert ended == [(4, 0), (4, 0), (2, None)]
    assert not client.goodbye


@pytest_twisted.ensureDeferred
async def test_a_window_full_of_bytes_ends_the_response_too(
    make_node: Make, redis_url: str, stream: Make, wait_until: WaitUntil
) -> None:
    node = await make_node(redis_url, limits={"window_bytes": 3000})
    node.listen(web=True)
    pair = await register(node)
    client = await stream(pair.headers, "?ack=id", on=node)
    for _ in range(3):
        await node.push("token", pair.token, data="x" * 1200)
    await wait_until(lambda: client.closed)
    assert len(client.numbers) == 2
    assert client.reader.retry_ms == 0


@pytest_twisted.ensureDeferred
async def test_by_id_nothing_is_sent_again_nor_given_up_while_the_response_is_open(
    make_node: Make, redis_url: str, stream: Make, wait_until: WaitUntil
) -> None:
    limits = {"redeliver_after_seconds": 0.05, "max_deliveries": 2, "comment_seconds": 0.3}
    node = await make_node(redis_url, limits=limits)
    node.listen(web=True)
    pair = await register(node)
    client = await stream(pair.headers, "?ack=id", on=node)
    await node.push("token", pair.token, data=1)
    await wait_until(lambda: len(client.reader.comments) >= 5)  # more than 20 times due again
    assert client.numbers == [1]
    assert node.gateway.counters.redelivered == 0
    client = await stream({**pair.headers}, "?ack=id", on=node)
    await wait_until(lambda: client.numbers == [1])


@pytest_twisted.ensureDeferred
async def test_a_poison_message_is_given_up_after_so_many_responses(
    make_node: Make, redis_url: str, stream: Make, wait_until: WaitUntil
) -> None:
    """As with every other carrier: attempts are remembered when a connection ends."""
    node = await make_node(redis_url, limits={"max_deliveries": 2})
    node.listen(web=True)
    pair = await register(node)
    await node.push("token", pair.token, data=1)
    for _ in range(2):
        client = await stream(pair.headers, "?ack=id", on=node)
        await numbers_of(client, wait_until, [1])
        client.transport.loseConnection()
        await wait_until(lambda: not node.gateway.sessions)
        await node.gateway.until_ended_are_done()
    client = await stream(pair.headers, "?ack=id", on=node)
    await node.push("token", pair.token, data=2)
    await wait_until(lambda: client.numbers == [2])


# --- A user without a device --------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_a_jwt_without_a_token_begins_at_the_end_and_has_no_ids(
    web_node: Any, stream: Make, wait_until: WaitUntil
) -> None:
    await web_node.push("user", "anna", data=1)
    client = await stream(bearer("anna"))
    await web_node.push("user", "anna", data=2)
    await wait_until(lambda: client.numbers == [2])
    assert client.last_id == ""
    refused = await stream(bearer("anna"), "?ack=id")
    assert refused.status == 422
    assert "ack" in refused.problem["detail"]


@pytest_twisted.ensureDeferred
async def test_a_jwt_names_the_device_or_binds_it(
    web_node: Any, stream: Make, wait_until: WaitUntil
) -> None:
    pair = await register(web_node)
    client = await stream({**pair.headers, **bearer("anna")})
    await web_node.push("user", "anna", data=1)
    await wait_until(lambda: client.numbers == [1])
    named = await stream(bearer("anna", token=pair.token))
    await wait_until(lambda: client.closed)
    assert client.goodbye["code"] == DisconnectCode.TAKEN_OVER
    await web_node.push("token", pair.token, data=2)
    await wait_until(lambda: named.numbers == [2])


@pytest_twisted.ensureDeferred
async def test_it_ends_with_its_credentials(
    web_node: Any, stream: Make, wait_until: WaitUntil
) -> None:
    now_s = web_node.gateway.now_ms() // 1000
    client = await stream(bearer("anna", expires_s=now_s - 58))  # 60 s of leeway
    await wait_until(lambda: client.closed)
    assert client.goodbye["code"] == DisconnectCode.CREDENTIALS_EXPIRED


# --- Refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "query", "status", "code", "field"),
    [
        ({}, "", 401, "unauthenticated", None),
        ({"Authorization": "Basic x"}, "", 401, "unauthenticated", None),
        ({"Authorization": "Bearer x"}, "", 401, "unauthenticated", None),
        ({"Authorization": "Bearer " + "x" * 9000}, "", 401, "unauthenticated", None),
        ({"Push-Token": "x"}, "", 422, "invalid", "Push-Secret"),
        ({"Push-Secret": "x"}, "", 422, "invalid", "Push-Token"),
        ({"Push-Token": "x" * 65, "Push-Secret": "y"}, "", 422, "invalid", "Push-Token"),
        ({"Push-Token": "", "Push-Secret": "y"}, "", 422, "invalid", "Push-Token"),
        ({"Push-Token": "x", "Push-Secret": "y"}, "", 404, "unknown_token", None),
        ({}, "?ack=never", 422, "invalid", "ack"),
        ({}, "?ack", 422, "invalid", "ack"),
        ({}, "?ack=id&ack=id", 422, "invalid", "ack"),
        ({}, "?ack=id&since=1", 422, "invalid", "since"),
        ({}, "?" + "x" * 500, 422, "invalid", "x" * 63 + "…"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_what_is_wrong_is_named(
    web_node: Any,
    stream: Make,
    wait_until: WaitUntil,
    headers: dict[str, str],
    query: str,
    status: int,
    code: str,
    field: str | None,
) -> None:
    client = await stream(headers, query)
    assert client.status == status
    assert client.headers["content-type"] == "application/problem+json"
    assert client.problem["code"] == code
    assert client.problem["type"] == f"/errors/{code}"
    assert client.problem["status"] == status
    assert client.problem.get("field") == field
    assert ("www-authenticate" in client.headers) == (status == 401)
    await wait_until(lambda: not web_node.gateway.connections)


@pytest_twisted.ensureDeferred
async def test_wrong_secrets_are_refused_and_then_limited(
    make_node: Make, redis_url: str, stream: Make
) -> None:
    node = await make_node(redis_url, failed_secrets_per_minute=2)
    node.listen(web=True)
    pair = await register(node)
    wrong = {"Push-Token": pair.token, "Push-Secret": "x" * 22}
    statuses = [(await stream(wrong, on=node)).status for _ in range(3)]
    assert statuses == [401, 401, 429]
    limited = await stream(wrong, on=node)
    assert int(limited.headers["retry-after"]) > 0
    assert (await stream(pair.headers, on=node)).status == 200


@pytest_twisted.ensureDeferred
async def test_the_banned_are_refused_and_a_ban_ends_a_response(
    web_node: Any, stream: Make, wait_until: WaitUntil
) -> None:
    pair = await register(web_node)
    client = await stream(pair.headers)
    until_ms = web_node.gateway.now_ms() + 500_000
    await web_node.bans.add(ActiveBan("token", pair.token, until_ms))
    await wait_until(lambda: client.closed)
    assert client.goodbye["code"] == DisconnectCode.KICKED
    assert client.reader.retry_ms is not None
    assert 400_000 < client.reader.retry_ms <= 500_000
    refused = await stream(pair.headers)
    assert (refused.status, refused.problem["code"]) == (403, "banned")
    assert 400 < int(refused.headers["retry-after"]) <= 500


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "HEAD"])
@pytest_twisted.ensureDeferred
async def test_other_methods_are_not_allowed(web_node: Any, stream: Make, method: str) -> None:
    client = await stream({}, method=method)
    assert client.status == 405
    assert client.headers["allow"] == "GET"
    assert bool(client.problem) == (method != "HEAD")


@pytest.mark.parametrize(
    "target", ["/v1/streams", "/v1/stream/", "/v1", "//v1/stream", "/v1/%73tream", "/V1/STREAM"]
)
@pytest_twisted.ensureDeferred
async def test_other_paths_are_no_streams(
    web_node: Any, wait_until: WaitUntil, target: str
) -> None:
    client = StreamClient
    client = await connect_stream(web_node.reactor, web_node.ports[-1].getHost().port)
    client.ask(target, {})
    await wait_until(lambda: client.closed or client.status)
    assert client.status == 404
    client.transport.abortConnection()
    await wait_until(lambda: client.closed)


@pytest_twisted.ensureDeferred
async def test_a_target_in_absolute_form_is_the_same(web_node: Any, stream: Make) -> None:
    pair = await register(web_node)
    client = await stream(pair.headers, target="http://a/v1/stream")
    assert client.status == 200


@pytest.mark.parametrize(
    "head",
    [
        b"GET /v1/stream HTTP/1.1\r\n\r\n",
        b"GET /v1/stream HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET /v1/stream HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n",
        b"GET /v1/stream HTTP/9.9\r\nHost: a\r\n\r\n",
        b"GET /v1/stream HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
    ],
)
@pytest_twisted.ensureDeferred
async def test_what_is_no_http_is_malformed(
    web_node: Any, wait_until: WaitUntil, head: bytes
) -> None:
    client = await connect_stream(web_node.reactor, web_node.ports[-1].getHost().port)
    client.transport.write(head)
    await wait_until(lambda: client.closed)
    assert (client.status, client.problem["code"]) == (400, "malformed")


# --- Ends ---------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_sessions_of_a_device_take_each_other_over(
    web_node: Any, dial: Make, stream: Make, wait_until: WaitUntil
) -> None:
    pair = await register(web_node)
    first = await dial(web_node, web=True)
    accepted = await first.connect(token=pair.token, secret=pair.secret)
    assert accepted["status"] is ConnectStatus.ACCEPTED
    second = await stream(pair.headers)
    await wait_until(lambda: first.closed)
    assert first.ended_with == DisconnectCode.TAKEN_OVER
    third = await stream(pair.headers)
    await wait_until(lambda: second.closed)
    assert second.goodbye["code"] == DisconnectCode.TAKEN_OVER
    assert second.reader.retry_ms == NEVER_MS
    fourth = await dial(web_node, web=True)
    await fourth.connect(token=pair.token, secret=pair.secret)
    await wait_until(lambda: third.closed)
    assert third.goodbye["code"] == DisconnectCode.TAKEN_OVER
    await wait_until(lambda: len(web_node.gateway.connections) == 1)


@pytest_twisted.ensureDeferred
async def test_a_kick_ends_it_permanently(
    web_node: Any, stream: Make, wait_until: WaitUntil
) -> None:
    pair = await register(web_node)
    client = await stream(pair.headers)
    device = next(iter(web_node.gateway.sessions.values()))
    web_node.gateway.kick(device, "test")
    await wait_until(lambda: client.closed)
    assert client.goodbye == {"code": "kicked", "reason": "test"}
    assert client.reader.retry_ms == NEVER_MS


@pytest_twisted.ensureDeferred
async def test_a_drain_names_other_servers_and_does_not_wait_for_ids(
    make_node: Make, redis_url: str, stream: Make, wait_until: WaitUntil
) -> None:
    asked: list[str] = []

    def others(carrier: str, ip: str) -> list[str]:
        asked.append(carrier)
        return ["ws://b.example:6791/ws", "wss://b.example/any/ws"]

    node = await make_node(redis_url, others=others)
    node.listen(web=True)
    pair = await register(node)
    client = await stream(pair.headers, "?ack=id", on=node)
    await node.push("token", pair.token, data=1)
    await wait_until(lambda: client.numbers == [1])
    await node.gateway.drain.run(100.0)
    await wait_until(lambda: client.closed)
    servers = ["http://b.example:6791/v1/stream", "https://b.example/v1/stream"]
    assert client.goodbye["code"] == DisconnectCode.DRAINING
    assert client.goodbye["servers"] == servers
    assert client.reader.retry_ms is not None
    assert client.reader.retry_ms <= client.goodbye["after"] * 1000
    refused = await stream(pair.headers, on=node)
    assert refused.status == 307
    assert refused.headers["location"] == servers[0]
    assert refused.problem["servers"] == servers
    assert set(asked) == {"sse"}


@pytest_twisted.ensureDeferred
async def test_a_full_connector_without_others_is_unavailable(
    make_node: Make, redis_url: str, stream: Make
) -> None:
    node = await make_node(redis_url, max_connections=1)
    node.listen(web=True)
    await stream((await register(node)).headers, on=node)
    client = await stream((await register(node)).headers, on=node)
    assert (client.status, client.problem["code"]) == (503, "unavailable")
    assert int(client.headers["retry-after"]) == 10


@pytest_twisted.ensureDeferred
async def test_a_server_that_stops_says_so(
    make_node: Make, redis_url: str, stream: Make, wait_until: WaitUntil
) -> None:
    node = await make_node(redis_url)
    node.listen(web=True)
    client = await stream((await register(node)).headers, on=node)
    await node.stop()
    await wait_until(lambda: client.closed)
    assert client.goodbye["code"] == DisconnectCode.DRAINING


@pytest_twisted.ensureDeferred
async def test_a_request_must_be_answered_in_time_or_is_refused(
    make_node: Make, redis_url: str, wait_until: WaitUntil
) -> None:
    node = await make_node(redis_url, limits={"handshake_timeout_seconds": 0.2})
    node.listen(web=True)
    client = await connect_stream(node.reactor, node.ports[-1].getHost().port)
    client.transport.write(b"GET /v1/stream HTTP/1.1\r\nHost: a\r\n")
    await wait_until(lambda: client.closed)
    assert client.raw.startswith(b"HTTP/1.1 408 ")


@pytest_twisted.ensureDeferred
async def test_who_sends_more_than_a_request_is_ended(
    web_node: Any, stream: Make, wait_until: WaitUntil
) -> None:
    client = await stream((await register(web_node)).headers)
    client.transport.write(b"x" * MAX_UNREAD_BYTES)
    client.transport.write(b"x")
    await wait_until(lambda: client.closed)
    assert client.goodbye["code"] == DisconnectCode.BAD_FRAME


@pytest_twisted.ensureDeferred
async def test_it_goes_when_the_client_goes(
    web_node: Any, stream: Make, wait_until: WaitUntil
) -> None:
    pair = await register(web_node)
    client = await stream(pair.headers)
    client.transport.abortConnection()
    await wait_until(lambda: not web_node.gateway.connections)
    await web_node.gateway.until_ended_are_done()
    assert "s" not in await web_node.record(pair.token)


# --- Life and death of a connection -------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_comments_come_and_a_client_that_reads_nothing_is_ended(
    make_node: Make, redis_url: str, stream: Make, wait_until: WaitUntil
) -> None:
    limits = {"comment_seconds": 0.3, "heartbeat_grace_seconds": 1, "window_bytes": 1 << 26}
    node = await make_node(redis_url, limits=limits)
    node.listen(web=True, sndbuf=4096)
    pair = await register(node)
    client = await stream(pair.headers, on=node)
    await wait_until(lambda: len(client.reader.comments) >= 3)
    connection = next(iter(node.gateway.connections))
    client.transport.pauseProducing()

    async def is_ended() -> bool:
        # It is blocked for good only when the system takes no more for a client that is silent.
        if node.gateway.connections and not connection.blocked:
            await node.push("token", pair.token, data="x" * 100_000)
        return not node.gateway.connections

    await wait_until(is_ended)
    client.transport.resumeProducing()


@pytest_twisted.ensureDeferred
async def test_the_system_ends_a_connection_that_confirms_nothing(
    web_node: Any, stream: Make
) -> None:
    await stream((await register(web_node)).headers)
    [connection] = web_node.gateway.connections
    handle = connection.transport.getHandle()
    assert handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 60_000


TCP_REPAIR = 19  # Linux: a socket that is closed in this state says nothing to its peer


@pytest_twisted.ensureDeferred
async def test_a_comment_finds_a_peer_that_vanished(
    make_node: Make, redis_url: str, stream: Make, wait_until: WaitUntil
) -> None:
    node = await make_node(redis_url, limits={"comment_seconds": 0.2})
    node.listen(web=True)
    pair = await register(node)
    client = socket.create_connection(("127.0.0.1", node.ports[-1].getHost().port))
    lines = ["GET /v1/stream HTTP/1.1", "Host: a", *(": ".join(i) for i in pair.headers.items())]
    client.sendall("\r\n".join([*lines, "", ""]).encode())
    await wait_until(lambda: node.gateway.sessions)
    client.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
    client.close()
    await wait_until(lambda: not node.gateway.sessions)


@pytest_twisted.ensureDeferred
async def test_a_message_that_waits_in_a_blocked_connection_is_not_acknowledged(
    make_node: Make, redis_url: str, stream: Make, wait_until: WaitUntil
) -> None:
    node = await make_node(redis_url)
    node.listen(web=True, sndbuf=4096)
    pair = await register(node)
    client = await stream(pair.headers, on=node)
    client.transport.pauseProducing()
    [connection] = node.gateway.connections
    assert isinstance(connection, StreamConnection)
    window = connection.protocol.window
    ids = []
    while not connection.blocked:
        ids.append((await node.push("token", pair.token, data="x" * 200_000)).id)
        await wait_until(lambda: window.used == 0 or connection.blocked)
    await node.push("token", pair.token, data="last")
    assert window.used >= 1
    assert len(client.numbers) < len(ids)
    client.transport.resumeProducing()
    await wait_until(lambda: client.numbers[-1:] == ["last"])
    await wait_until(lambda: window.used == 0)
    assert len(client.numbers) == len(ids) + 1


@pytest_twisted.ensureDeferred
async def test_over_tls_a_message_is_acknowledged_when_all_has_left(
    make_node: Make, redis_url: str, stream: Make, certificate: Any, wait_until: WaitUntil
) -> None:
    server, ours = certificate
    node = await make_node(redis_url)
    node.listen(server, web=True, sndbuf=4096)
    pair = await register(node)
    client = await stream(pair.headers, on=node, tls=ours)
    [connection] = node.gateway.connections
    assert connection.carrier == "sses"
    await node.push("token", pair.token, data="first")
    await wait_until(lambda: client.numbers == ["first"])
    window, socket_side = connection.protocol.window, connection.transport.transport

    def unsent_bytes() -> int:
        return len(socket_side.dataBuffer) + int(socket_side._tempDataLen) - socket_side.offset

    await wait_until(lambda: window.used == 0 and not connection.blocked)
    client.transport.pauseProducing()
    for _ in range(40):  # more than the system keeps
        await node.push("token", pair.token, data="x" * 200_000)
        await wait_until(lambda: not connection.blocked or unsent_bytes())
        assert window.used or not unsent_bytes()
    assert unsent_bytes()
    client.transport.resumeProducing()
    await wait_until(lambda: len(client.numbers) == 41)
    await wait_until(lambda: window.used == 0)


@pytest_twisted.ensureDeferred
async def test_streams_behind_a_load_balancer_have_the_address_of_the_client(
    make_node: Make, redis_url: str, wait_until: WaitUntil
) -> None:
    node = await make_node(redis_url)
    node.listen(web=True, proxies=["127.0.0.1"])
    pair = await register(node)
    client = await connect_stream(node.reactor, node.ports[-1].getHost().port)
    client.transport.write(b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 6791\r\n")
    client.ask("/v1/stream", pair.headers)
    await wait_until(lambda: client.status == 200)
    [device] = node.gateway.sessions.values()
    assert device.connection.ip == "192.0.2.7"
    client.transport.abortConnection()
    await wait_until(lambda: client.closed)
