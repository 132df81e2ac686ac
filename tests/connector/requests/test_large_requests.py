"""Requests are carried out a few at a time, and large ones fewer: what others ask of Redis waits
behind them."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from push.connector.limits.large_requests import (
    LARGE_REQUEST_BYTES,
    LARGE_REQUESTS_AT_A_TIME,
    LargeRequests,
)
from push.connector.limits.read_queue import REQUESTS_AT_A_TIME
from push.connector.requests.chat import MANY_USERS_BYTES
from push.connector.requests.dispatch import (
    LONG_ANSWER_BYTES,
    LONG_ANSWER_RESTS,
    Caller,
    Handler,
    RequestDispatcher,
)
from push.runtime.places import Places, TakenPlace
from push.wire.api.groups import NewGroup
from push.wire.signals import RequestName, Signal
from tests.waiting import WaitUntil

SESSIONS = 6
REQUESTS = 4  # of each


class Running:
    """How many requests are being carried out, and the most there were."""

    def __init__(self, node: Any, request: RequestName) -> None:
        self.now = self.most = 0
        requests = node.gateway.requests
        handler: Handler = requests._handlers[request]
        handle = handler.handle

        async def counted(caller: Caller, body: Any) -> msgspec.Struct | None:
            self.now += 1
            self.most = max(self.most, self.now)
            try:
                return await handle(caller, body)
            finally:
                self.now -= 1

        handler.handle = counted


@pytest.fixture
def sent_by_all(
    node: Any, device: Callable[..., Awaitable[Any]], wait_until: WaitUntil
) -> Callable[..., Awaitable[Running]]:
    """So many sessions send messages of that size at once, and have their answers."""

    async def send(size: int, sessions: int = SESSIONS) -> Running:
        clients = [await device(acks=True) for _ in range(sessions)]
        for number, client in enumerate(clients):
            await node.devices.bind(f"u{number}", client._credentials["token"])
        running = Running(node, RequestName.MS)
        raw = json.dumps({"to": {"user": "peer"}, "data": "x" * size}).encode()
        for number in range(REQUESTS):
            for client in clients:
                client.write_frame(Signal.PUBLISH, RequestName.MS, 100 + number, raw)
        for client in clients:
            for number in range(REQUESTS):
                answer = await client.answer(Signal.PUB_ACK, 100 + number)
                assert json.loads(answer.body)["ok"] is True, answer.body
        return running

    return send


@pytest_twisted.ensureDeferred
async def test_large_requests_are_carried_out_a_few_at_a_time(sent_by_all: Any) -> None:
    running = await sent_by_all(LARGE_REQUEST_BYTES)
    assert running.most == LARGE_REQUESTS_AT_A_TIME


@pytest_twisted.ensureDeferred
async def test_small_ones_of_several_sessions_do_not_wait_for_each_other(sent_by_all: Any) -> None:
    running = await sent_by_all(100)
    assert running.most > LARGE_REQUESTS_AT_A_TIME


@pytest_twisted.ensureDeferred
async def test_of_many_sessions_some_are_carried_out_at_a_time(sent_by_all: Any) -> None:
    sessions = 2 * REQUESTS_AT_A_TIME
    running = await sent_by_all(100, sessions)
    # A few more where they do not make each other wait.
    assert LARGE_REQUESTS_AT_A_TIME < running.most < sessions


@pytest_twisted.ensureDeferred
async def test_groups_of_many_users_are_made_a_few_at_a_time(
    node: Any, device: Callable[..., Awaitable[Any]]
) -> None:
    clients = [await device(acks=True) for _ in range(SESSIONS)]
    for number, client in enumerate(clients):
        await node.devices.bind(f"u{number}", client._credentials["token"])
    running = Running(node, RequestName.GC)
    members = [f"member{number:04}" for number in range(MANY_USERS_BYTES // 10)]
    raw = json.dumps({"name": "g", "members": members}).encode()
    for client in clients:
        client.write_frame(Signal.PUBLISH, RequestName.GC, 100, raw)
    for client in clients:
        answer = await client.answer(Signal.PUB_ACK, 100)
        assert json.loads(answer.body)["members"] == len(members) + 1
    assert running.most == LARGE_REQUESTS_AT_A_TIME


@pytest_twisted.ensureDeferred
async def test_changes_of_groups_are_made_a_few_at_a_time(
    node: Any, device: Callable[..., Awaitable[Any]]
) -> None:
    clients = [await device(acks=True) for _ in range(SESSIONS)]
    running = Running(node, RequestName.GMI)
    for number, client in enumerate(clients):
        await node.devices.bind(f"u{number}", client._credentials["token"])
        group = (await node.chat.groups.create(f"u{number}", NewGroup("g"))).group
        for change in range(REQUESTS):
            raw = json.dumps({"group": group, "name": f"g{change}"}).encode()
            client.write_frame(Signal.PUBLISH, RequestName.GMI, 100 + change, raw)
    for client in clients:
        for change in range(REQUESTS):
            answer = await client.answer(Signal.PUB_ACK, 100 + change)
            assert json.loads(answer.body)["name"] == f"g{change}"
    assert running.most == LARGE_REQUESTS_AT_A_TIME


@pytest_twisted.ensureDeferred
async def test_after_a_long_answer_the_place_rests(
    node: Any, device: Callable[..., Awaitable[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await device(acks=True)
    await node.devices.bind("anna", client._credentials["token"])
    members = [f"member{number:04}" for number in range(200)]
    group = (await node.chat.groups.create("anna", NewGroup("g", members=members))).group
    places: dict[int, TakenPlace] = {}
    carry_out = RequestDispatcher._carry_out

    async def noted(self: Any, device: Any, request: Any, place: TakenPlace) -> None:
        places[request.message_id] = place
        await carry_out(self, device, request, place)

    monkeypatch.setattr(RequestDispatcher, "_carry_out", noted)
    sizes = {}
    for number, limit in ((100, 200), (101, 1)):
        raw = json.dumps({"group": group, "limit": limit}).encode()
        client.write_frame(Signal.PUBLISH, RequestName.GPGM, number, raw)
        sizes[number] = len((await client.answer(Signal.PUB_ACK, number)).body)

    assert sizes[100] >= LONG_ANSWER_BYTES > sizes[101]
    assert {number: place.rests for number, place in places.items()} == {
        100: LONG_ANSWER_RESTS,
        101: 0.0,
    }


@pytest.mark.parametrize(
    ("request_name", "body"),
    [(RequestName.GPGM, {"limit": 200}), (RequestName.GMI, {"name": "new"})],
    ids=["a long answer", "a large request"],
)
@pytest_twisted.ensureDeferred
async def test_nobody_waits_for_a_session_whose_place_rests(
    node: Any, device: Callable[..., Awaitable[Any]], request_name: RequestName, body: Any
) -> None:
    """As who changes its rights, or ends it, does until what it asked for is done."""
    client = await device(acks=True)
    await node.devices.bind("anna", client._credentials["token"])
    members = [f"member{number:04}" for number in range(200)]
    group = (await node.chat.groups.create("anna", NewGroup("g", members=members))).group
    clock, gateway = Clock(), node.gateway  # the rest ends when the test says so
    gateway.reads.request_places = Places(clock, REQUESTS_AT_A_TIME)
    gateway.reads.large_requests = LargeRequests(clock)
    handler: Handler = gateway.requests._handlers[request_name]
    handle = handler.handle
    (connection,) = gateway.connections
    before: list[Deferred[None]] = []

    async def slow(caller: Caller, body: Any) -> msgspec.Struct | None:
        before.append(Deferred.fromCoroutine(gateway.requests.until_done([connection.device])))
        assert not before[0].called
        clock.advance(0.01)
        return await handle(caller, body)

    handler.handle = slow
    raw = json.dumps({"group": group, **body}).encode()
    client.write_frame(Signal.PUBLISH, request_name, 100, raw)
    assert json.loads((await client.answer(Signal.PUB_ACK, 100)).body)["ok"] is True

    assert clock.getDelayedCalls(), "its place rests"
    settled = Deferred.fromCoroutine(gateway.requests.until_done([connection.device]))
    assert before[0].called
    assert settled.called
    clock.advance(1)
    assert not clock.getDelayedCalls()
