"""Records of messages that are traced are moved with their trace."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted
from msgspec import Raw

from push.pushing.content import PushContent
from push.pushing.service import Push
from push.pushing.targets import Target
from push.redis.keyspace import LEDGER_TRACE, message_name
from tests.resharding.test_once import devices
from tests.resharding.world import Worlds

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class TracedSpan:
    traceparent = TRACE
    is_sampled = True

    def end(self, attributes: Any, error: str = "") -> None:
        assert not error


class Traces:
    """All that is published is in one trace."""

    def start(self, name: str, parent: str | None) -> TracedSpan:
        return TracedSpan()


async def traces_of(world: Worlds, id: str) -> set[bytes | None]:
    """In all parts of the record of a message."""
    found = set()
    for server in world.servers:
        key = server.key(message_name(id))
        if await server.command("EXISTS", key):
            found.add(await server.command("HGET", key, LEDGER_TRACE))
    return found


@pytest.mark.parametrize("after", [[0, 1, 2], [2]], ids=["more servers", "another server"])
@pytest_twisted.ensureDeferred
async def test_a_traced_message_to_any_target_keeps_its_trace_and_its_counts(
    make_world: Any, make_redis: Any, move: Any, wait_until: Any, after: list[int]
) -> None:
    urls = [make_redis().url for _ in range(3)]
    old, new = urls[:2], [urls[number] for number in after]
    world = await make_world(1, old)
    tokens = await devices(world, 6)
    for number, token in enumerate(tokens):
        await world.devices.bind(f"user{number % 4}", token)
        await world.topics.subscribe("news", token)
    targets = [
        Target("token", (tokens[0],)),
        Target("tokens", tuple(tokens)),
        Target("user", ("user0",)),
        Target("users", ("user0", "user1", "user2", "user3")),
        Target("topic", ("news",)),
        Target("all", ()),
    ]
    untraced = await world.say("topic", "news")
    world.pushing._tracer = Traces()
    ids = [
        (await world.pushing.push(Push(target, PushContent(data=Raw(b"1"))))).id
        for target in targets
    ]
    counts = [await world.pushing.message(id) for id in ids]
    lines = [await world.pushing._ledger.devices(id) for id in ids]
    await world.unsettle()

    await move(old, new)

    await world.settle(new, wait_until)
    assert [await traces_of(world, id) for id in ids] == [{TRACE.encode()}] * len(ids)
    assert await traces_of(world, untraced.id) == {None}
    again = [await world.pushing.message(id) for id in ids]
    assert [one.addressed for one in again] == [one.addressed for one in counts]
    assert [one.stored for one in again] == [one.stored for one in counts]
    assert [await world.pushing._ledger.devices(id) for id in ids] == lines
