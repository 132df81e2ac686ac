"""Requests of many sessions at a time: who waits for others keeps no place."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from push.connector.limits.read_queue import REQUESTS_AT_A_TIME, REQUESTS_AT_ONCE_PER_TURN
from push.devices.session_queries import APPLY, LIST
from push.wire.api.groups import NewGroup
from tests.connector.test_in_effect import jwt_of
from tests.waiting import WaitUntil

LONG_SECONDS = 600.0  # no test takes so long


async def never(_asked: bytes) -> None:
    await Deferred()


@pytest.mark.parametrize("name", ["GAM", "PS"])
@pytest_twisted.ensureDeferred
async def test_requests_that_wait_for_a_silent_connector_hold_up_nobody(
    name: str,
    make_node: Callable[..., Awaitable[Any]],
    redis_url: str,
    dial: Callable[..., Awaitable[Any]],
    wait_until: WaitUntil,
) -> None:
    node, silent = [await make_node(redis_url) for _ in range(2)]
    node.listen()
    clients = [await dial(node) for _ in range(2 * REQUESTS_AT_A_TIME + 1)]
    for number, client in enumerate(clients):
        await client.connect(jwt=jwt_of(f"u{number}"))
    *asking, other = clients
    groups = [
        (await node.chat.groups.create(f"u{number}", NewGroup("g"))).group
        for number in range(len(asking))
    ]
    for kind in (APPLY, LIST):
        silent.survey_handler.handle(kind, never)
    node.survey._deadline_seconds = LONG_SECONDS

    asked = [
        Deferred.fromCoroutine(client.ask(name, group=group, users=["nobody", f"u{number}"]))
        for number, (client, group) in enumerate(zip(asking, groups, strict=True))
    ]
    await wait_until(lambda: len(node.survey._open) >= REQUESTS_AT_A_TIME)
    assert (await other.ask("MS", to={"user": "u0"}, data=1))["ok"]
    assert not any(each.called for each in asked)

    await wait_until(lambda: len(node.survey._open) == len(asking))
    # Nothing of this is taken for work that takes Redis long, after which there are fewer places.
    assert node.gateway.limits.reads.request_places._at_a_time.whole >= REQUESTS_AT_A_TIME
    node.survey.stop()
    silent.survey_handler.stop()
    assert all([(await each)["ok"] for each in asked])
    assert node.gateway.limits.reads.request_places._at_a_time.whole >= REQUESTS_AT_A_TIME


@pytest_twisted.ensureDeferred
async def test_requests_that_are_refused_at_once_are_not_all_answered_in_one_turn(
    make_node: Callable[..., Awaitable[Any]],
    redis_url: str,
    dial: Callable[..., Awaitable[Any]],
    wait_until: WaitUntil,
) -> None:
    """Dozens of each session wait until its first was answered."""
    node = await make_node(redis_url)
    node.listen()
    clients = [await dial(node) for _ in range(12)]
    for number, client in enumerate(clients):
        await client.connect(jwt=jwt_of(f"u{number}"))
    dispatcher, places = node.gateway.requests, node.gateway.limits.reads.request_places
    held = [place for _ in range(REQUESTS_AT_A_TIME) if (place := places.take("held")) is not None]
    assert places.take("held") is None

    asked = [Deferred.fromCoroutine(client.ask("PS")) for client in clients for _ in range(30)]
    await wait_until(
        lambda: sum(len(each.requests or ()) for each in dispatcher._running) == len(asked)
    )
    for place in held:
        places.end(place)
    answered = sum(dispatcher.answered.values())
    assert 0 < answered <= REQUESTS_AT_ONCE_PER_TURN + len(clients)
    assert [(await each)["code"] for each in asked] == ["invalid"] * len(asked)
