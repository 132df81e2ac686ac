"""Sessions over WebSocket, on real sockets, with and without TLS."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import pytest_twisted
from wsproto.events import BytesMessage, CloseConnection, Message, Ping, TextMessage

from push.connector.transport.websocket import WebSocketConnection
from push.wire.frames import MAX_FRAME_BEFORE_SESSION_BYTES, MAX_FRAME_BYTES
from push.wire.signals import ConnectStatus, DisconnectCode, RequestName, Signal
from push.wire.websocket.opening import MAX_HEAD_BYTES
from tests.waiting import WaitUntil

Make = Callable[..., Awaitable[Any]]


@pytest.fixture
def web(node: Any, dial: Make) -> Make:
    """`await web(…)`: a client whose WebSocket is open, of a node that listens for them."""
    node.listen(web=True)

    async def make(**options: Any) -> Any:
        return await dial(node, web=True, **options)

    return make


@pytest.fixture
def session(web: Make) -> Make:
    """`await session()`: registered and connected; `acks=True` acknowledges."""

    async def make(*, acks: bool = False, **asked: Any) -> Any:
        client = await web(acks=acks)
        client.pair = await client.register()
        accepted = await client.connect(**client.pair, **asked)
        assert accepted["status"] is ConnectStatus.ACCEPTED
        return client

    return make


# --- The opening --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "status", "said"),
    [
        ({"path": "/"}, 404, "/ws"),
        ({"path": "/ws/"}, 404, "/ws"),
        ({"path": "/wss"}, 404, "/ws"),
        ({"offers": "push.v1"}, 400, "push.v2"),
        ({"origin": "https://elsewhere.example"}, 403, "https://elsewhere.example"),
        ({"origin": "null"}, 403, "null"),
        ({"origin": "http://127.0.0.1.elsewhere.example"}, 403, "origin"),
        ({"path": "/x", "offers": "y", "origin": "z"}, 404, "/ws"),
        ({"offers": "y", "origin": "z"}, 403, "origin"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_what_does_not_fit_is_refused_with_a_reason(
    node: Any, web: Make, wait_until: WaitUntil, asked: dict[str, str], status: int, said: str
) -> None:
    client = await web(**asked)
    await wait_until(lambda: client.closed)
    assert client.refused_with == status
    assert said in client.refusal.decode()
    await wait_until(lambda: not node.gateway.connections)


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"path": "/ws?v=1"},
        {"origin": "http://127.0.0.1:8080"},
        {"origin": "https://127.0.0.1"},
        {"offers": "push.v3 push.v2"},
    ],
)
@pytest_twisted.ensureDeferred
async def test_pages_of_the_same_host_and_what_is_no_page_may_connect(
    web: Make, asked: dict[str, str]
) -> None:
    client = await web(**asked)
    assert "token" in await client.register()


@pytest_twisted.ensureDeferred
async def test_other_origins_may_when_they_are_named(
    node: Any, dial: Make, wait_until: WaitUntil
) -> None:
    node.listen(web=True, origins=["https://app.example"])
    known = await dial(node, web=True, origin="https://APP.example:443")
    assert "token" in await known.register()
    other = await dial(node, web=True, origin="http://127.0.0.1")
    await wait_until(lambda: other.closed)
    assert other.refused_with == 403


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /ws HTTP/1.1\r\nHost: a\r\n\r\n", b"400"),
        (b"POST /ws HTTP/1.1\r\nHost: a\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"404"),
        (b"GET /ws\r\n\r\n", b"400"),
        (b"\xf8\x02\x03\x00\x00\x00\x00\x00\x00\x00", b"400"),
        (b"\x16\x03\x01\x02\x00", b"400"),
        (b"GET /ws HTTP/1.1\r\nHost: \xff\r\n\r\n", b"400"),
        (b"GET /ws HTTP/1.1\r\n" + b"X: " + b"y" * MAX_HEAD_BYTES, b"431"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_what_is_no_request_for_a_websocket_gets_an_answer_and_no_traceback(
    node: Any, web: Make, dial: Make, wait_until: WaitUntil, request_: bytes, status: bytes
) -> None:
    client = await dial(node, web=False)
    said: list[bytes] = []
    client.dataReceived = said.append
    client.transport.write(request_)
    await wait_until(lambda: client.closed)
    assert b"".join(said).split(b" ")[:2] == [b"HTTP/1.1", status]


@pytest_twisted.ensureDeferred
async def test_who_does_not_open_in_time_is_told(
    make_node: Make, redis_url: str, dial: Make, wait_until: WaitUntil
) -> None:
    node = await make_node(redis_url, limits={"handshake_timeout_seconds": 0.2})
    node.listen(web=True)
    client = await dial(node, web=False)
    said: list[bytes] = []
    client.dataReceived = said.append
    client.transport.write(b"GET /ws HTTP/1.1\r\n")
    await wait_until(lambda: client.closed)
    assert b"".join(said).startswith(b"HTTP/1.1 408 ")
    assert b"".join(said).endswith(b"\r\n\r\nThe request did not come in time.\n")
    opened = await dial(node, web=True)
    await wait_until(lambda: opened.closed)
    assert (opened.ended_with, opened.close_code) == ("handshake_timeout", 4005)


# --- Sessions -----------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_messages_come_and_are_acknowledged(
    node: Any, session: Make, wait_until: WaitUntil
) -> None:
    client = await session(acks=True)
    token = client.pair["token"]
    await node.push("token", token, data="ä\u2028", qos=1)
    await node.push("token", token, data={"n": 2}, qos=0)
    await wait_until(lambda: len(client.numbers) == 2)
    assert client.numbers == ["ä\u2028", {"n": 2}]
    await wait_until(lambda: node.gateway.counters.acknowledged == 1)
    [qos1, qos0] = client.pushes
    assert qos1.message_id > 0
    assert qos0.message_id == 0


@pytest_twisted.ensureDeferred
async def test_tcp_and_websocket_sessions_share_a_topic(
    node: Any, session: Make, device: Make, wait_until: WaitUntil
) -> None:
    """Many of both get all, alike and in order."""
    clients = [await session(acks=True)]
    node.listen(web=False)
    clients.append(await device(acks=True))
    for client in clients:
        await client.ask("TS", topic="news")
    for n in range(40):
        await node.push("topic", "news", data=n, qos=n % 2)
    for client in clients:
        await wait_until(lambda client=client: client.numbers == [*range(40)])
    await wait_until(lambda: node.gateway.counters.acknowledged == 40)


@pytest_twisted.ensureDeferred
async def test_requests_are_answered_by_name(session: Make, wait_until: WaitUntil) -> None:
    client = await session()
    assert await client.ask("TS", topic="news") == {"ok": True}
    client.say_text('{"signal": "PUBLISH", "subSignal": "NEW", "messageId": 99, "later": [1]}')
    frame = await client.answer(Signal.PUB_ACK, 99)
    assert json.loads(frame.body)["code"] == "unknown_request"
    client.say_text('{"signal": "PING", "content": null, "messageId": null}')
    await wait_until(lambda: client.of(Signal.PING))


@pytest_twisted.ensureDeferred
async def test_over_tls_and_behind_a_load_balancer_it_is_the_same(
    node: Any, dial: Make, certificate: Any, wait_until: WaitUntil
) -> None:
    server, trusting = certificate
    node.listen(tls=server, proxies=["127.0.0.1"], web=True)
    header = b"PROXY TCP4 198.51.100.7 192.0.2.1 4711 443\r\n"
    client = await dial(node, web=True, tls=trusting, header=[header], acks=True)
    pair = await client.register()
    assert (await client.connect())["status"] is ConnectStatus.ACCEPTED
    [connection] = node.gateway.connections
    assert (connection.ip, connection.carrier) == ("198.51.100.7", "wss")
    await node.push("token", pair["token"], data=1)
    await wait_until(lambda: client.numbers == [1])
    client.send(Signal.DISCONNECT, {"code": "bye"}, 0)
    await wait_until(lambda: client.closed)
    assert client.close_code == 1000


@pytest_twisted.ensureDeferred
async def test_a_newer_connection_takes_the_session_over_on_whatever_carrier(
    node: Any, session: Make, dial: Make, wait_until: WaitUntil
) -> None:
    first = await session()
    second = await dial(node, web=True)
    await second.connect(**first.pair)
    await wait_until(lambda: first.closed)
    assert (first.ended_with, first.close_code) == ("taken_over", 4001)
    node.listen(web=False)
    third = await dial(node, web=False)
    await third.connect(**first.pair)
    await wait_until(lambda: second.closed)
    assert second.close_code == 4001


@pytest_twisted.ensureDeferred
async def test_a_refused_connect_has_a_code_of_its_own(web: Make, wait_until: WaitUntil) -> None:
    client = await web()
    refused = await client.connect(jwt="no")
    assert refused["status"] is ConnectStatus.BAD_CREDENTIALS
    await wait_until(lambda: client.closed)
    assert client.close_code == 4104


@pytest_twisted.ensureDeferred
async def test_an_operator_ends_a_session(node: Any, session: Make, wait_until: WaitUntil) -> None:
    client = await session()
    [device] = node.gateway.sessions.values()
    assert device.connection.carrier == "ws"
    node.gateway.kick(device, "off you go")
    await wait_until(lambda: client.closed)
    assert (client.ended_with, client.close_code) == ("kicked", 4002)


# --- What is wrong ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[]", "object"),
        ("{}", "signal"),
        ('{"signal": 6}', "signal"),
        ('{"signal": "connect"}', "signal"),
        ('{"signal": "CONTACT"}', "signal"),
        ('{"signal": "CONNECT_ACK"}', "signal"),
        ('{"signal": "PING"}', "signal"),  # not before CONNECT
        ('{"signal": "SUB", "subSignal": 1}', "subSignal"),
        ('{"signal": "SUB", "messageId": "1"}', "messageId"),
        ('{"signal": "SUB", "messageId": 65536}', "messageId"),
        ('{"signal": "SUB", "messageId": -1}', "messageId"),
        ('{"signal": "SUB", "messageId": true}', "messageId"),
        ('{"signal": "SUB", "content": []}', "content"),
        ('{"signal": "SUB", "content": "x"}', "content"),
        ('{"signal": "SUB", "content": {"platform": 1, "app": "a"}}', "platform"),
        ('{"signal": "SUB", "content": {"app": "a"}}', "platform"),
        ('{"signal": "CONNECT", "content": {"token": "t"}}', "secret"),
        ('{"signal": "SUB", "content": {"x": ' + "[" * 32 + "]" * 32 + "}}", "deeper than 32"),
        ('{"signal": "SUB", "x": ' + "[" * 9999, "deeper than 32"),
        ('{"signal": "' + "x" * 9999 + '"}', "signal"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_wrong_message_is_a_bad_frame_that_names_what_is_wrong(
    node: Any, web: Make, wait_until: WaitUntil, text: str, named: str
) -> None:
    client = await web()
    client.say_text(text)
    await wait_until(lambda: client.closed)
    assert (client.ended_with, client.close_code) == ("bad_frame", 4006)
    assert named in client.disconnect["reason"]
    assert len(client.disconnect["reason"]) <= 200
    assert node.gateway.counters.bad_frames == 1


@pytest_twisted.ensureDeferred
async def test_a_binary_message_is_a_bad_frame(web: Make, wait_until: WaitUntil) -> None:
    client = await web()
    client.say(BytesMessage(b'{"signal": "SUB"}'))
    await wait_until(lambda: client.closed)
    assert (client.ended_with, client.close_code) == ("bad_frame", 4006)


@pytest.mark.parametrize("event_type", [TextMessage, BytesMessage])
@pytest.mark.parametrize("finished", [True, False])
@pytest_twisted.ensureDeferred
async def test_a_message_over_the_limit_is_too_large(
    web: Make, wait_until: WaitUntil, event_type: type[Message], finished: bool
) -> None:
    """Before the session at 64 KiB; a fragment does not wait for the others."""
    client = await web()
    size = MAX_FRAME_BEFORE_SESSION_BYTES + 1
    data = "x" * size if event_type is TextMessage else b"x" * size
    client.say(event_type(data=data, message_finished=finished))
    await wait_until(lambda: client.closed)
    assert (client.ended_with, client.close_code) == ("frame_too_large", 4007)
    assert str(size) in client.disconnect["reason"]


@pytest_twisted.ensureDeferred
async def test_limits_count_the_text_in_utf8(session: Make, wait_until: WaitUntil) -> None:
    client = await session()

    def text(size: int) -> str:
        start, end = '{"signal": "PING", "messageId": 7, "x": "', '"}'
        left = size - len(start) - len(end)
        return start + "ä" * (left // 2) + "x" * (left % 2) + end

    client.say_text(text(MAX_FRAME_BYTES))
    await client.answer(Signal.PING, 7)
    client.say_text(text(MAX_FRAME_BYTES + 1))
    await wait_until(lambda: client.closed)
    assert client.ended_with == "frame_too_large"


@pytest_twisted.ensureDeferred
async def test_a_devices_own_limit_counts_the_whole_text(
    node: Any, session: Make, wait_until: WaitUntil
) -> None:
    client = await session(max_frame=4096, acks=True)
    for size in range(3800, 4100, 10):
        await node.push("token", client.pair["token"], data="x" * size)
    await node.push("token", client.pair["token"], data="last")
    await wait_until(lambda: "last" in client.numbers)
    assert 4096 - 10 <= max(client.text_bytes) <= 4096
    assert node.gateway.counters.dropped_too_large > 0


@pytest_twisted.ensureDeferred
async def test_violations_of_the_rfc_end_with_its_code_and_without_disconnect(
    session: Make, wait_until: WaitUntil
) -> None:
    for wrong, code in ((b"\xc1\x80mask", 1002), (b"\x81\x81\0\0\0\0\xff", 1007)):
        client = await session()
        client.transport.write(wrong)
        await wait_until(lambda client=client: client.closed)
        assert client.disconnect is None
        assert client.close_code == code


@pytest_twisted.ensureDeferred
async def test_a_peer_that_closes_is_answered_and_its_session_ends(
    node: Any, session: Make, wait_until: WaitUntil
) -> None:
    client = await session()
    client.say(CloseConnection(code=1001, reason="the page is left"))
    await wait_until(lambda: client.closed)
    assert client.close_code == 1001
    await wait_until(lambda: not node.gateway.sessions)


@pytest_twisted.ensureDeferred
async def test_pings_of_the_websocket_are_answered_and_are_no_activity(
    make_node: Make, redis_url: str, dial: Make, wait_until: WaitUntil
) -> None:
    limits = {
        "heartbeat_seconds": 1,
        "heartbeat_min_seconds": 1,
        "heartbeat_grace_seconds": 0,
    }
    node = await make_node(redis_url, limits=limits)
    node.listen(web=True)
    client = await dial(node, web=True)
    await client.register()
    await client.connect()

    def ping() -> bool:
        if client.is_open:
            client.say(Ping(b"still there"))
        return bool(client.closed)

    await wait_until(ping)
    assert (client.ended_with, client.close_code) == ("heartbeat_timeout", 4004)
    assert set(client.pongs) == {b"still there"}


@pytest_twisted.ensureDeferred
async def test_requests_before_a_disconnect_are_carried_out_those_behind_it_are_not(
    node: Any, session: Make, wait_until: WaitUntil
) -> None:
    client = await session()
    token = client.pair["token"]
    for topic in ("first", "second"):
        body = json.dumps({"topic": topic}).encode()
        client.write_frame(Signal.PUBLISH, RequestName.TS, 0, body)
    client.send(Signal.DISCONNECT, {"code": "bye"}, 0)
    client.write_frame(Signal.PUBLISH, RequestName.TS, 0, b'{"topic": "third"}')
    await wait_until(lambda: client.closed)
    assert client.close_code == 1000
    await wait_until(lambda: not node.gateway.sessions)
    record = await node.record(token)
    assert {name for name in record if "topic:" in name and "third" in name} == set()
    assert any("first" in name for name in record)
    assert any("second" in name for name in record)


@pytest_twisted.ensureDeferred
async def test_frames_behind_the_request_are_read(node: Any, dial: Make) -> None:
    """Some clients do not wait for the answer to send what they have to say."""
    node.listen(web=True)
    client = await dial(node, web=True)
    text = b'{"signal":"SUB","messageId":1,"content":{"platform":"p","app":"a"}}'
    client.transport.write(bytes([0x81, 0x80 | len(text)]) + b"\0\0\0\0" + text)
    assert "token" in json.loads((await client.answer(Signal.SUB, 1)).body)
    [connection] = node.gateway.connections
    assert isinstance(connection, WebSocketConnection)
    assert connection.direct == connection.transport.getHandle().send


@pytest_twisted.ensureDeferred
async def test_a_connector_that_stops_says_so_to_all(
    node: Any, session: Make, web: Make, dial: Make, wait_until: WaitUntil
) -> None:
    in_session = await session()
    opened = await web()
    await wait_until(lambda: opened.is_open)
    half_open = await dial(node, web=False)
    said: list[bytes] = []
    half_open.dataReceived = said.append
    half_open.transport.write(b"GET /ws HTTP/1.1\r\n")
    await wait_until(lambda: len(node.gateway.connections) == 3)
    await node.stop()
    for client in (in_session, opened):
        await wait_until(lambda client=client: client.closed)
        assert (client.ended_with, client.close_code) == (DisconnectCode.DRAINING, 4003)
    assert b"".join(said).startswith(b"HTTP/1.1 503 ")
    assert b"".join(said).endswith(b"\r\n\r\nThis server takes no more connections.\n")
