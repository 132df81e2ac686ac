"""What a device asks for before its DISCONNECT is carried out; the end of a deleted device.

See protocol.md, "PUBLISH: requests" and "DISCONNECT: the end".
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from push.access.ban_table import ActiveBan
from push.chat.conversation_id import to_user
from push.devices.session_queries import Filter
from push.wire.api.conversations import Range
from push.wire.frames import encode_frame
from push.wire.signals import DisconnectCode, RequestName, Signal
from tests.faults.slow_redis import SlowRedis

WaitUntil = Callable[..., Awaitable[Any]]
Make = Callable[..., Awaitable[Any]]
LAST_WORDS = 5


@pytest.fixture
def slow_redis(make_redis: Callable[..., Any]) -> Iterator[SlowRedis]:
    proxy = SlowRedis(make_redis().socket_path)
    yield proxy
    proxy.close()


def last_words(count: int = LAST_WORDS, message_ids: bool = True) -> bytes:
    """So many messages to ben and a DISCONNECT, as the bytes of one write."""
    frames = []
    for number in range(count):
        body = json.dumps({"to": {"user": "ben"}, "data": number}).encode()
        message_id = 100 + number if message_ids else 0
        frames.append(encode_frame(Signal.PUBLISH, RequestName.MS, message_id, body))
    frames.append(encode_frame(Signal.DISCONNECT, 0, 0, b'{"code":"bye"}'))
    return b"".join(frames)


async def said(node: Any, user: str = "anna") -> list[Any]:
    page = await node.chat.messages.history(to_user(user, "ben"), Range(), user)
    return sorted(json.loads(bytes(each.data)) for each in page.messages)


async def of_anna(device: Make, node: Any, **options: Any) -> Any:
    client = await device(on=node, **options)
    await node.devices.bind("anna", client._credentials["token"])
    return client


@pytest.mark.parametrize("message_ids", [True, False], ids=["answered", "without an answer"])
@pytest.mark.parametrize("then", ["waits", "closes", "aborts"])
@pytest_twisted.ensureDeferred
async def test_requests_before_a_disconnect_are_carried_out(
    device: Make, node: Any, wait_until: WaitUntil, then: str, message_ids: bool
) -> None:
    client = await of_anna(device, node)
    client.transport.write(last_words(message_ids=message_ids))
    if then == "closes":
        client.transport.loseConnection()
    elif then == "aborts":
        # The kernel has the bytes, and sends them before the reset if it is given the time.
        await wait_until(lambda: all(each.device.requests for each in node.gateway.connections))
        client.transport.abortConnection()
    await wait_until(lambda: client.closed and not node.gateway.sessions)
    await wait_until(lambda: not node.gateway.connections)
    assert await said(node) == [*range(LAST_WORDS)]
    await wait_until(lambda: not node.hub.channels)
    await node.gateway.until_ended_are_done()
    assert "s" not in await node.record(client._credentials["token"]), "it is offline"


@pytest_twisted.ensureDeferred
async def test_every_end_of_a_session_is_counted_once_by_its_code(
    device: Make, node: Any, wait_until: WaitUntil
) -> None:
    lost = [await device(on=node) for _ in range(2)]
    polite = await device(on=node)
    before = dict(node.gateway.counters.reasons.ended)
    lost[0].transport.loseConnection()
    lost[1].transport.abortConnection()
    polite.transport.write(encode_frame(Signal.DISCONNECT, 0, 0, b'{"code":"bye"}'))
    await wait_until(lambda: not node.gateway.connections)
    ended = node.gateway.counters.reasons.ended
    assert ended - Counter(before) == {"connection_lost": 2, "bye": 1}


@pytest_twisted.ensureDeferred
async def test_requests_before_a_disconnect_are_carried_out_over_tls(
    make_node: Make, redis_url: str, certificate: Any, dial: Make, wait_until: WaitUntil
) -> None:
    server, trusting = certificate
    node = await make_node(redis_url)
    node.listen(server)
    client = await dial(node, tls=trusting)
    await client.register()
    await client.connect()
    await node.devices.bind("anna", client._credentials["token"])
    client.transport.write(last_words())
    client.transport.loseConnection()
    await wait_until(lambda: client.closed and not node.gateway.sessions)
    assert await said(node) == [*range(LAST_WORDS)]
    await wait_until(lambda: not node.gateway.connections)


@pytest_twisted.ensureDeferred
async def test_nothing_is_read_or_handed_out_after_a_disconnect(
    slow_redis: SlowRedis, make_node: Make, device: Make, wait_until: WaitUntil
) -> None:
    node = await make_node(slow_redis.url, ready=True)
    node.listen()
    client = await of_anna(device, node)
    slow_redis.delay_seconds = 0.05
    client.transport.write(last_words())
    await wait_until(lambda: any(s.requests for s in node.gateway.sessions.values()))
    client.transport.write(last_words())  # not read
    await node.push("token", client._credentials["token"], data="late", ttl_seconds=0)
    await wait_until(lambda: client.closed and not node.gateway.sessions)
    slow_redis.delay_seconds = 0
    assert await said(node) == [*range(LAST_WORDS)]
    assert client.numbers == []


@pytest.mark.parametrize("how", ["kicked", "banned", "taken over"])
@pytest_twisted.ensureDeferred
async def test_who_is_thrown_out_meanwhile_loses_what_waits(
    slow_redis: SlowRedis,
    make_node: Make,
    device: Make,
    dial: Make,
    wait_until: WaitUntil,
    how: str,
) -> None:
    node = await make_node(slow_redis.url, ready=True)
    node.listen()
    client = await of_anna(device, node)
    (session,) = node.gateway.sessions.values()
    slow_redis.delay_seconds = 0.1
    client.transport.write(last_words(40))
    await wait_until(lambda: session.requests)
    if how == "kicked":
        assert (await node.session_queries.kick(Filter(user="anna"))).kicked == 1
    elif how == "banned":
        await node.bans.add(ActiveBan("user", "anna", None))
    else:
        again = await dial(node)
        await again.connect(**client._credentials)
    await node.gateway.requests.until_ended_are_done()
    assert session.is_over
    slow_redis.delay_seconds = 0
    done = await said(node)
    assert len(done) < 40
    await wait_until(lambda: session not in node.gateway.requests._running)
    assert await said(node) == done, "after the answer nothing comes any more"


@pytest_twisted.ensureDeferred
async def test_what_waits_is_judged_by_the_state_as_it_is(
    slow_redis: SlowRedis, make_node: Make, device: Make, wait_until: WaitUntil
) -> None:
    """The device is rebound while its last words wait: those after that are the new user's."""
    node = await make_node(slow_redis.url, ready=True)
    node.listen()
    client = await of_anna(device, node)
    slow_redis.delay_seconds = 0.03
    client.transport.write(last_words(40))
    await wait_until(lambda: any(s.requests for s in node.gateway.sessions.values()))
    assert await node.devices.bind("olga", client._credentials["token"]) == []
    before = len(await said(node))
    await wait_until(lambda: not node.gateway.sessions)
    slow_redis.delay_seconds = 0
    assert len(await said(node)) == before < 40
    assert len(await said(node, "olga")) == 40 - before


