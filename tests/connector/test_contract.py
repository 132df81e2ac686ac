"""The contract end to end, over real TCP and TLS: order of things, errors, credentials."""

from __future__ import annotations

import base64
import hashlib
import json
import struct
import time
from collections.abc import Awaitable, Callable
from typing import Any

import jwt
import pytest
import pytest_twisted

from push.access.api_keys import ApiKey, Keyring
from push.wire.errors import RequestError
from push.wire.frames import encode_frame
from push.wire.signals import ConnectStatus, Signal
from tests.waiting import WaitUntil, pause

Make = Callable[..., Awaitable[Any]]
SECRET = b"a secret of at least thirty-two bytes"  # as in conftest


def token_of(user: str = "alice", seconds: float = 600, **more: Any) -> str:
    claims = {"sub": user, "aud": "push", "exp": int(time.time() + seconds), **more}
    return jwt.encode(claims, SECRET, "HS256")


@pytest.fixture(params=["tcp", "tls"])
def reach(
    request: pytest.FixtureRequest, node: Any, dial: Make, certificate: tuple[Any, Any]
) -> Callable[[], Awaitable[Any]]:
    """`await reach()`: a client over each of the carriers."""
    if request.param == "tcp":
        return lambda: dial(node)
    server, client = certificate
    node.listen(tls=server)
    return lambda: dial(node, tls=client)


@pytest_twisted.ensureDeferred
async def test_a_device_registers_connects_receives_and_acknowledges(
    reach: Make, node: Any, wait_until: WaitUntil
) -> None:
    client = await reach()
    pair = await client.register(device="phone")
    before = time.time()
    accepted = await client.connect()
    after = time.time()

    receipt = await node.push("token", pair["token"], data={"n": [1, None]})
    await wait_until(lambda: client.pushes)
    client.ack_all()

    assert accepted["status"] is ConnectStatus.ACCEPTED
    assert accepted["user"] is None
    assert (accepted["heartbeat"], accepted["window"], accepted["node"]) == (300, 64, "node")
    assert before - 5 < accepted["time"] / 1000 < after + 5
    assert accepted["truncated"] == []
    assert "streams" not in accepted
    assert (receipt.streams, receipt.online) == (1, 1)
    (body,) = client.bodies
    assert body["id"] == receipt.id
    assert body["data"] == {"n": [1, None]}
    assert body["stream"] == f"dev:{pair['token']}"
    assert body["expires"] - body["ts"] == 86_400_000

    async def done() -> bool:
        return (await node.devices.get(pair["token"])).backlog == 0

    await wait_until(done)


@pytest_twisted.ensureDeferred
async def test_rule_15_an_online_device_that_acknowledged_has_no_log_at_all(
    device: Make, node: Any, wait_until: WaitUntil
) -> None:
    client = await device(acks=True)
    token = client._credentials["token"]
    log = node.store.key(f"log:dev:{token}")
    for n in range(20):
        await node.push("token", token, data=n)

    async def gone() -> bool:
        return client.numbers == list(range(20)) and not await node.store.command("EXISTS", log)

    await wait_until(gone)


@pytest_twisted.ensureDeferred
async def test_everything_may_come_byte_by_byte(reach: Make, wait_until: WaitUntil) -> None:
    client = await reach()
    await client.register()
    connect = encode_frame(
        Signal.CONNECT, 0, 7, json.dumps(client._credentials).encode()
    ) + encode_frame(Signal.PING, 0, 8)
    for place in range(len(connect)):
        if place == len(connect) - 10:
            await client.answer(Signal.CONNECT_ACK, 7)
        client.transport.write(connect[place : place + 1])
        if place % 20 == 0:
            await pause(0)

    assert json.loads((await client.answer(Signal.PING, 8)).body)["interval"] == 300


async def ends_with(client: Any, wait_until: WaitUntil) -> tuple[str, str]:
    await wait_until(lambda: client.closed)
    said = client.disconnect
    assert said is not None
    return said["code"], said["reason"]


