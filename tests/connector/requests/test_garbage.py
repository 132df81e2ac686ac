"""Nothing large is left for the garbage collector, which comes late: it would count as memory in
use, a minute after a flood as well."""

from __future__ import annotations

import gc
import json
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.threads import deferToThread

from benchmarks.hostile.connections import TEXT, Connection, Gone, ws_frame
from push.wire.signals import RequestName, Signal
from tests.waiting import DEADLINE_SECONDS, WaitUntil

LARGE_BYTES = 20_000
TIMES = 5
LARGE = "x" * 100_000
MEMBERS = {f"m{number}": 1 for number in range(5_000)}
REFUSED = {
    "invalid": (RequestName.MS, {"to": {"user": "x"}, "wrong": LARGE}),
    "too_large": (RequestName.MS, {"to": {"user": "x"}, "data": LARGE}),
    "many_members": (RequestName.TP, {"to": {"user": "x"}, "data": MEMBERS}),
    "unknown_group": (RequestName.GMI, {"group": "0" * 20, "extra": LARGE}),
    "presence": (RequestName.PS, {"users": [f"user{number}" for number in range(5_000)]}),
    "not_carried_out": (RequestName.MRN, {"conversation": LARGE, "read": 1}),
}


def large_things() -> dict[int, str]:
    """Bytes and texts of at least that size that anything holds, and what holds them."""
    return {
        id(part): f"{len(part):,} in {type(each).__name__} {each!r:.300}"
        for each in gc.get_objects()
        for part in gc.get_referents(each)
        if isinstance(part, bytes | bytearray | str) and len(part) >= LARGE_BYTES
    }


async def left_behind(act: Callable[[], None], is_over: Callable[[], bool], wait: Any) -> list[str]:
    """What large things are held when `act` was done some times, without a collection."""
    await deferToThread(act)
    await wait(is_over)
    gc.collect()
    before = large_things()
    gc.disable()
    try:
        for _ in range(TIMES):
            await deferToThread(act)
        await wait(is_over)
        return [what for key, what in large_things().items() if key not in before]
    finally:
        gc.enable()


async def listening(node: Any, dial: Any, carrier: str) -> tuple[int, dict[str, str]]:
    """A port for that carrier, and a registered device."""
    node.listen(web=carrier == "ws")
    client = await dial(node, web=carrier == "ws")
    pair = await client.register()
    client.transport.abortConnection()
    return node.ports[-1].getHost().port, pair


@pytest.mark.parametrize("carrier", ["tcp", "ws"])
@pytest.mark.parametrize("name", REFUSED)
@pytest_twisted.ensureDeferred
async def test_nothing_keeps_the_body_of_a_request_that_was_refused(
    nothing_older: None, node: Any, dial: Any, wait_until: WaitUntil, carrier: str, name: str
) -> None:
    port, pair = await listening(node, dial, carrier)
    request, body = REFUSED[name]
    raw = json.dumps(body).encode()

    def act() -> None:
        answers: Counter[str] = Counter()
        connection = Connection(port, carrier, answers)
        connection.connect(pair)
        connection.ask(request, raw)
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not any(each.startswith("PUB_ACK") for each in answers):
            assert time.monotonic() < deadline, answers
            connection.wait(1)
        assert not answers["PUB_ACK"], answers
        connection.close()

    left = await left_behind(act, lambda: not node.gateway.connections, wait_until)
    assert left == []


@pytest.mark.parametrize("carrier", ["tcp", "ws"])
@pytest.mark.parametrize("has_session", [False, True])
@pytest_twisted.ensureDeferred
async def test_nothing_keeps_what_a_connection_that_was_lost_had_sent(
    nothing_older: None,
    node: Any,
    dial: Any,
    wait_until: WaitUntil,
    carrier: str,
    has_session: bool,
) -> None:
    """A frame without its end, and a message of WebSocket that goes on."""
    port, pair = await listening(node, dial, carrier)
    body = json.dumps({"token": LARGE[:30_000]}).encode()

    def act() -> None:
        connection = Connection(port, carrier, Counter())
        if has_session:
            connection.connect(pair)
        if carrier == "ws":
            connection.send(ws_frame(b'{"signal":"' + body, TEXT, final=False))
        else:
            signal = Signal.PUBLISH if has_session else Signal.CONNECT
            connection.send(connection.encoded(signal, body, 5)[:-1])
        connection.close()

    left = await left_behind(act, lambda: not node.gateway.connections, wait_until)
    assert left == []


@pytest_twisted.ensureDeferred
async def test_nothing_keeps_a_large_connect_or_registration_that_was_refused(
    nothing_older: None, node: Any, dial: Any, wait_until: WaitUntil
) -> None:
    port, pair = await listening(node, dial, "tcp")
    cursors = {f"topic:t.{number}": "1" for number in range(2_000)}
    wrong = {**pair, "secret": "A" * len(pair["secret"]), "cursors": cursors}

    def act() -> None:
        with suppress(Gone):
            connection = Connection(port, "tcp", Counter())
            sub = {"key": LARGE[:30_000], "platform": "x", "app": "x", "token": "x"}
            connection.frame(Signal.SUB, json.dumps(sub).encode(), 1)
            connection.answer()
            connection.frame(Signal.CONNECT, json.dumps(wrong).encode(), 2)
            connection.answer()
            connection.close()

    left = await left_behind(act, lambda: not node.gateway.connections, wait_until)
    assert left == []