@pytest_twisted.ensureDeferred
async def test_a_connector_that_stops_waits_for_last_words(
    slow_redis: SlowRedis, make_node: Make, device: Make, wait_until: WaitUntil
) -> None:
    node = await make_node(slow_redis.url, ready=True)
    node.listen()
    client = await of_anna(device, node)
    slow_redis.delay_seconds = 0.02
    client.transport.write(last_words())
    await wait_until(lambda: any(s.requests for s in node.gateway.sessions.values()))
    await Deferred.fromCoroutine(node.gateway.stop())
    slow_redis.delay_seconds = 0
    assert await said(node) == [*range(LAST_WORDS)]


# --- A deleted device ----------------------------------------------------------------------------


@pytest.mark.parametrize("noticed_by", ["a cursor", "a check of all sessions"])
@pytest_twisted.ensureDeferred
async def test_the_session_of_a_deleted_device_ends_as_kicked_whoever_notices_first(
    device: Make, node: Any, wait_until: WaitUntil, noticed_by: str
) -> None:
    """Its client must not come back, as one would whose device another connection has."""
    client = await device(acks=True)
    token = client._credentials["token"]
    await node.store.command("DEL", node.shards.of(f"dev:{token}").key(f"device:{token}"))
    if noticed_by == "a cursor":
        await node.push("all", data="for everyone")
    else:
        await node.gateway.commands.verify()
    await wait_until(lambda: client.ended_with is not None)
    assert client.ended_with == DisconnectCode.KICKED.value