def header(magic: int = 0xF8, version: int = 2, signal: int = 6, length: int = 0) -> bytes:
    return struct.pack(">BBBIBH", magic, version, signal, length, 0, 1)


@pytest.mark.parametrize(
    ("data", "code", "word"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "bad_frame", "magic"),
        (b"\x16\x03\x01", "bad_frame", "magic"),
        (header(signal=0x86), "bad_frame", "reserved"),
        (header(length=2**32 - 1), "frame_too_large", "length"),
        (header(length=64 * 1024 + 1), "frame_too_large", "length"),
        (header(length=3) + b"{,}", "bad_frame", "CONNECT"),
        (header(length=2) + b"[]", "bad_frame", "CONNECT"),
        (header(length=4) + b"null", "bad_frame", "CONNECT"),
        (header(length=4) + b"\xff\xff{}", "bad_frame", "UTF-8"),
        (header(length=2) + b"{}", "bad_frame", "token"),
        (header(signal=1, length=2) + b"{}", "bad_frame", "platform"),
        (header(signal=3), "bad_frame", "PING"),
        (header(signal=4), "bad_frame", "PUSH"),
        (header(signal=5), "bad_frame", "CONTACT"),
        (header(signal=7), "bad_frame", "CONNECT_ACK"),
        (header(signal=10), "bad_frame", "PUB_ACK"),
        (header(signal=0), "bad_frame", "signal 0"),
        (header(signal=99), "bad_frame", "signal 99"),
    ],
    ids=[
        *("http", "tls", "reserved-bit", "4-gib", "too-long", "not-json", "array", "null"),
        *("not-utf-8", "no-token", "no-platform", "ping", "push", "contact", "connect-ack"),
        *("pub-ack", "signal-0", "signal-99"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_bad_input_gets_its_reason_and_no_other_connection_notices(
    node: Any,
    dial: Make,
    device: Make,
    wait_until: WaitUntil,
    data: bytes,
    code: str,
    word: str,
) -> None:
    other = await device(acks=True)
    client = await dial(node)

    client.transport.write(data)

    said = await ends_with(client, wait_until)
    assert said[0] == code
    assert word in said[1]
    await node.push("all", data=1)
    await wait_until(lambda: other.numbers == [1])


@pytest_twisted.ensureDeferred
async def test_another_version_is_told_which_is_spoken(
    node: Any, dial: Make, wait_until: WaitUntil
) -> None:
    client = await dial(node)

    client.transport.write(b"\xf8\x03")

    await wait_until(lambda: client.closed)
    (frame,) = client.frames
    assert (frame.signal, frame.sub_signal) == (Signal.CONNECT_ACK, 1)
    assert json.loads(frame.body) == {"versions": [2]}


@pytest.mark.parametrize("signal", [Signal.SUB, Signal.CONNECT, Signal.PUSH, Signal.CONNECT_ACK])
@pytest_twisted.ensureDeferred
async def test_in_a_session_nothing_of_before_may_come(
    device: Make, wait_until: WaitUntil, signal: int
) -> None:
    client = await device()

    client.send(signal, {})

    assert (await ends_with(client, wait_until))[0] == "bad_frame"


@pytest_twisted.ensureDeferred
async def test_nothing_may_come_between_connect_and_its_answer(
    node: Any, dial: Make, wait_until: WaitUntil
) -> None:
    client = await dial(node)
    await client.register()
    client.send(Signal.CONNECT, client._credentials)
    client.send(Signal.PING)

    assert (await ends_with(client, wait_until))[0] == "bad_frame"

    async def has_no_session() -> bool:
        record = await node.record(client._credentials["token"])
        return "s" not in record and not node.gateway.sessions

    await wait_until(has_no_session)


@pytest_twisted.ensureDeferred
async def test_three_registrations_a_connection_and_one_at_a_time(
    node: Any, dial: Make, wait_until: WaitUntil
) -> None:
    client = await dial(node)
    tokens = {(await client.register())["token"] for _ in range(3)}
    client.send(Signal.SUB, {"platform": "p", "app": "a"})
    assert (await ends_with(client, wait_until))[0] == "bad_frame"
    assert len(tokens) == 3

    client = await dial(node)
    client.send(Signal.SUB, {"platform": "p", "app": "a"})
    client.send(Signal.SUB, {"platform": "p", "app": "a"})
    assert (await ends_with(client, wait_until))[0] == "bad_frame"


KEY = "the key of an app"


@pytest.fixture
def keyring() -> Keyring:
    digest = hashlib.sha256(KEY.encode()).hexdigest()
    other = hashlib.sha256(b"other").hexdigest()
    return Keyring(
        [
            ApiKey("app", digest, frozenset({"register"})),
            ApiKey("backend", other, frozenset({"push"})),
        ]
    )


@pytest_twisted.ensureDeferred
async def test_registering_needs_a_key_with_its_scope_and_may_be_tried_again(
    make_node: Make, redis_url: str, dial: Make
) -> None:
    node = await make_node(redis_url, open_registration=False)
    node.listen()
    client = await dial(node)

    assert (await client.register())["code"] == "unauthenticated"
    assert (await client.register(key="other"))["code"] == "forbidden"
    assert "token" in await client.register(key=KEY)
    assert (await client.connect())["status"] is ConnectStatus.ACCEPTED


def refusals_of(node: Any) -> int:
    """As in the series `refusals`: nothing is counted twice."""
    counted = node.domain.refusals.total() + node.gateway.counters.reasons.refused_here
    assert isinstance(counted, int)
    return counted


@pytest_twisted.ensureDeferred
async def test_wrong_keys_are_limited_by_address_and_a_right_one_never(
    make_node: Make, redis_url: str, dial: Make
) -> None:
    """As over HTTP, which counts on."""
    node = await make_node(redis_url, open_registration=False, failed_keys_per_minute=3)
    node.listen()

    async def code(**key: str) -> str:
        return str((await (await dial(node)).register(**key)).get("code"))

    assert await code() == "unauthenticated", "no key is no attempt"
    assert await code(key="other") == "forbidden", "nor is a key for something else"
    assert [await code(key=f"wrong{number}") for number in range(3)] == ["unauthenticated"] * 3
    client = await dial(node)
    refused = await client.register(key="wrong")
    assert refused["code"] == "rate_limited"
    assert 0 < refused["after"] <= 60
    assert node.domain.refusals["failed_keys_per_minute"] == 1
    assert refusals_of(node) == 6
    with pytest.raises(RequestError):
        node.domain.failed_keys.note("127.0.0.1")
    assert "token" in await client.register(key=KEY)


@pytest_twisted.ensureDeferred
async def test_a_refused_connect_says_what_to_do_next_and_closes(
    node: Any, dial: Make, wait_until: WaitUntil
) -> None:
    first = await dial(node)
    pair = await first.register()
    cases = [
        ({"token": "00000000000000", "secret": "x"}, ConnectStatus.IDENTIFIER_REJECTED),
        ({**pair, "secret": "x"}, ConnectStatus.BAD_CREDENTIALS),
        ({"jwt": "x"}, ConnectStatus.BAD_CREDENTIALS),
        ({"jwt": token_of(seconds=-100)}, ConnectStatus.BAD_CREDENTIALS),
        ({**pair, "jwt": token_of(token="00000000000000")}, ConnectStatus.BAD_CREDENTIALS),
        ({"jwt": token_of(token="00000000000000")}, ConnectStatus.IDENTIFIER_REJECTED),
    ]
    for body, status in cases:
        client = await dial(node)
        answer = await client.connect(**body)
        assert answer["status"] is status, body
        assert answer["detail"]
        await wait_until(lambda client=client: client.closed)
        assert client.disconnect is None


@pytest_twisted.ensureDeferred
async def test_who_failed_too_often_is_told_when_to_come_back(
    make_node: Make, redis_url: str, dial: Make
) -> None:
    node = await make_node(redis_url, failed_secrets_per_minute=1)
    node.listen()
    client = await dial(node)
    pair = await client.register()
    await (await dial(node)).connect(**{**pair, "secret": "x"})

    answer = await (await dial(node)).connect(**{**pair, "secret": "x"})

    assert answer["status"] is ConnectStatus.SERVER_UNAVAILABLE
    assert (answer["code"], answer["after"]) == ("rate_limited", 60)
    assert node.domain.refusals.total() == 1
    assert refusals_of(node) == 2
    assert (await (await dial(node)).connect(**pair))["status"] is ConnectStatus.ACCEPTED


@pytest_twisted.ensureDeferred
async def test_more_sessions_than_allowed_are_sent_away(
    make_node: Make, redis_url: str, dial: Make, device: Make
) -> None:
    node = await make_node(redis_url, max_connections=1)
    node.listen()
    await device(on=node)
    client = await dial(node)
    await client.register()

    answer = await client.connect()

    assert answer["status"] is ConnectStatus.SERVER_UNAVAILABLE
    assert answer["after"] > 0


@pytest_twisted.ensureDeferred
async def test_a_user_without_a_device_reads_from_the_end_and_is_told_where(
    node: Any, dial: Make, wait_until: WaitUntil
) -> None:
    await node.push("user", "alice", data="before")
    client = await dial(node, acks=True)

    accepted = await client.connect(jwt=token_of("alice"))
    await node.push("user", "alice", data="after")
    await wait_until(lambda: client.numbers)

    assert accepted["user"] == "alice"
    assert set(accepted["streams"]) == {"all", "user:alice"}
    assert client.numbers == ["after"]


@pytest_twisted.ensureDeferred
async def test_a_user_without_a_device_goes_on_at_its_own_cursors(
    node: Any, dial: Make, wait_until: WaitUntil
) -> None:
    first = await dial(node, acks=True)
    accepted = await first.connect(jwt=token_of("alice"))
    first.transport.loseConnection()
    for n in range(3):
        await node.push("user", "alice", data=n)
    second = await dial(node, acks=True)

    cursors = {**accepted["streams"], "user:bob": "0", "all": "9999999999999999"}
    again = await second.connect(jwt=token_of("alice"), cursors=cursors)
    await wait_until(lambda: len(second.numbers) == 3)
    await node.push("all", data="all")
    await wait_until(lambda: len(second.numbers) == 4)

    assert second.numbers == [0, 1, 2, "all"]
    assert "user:bob" not in again["streams"]


@pytest_twisted.ensureDeferred
async def test_a_jwt_with_a_token_binds_the_device(
    node: Any, dial: Make, wait_until: WaitUntil
) -> None:
    first = await dial(node)
    pair = await first.register()

    accepted = await first.connect(**pair, jwt=token_of("alice"))
    assert accepted["user"] == "alice"
    assert (await node.devices.get(pair["token"])).user == "alice"

    second = await dial(node)
    accepted = await second.connect(jwt=token_of("bob", token=pair["token"]))
    assert accepted["user"] == "bob"
    assert (await node.devices.get(pair["token"])).user == "bob"


@pytest_twisted.ensureDeferred
async def test_credentials_are_renewed_by_auth_and_end_without_it(
    make_node: Make, redis_url: str, dial: Make, wait_until: WaitUntil
) -> None:
    node = await make_node(redis_url)
    node.listen()
    stays, goes = await dial(node), await dial(node)
    for client in (stays, goes):
        # The leeway of 60 s counts as well.
        await client.connect(jwt=token_of("alice", seconds=-58.5))
    before = time.time()
    asked = stays.send(Signal.AUTH, {"jwt": token_of("alice")})
    after = time.time()
    answer = json.loads((await stays.answer(Signal.AUTH, asked)).body)
    assert answer["ok"] is True
    assert before + 595 < answer["expires"] / 1000 < after + 605
    asked = stays.send(Signal.AUTH, {"jwt": token_of("bob")})
    answer = json.loads((await stays.answer(Signal.AUTH, asked)).body)
    assert (answer["ok"], answer["code"]) == (False, "not_allowed")

    await wait_until(lambda: goes.closed)

    assert goes.ended_with == "credentials_expired"
    assert not stays.closed


@pytest_twisted.ensureDeferred
async def test_a_hostile_jwt_is_bad_credentials(node: Any, dial: Make) -> None:
    import base64

    deep = base64.urlsafe_b64encode(b"[" * 5000).decode().rstrip("=")
    for text in ("", "é", ".", "a.b.c", f"{deep}.e30.e30", "x" * 8192):
        answer = await (await dial(node)).connect(jwt=text)
        assert answer["status"] is ConnectStatus.BAD_CREDENTIALS


@pytest_twisted.ensureDeferred
async def test_the_heartbeat_is_clamped_and_told(device: Make) -> None:
    client = await device(heartbeat=5)
    for asked, told in [(None, 10), (20, 20), (99_999, 1800), (None, 1800)]:
        body = {} if asked is None else {"interval": asked}
        number = client.send(Signal.PING, body)
        assert json.loads((await client.answer(Signal.PING, number)).body)["interval"] == told


@pytest_twisted.ensureDeferred
async def test_who_is_silent_is_closed(
    make_node: Make, redis_url: str, device: Make, wait_until: WaitUntil
) -> None:
    limits = {
        "heartbeat_seconds": 0,
        "heartbeat_min_seconds": 0,
        "heartbeat_grace_seconds": 1,
        "handshake_timeout_seconds": 5,
    }
    node = await make_node(redis_url, limits=limits)
    node.listen()
    silent, talks = await device(on=node), await device(on=node)
    for _ in range(8):
        talks.send(Signal.PING)
        await pause(0.2)

    await wait_until(lambda: silent.closed)
    assert silent.ended_with == "heartbeat_timeout"
    assert not talks.closed
    assert "s" not in await node.record(silent._credentials["token"])


@pytest_twisted.ensureDeferred
async def test_who_opens_no_session_in_time_is_closed(
    make_node: Make, redis_url: str, dial: Make, wait_until: WaitUntil, certificate: Any
) -> None:
    node = await make_node(redis_url, limits={"handshake_timeout_seconds": 0.5})
    node.listen()
    plain = await dial(node)
    node.listen(tls=certificate[0])
    no_handshake = await dial(node)  # connects to the TLS port and says nothing

    await wait_until(lambda: plain.closed)
    assert plain.ended_with == "handshake_timeout"
    await wait_until(lambda: no_handshake.closed)
    await wait_until(lambda: not node.gateway.connections)


@pytest_twisted.ensureDeferred
async def test_a_device_that_says_bye_is_closed_without_an_answer(
    device: Make, node: Any, wait_until: WaitUntil
) -> None:
    client = await device()
    said = len(client.frames)

    client.send(Signal.DISCONNECT, {"code": "bye", "reason": ""})

    await wait_until(lambda: client.closed)
    assert len(client.frames) == said

    async def closed() -> bool:
        return "s" not in await node.record(client._credentials["token"])

    await wait_until(closed)


@pytest_twisted.ensureDeferred
async def test_a_device_that_shuts_its_side_is_closed(
    device: Make, node: Any, wait_until: WaitUntil
) -> None:
    client = await device()

    client.transport.loseWriteConnection()

    await wait_until(lambda: client.closed and not node.gateway.connections)
    assert not node.gateway.sessions
    assert not node.hub.channels


@pytest_twisted.ensureDeferred
async def test_the_reason_is_not_lost_to_a_reset_when_the_device_goes_on_talking(
    device: Make, wait_until: WaitUntil
) -> None:
    client = await device()
    client.send(Signal.SUB, {})
    for _ in range(50):
        client.send(Signal.PING)
        await pause(0)

    assert (await ends_with(client, wait_until))[0] == "bad_frame"


@pytest_twisted.ensureDeferred
async def test_a_request_nobody_knows_is_answered(device: Make) -> None:
    client = await device()

    asked = client.send(Signal.PUBLISH, {})

    answer = json.loads((await client.answer(Signal.PUB_ACK, asked)).body)
    assert (answer["ok"], answer["code"]) == (False, "unknown_request")


@pytest_twisted.ensureDeferred
async def test_an_acknowledgement_of_nothing_is_ignored(
    device: Make, node: Any, wait_until: WaitUntil
) -> None:
    client = await device()
    for number in (1, 0, 49152, 65535):
        client.send(Signal.PUB_ACK, message_id=number)
    await node.push("all", data=1)

    await wait_until(lambda: client.numbers == [1])


@pytest_twisted.ensureDeferred
async def test_a_forgotten_device_is_kicked_and_then_unknown(
    device: Make, node: Any, dial: Make, wait_until: WaitUntil
) -> None:
    client = await device()
    pair = client._credentials

    await node.devices.forget(pair["token"])

    await wait_until(lambda: client.closed)
    assert client.ended_with == "kicked"
    answer = await (await dial(node)).connect(**pair)
    assert answer["status"] is ConnectStatus.IDENTIFIER_REJECTED
    await pause(0.1)
    assert not await node.record(pair["token"])


@pytest_twisted.ensureDeferred
async def test_a_device_whose_record_vanished_is_closed_at_its_next_acknowledgement(
    device: Make, node: Any, wait_until: WaitUntil
) -> None:
    client = await device(acks=True)
    await node.store.command("DEL", node.store.key(f"device:{client._credentials['token']}"))

    await node.push("all", data=1)

    await wait_until(lambda: client.closed)
    assert not await node.record(client._credentials["token"])


@pytest_twisted.ensureDeferred
async def test_hostile_jwts_are_refused_and_nothing_is_logged(node: Any, dial: Make) -> None:
    """A header is anybody's text; what is wrong with it is told without what cannot be sent."""
    surrogate = b'{"alg":"HS256","crit":["\\ud800"]}'
    for header in (
        surrogate,
        surrogate.replace(b"crit", b"kid"),
        b'{"alg":"\\ud800"}',
        b'{"alg":"' + b"x" * 5_000 + b'"}',
        b'{"alg":"HS256","kid":"\\u001b[2J"}',
        b'{"alg":' + b"[" * 3_000,
        b'{"alg":NaN}',
        b"\xff\xfe",
        b"[]",
    ):
        text = base64.urlsafe_b64encode(header).rstrip(b"=").decode() + ".e30.eA"
        answer = await (await dial(node)).connect(jwt=text)
        assert answer["status"] is ConnectStatus.BAD_CREDENTIALS, header[:40]
        assert answer["code"] == "unauthenticated"
        assert len(answer["detail"]) <= 200
        session = await dial(node)
        await session.connect(jwt=token_of("alice"))
        number = session.send(Signal.AUTH, {"jwt": text})
        refused = json.loads((await session.answer(Signal.AUTH, number)).body)
        assert (refused["ok"], refused["code"]) == (False, "unauthenticated")


@pytest_twisted.ensureDeferred
async def test_no_reason_sends_back_what_it_refuses(
    node: Any, dial: Make, wait_until: WaitUntil
) -> None:
    for body in (
        {"platform": "Z" * 40_000, "app": "a"},
        {"platform": {"Z" * 40_000: 1}, "app": "a"},
    ):
        client = await dial(node)
        client.send(Signal.SUB, body)
        await wait_until(lambda client=client: client.disconnect is not None)
        assert client.disconnect["code"] == "bad_frame"
        assert len(client.disconnect["reason"]) <= 200
