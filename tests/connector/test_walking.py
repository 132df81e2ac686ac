"""Many sessions are looked at in slices, between which the reactor runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from push.access.ban_table import ActiveBan
from push.connector.sessions import walking
from push.connector.sessions.walking import SESSIONS_PER_TURN, walk
from tests.waiting import WaitUntil

Make = Callable[..., Awaitable[Any]]


def test_no_turn_looks_at_more_than_a_slice() -> None:
    seen: list[Any] = []
    seen_in_turns: list[int] = []

    class Turns(Clock):
        def callLater(self, *args: Any) -> Any:  # type: ignore[override]  # only noted
            seen_in_turns.append(len(seen))
            return super().callLater(*args)

    clock = Turns()
    sessions: Any = {str(number): number for number in range(2 * SESSIONS_PER_TURN + 1)}
    done = Deferred.fromCoroutine(walk(clock, sessions, seen.append))
    assert not done.called
    clock.advance(0)
    assert seen_in_turns == [SESSIONS_PER_TURN, 2 * SESSIONS_PER_TURN]
    assert seen == list(sessions.values())
    assert done.called
    assert not clock.getDelayedCalls()


@pytest_twisted.ensureDeferred
async def test_a_ban_is_answered_when_the_last_slice_has_ended(
    make_node: Make,
    redis_url: str,
    device: Make,
    wait_until: WaitUntil,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(walking, "SESSIONS_PER_TURN", 1)
    node = await make_node(redis_url)
    node.listen()
    clients = [await device(on=node) for _ in range(6)]
    held = [each for each in node.gateway.sessions.values() if each.protocol.is_established]
    assert len(held) == 6

    assert await node.bans.add(ActiveBan("ip", "127.0.0.0/8", None)) == []
    await node.bans.wait_until_current()

    assert all(each.is_over for each in held)
    await wait_until(lambda: all(client.ended_with == "kicked" for client in clients))
