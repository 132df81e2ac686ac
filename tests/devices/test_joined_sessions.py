"""Sessions that open or end in one turn of the reactor are one call of Redis, and each has its own
answer."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, DeferredList

from push.access.bans import nobody_is_banned
from push.access.jwt import JwtVerifier
from push.daemons.domain import Domain
from push.devices.session_ending import EndedSession
from push.devices.session_opening import OPENED_TOGETHER, Opened
from push.devices.sessions import Sessions
from push.redis.client import RedisClient
from push.redis.scripts import Script
from push.wire.bodies import ConnectRequest
from push.wire.errors import RequestError

IP = "1.2.3.4"


@pytest.fixture
def sessions(domain: Domain) -> Sessions:
    domain.devices.check_ban = nobody_is_banned  # else each waits for what is banned
    return Sessions(
        domain.shards,
        domain.devices,
        domain.outbox,
        JwtVerifier([], algorithms=["HS256"], audience="push", issuer=None),
        boot="boot",
        node="node",
        retention_seconds=3600,
        redeliver_after_seconds=0,
    )


async def register(domain: Domain, count: int) -> list[ConnectRequest]:
    pairs = [await domain.devices.register(platform="p", app="a", ip=IP) for _ in range(count)]
    return [ConnectRequest(token=pair.token, secret=pair.secret) for pair in pairs]


async def open_all(sessions: Sessions, asked: list[ConnectRequest]) -> list[Opened | RequestError]:
    """What became of each that was asked for in one turn; the session of `asked[n]` is `s<n>`."""
    opening = [
        Deferred.fromCoroutine(sessions.opening.open(each, f"s{number}", IP))
        for number, each in enumerate(asked)
    ]
    outcomes: Any = await DeferredList(opening, consumeErrors=True)
    return [outcome if is_open else outcome.value for is_open, outcome in outcomes]


@pytest.fixture
def scripts(store: RedisClient, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of scripts that open and end sessions, as they are run."""
    run, names = store.run, []

    async def noted(script: Script, *arguments: Any, **options: Any) -> Any:
        if script.name in ("open", "close"):
            names.append(script.name)
        return await run(script, *arguments, **options)

    monkeypatch.setattr(store, "run", noted)
    return names


@pytest_twisted.ensureDeferred
async def test_sessions_of_one_turn_open_and_end_in_few_calls(
    domain: Domain, sessions: Sessions, scripts: list[str]
) -> None:
    asked = await register(domain, OPENED_TOGETHER + 2)
    await open_all(sessions, asked)
    assert scripts == ["open"] * 2
    ended = [EndedSession(str(each.token), f"s{n}") for n, each in enumerate(asked)]
    assert await sessions.ending.close(ended) == []
    assert scripts == ["open", "open", "close"]
    for each in asked:
        assert not (await domain.devices.get(str(each.token))).online


@pytest_twisted.ensureDeferred
async def test_each_has_its_own_answer(domain: Domain, sessions: Sessions) -> None:
    right, wrong, other = await register(domain, 3)
    assert wrong.token is not None
    wrong = msgspec.structs.replace(wrong, secret="another")
    gone = msgspec.structs.replace(other, token=other.token)
    await domain.devices.forget(str(gone.token))

    outcomes = await open_all(sessions, [right, wrong, gone, right])

    assert [getattr(each, "code", "open") for each in outcomes] == [
        "open",
        "unauthenticated",
        "unknown_token",
        "open",
    ]
    last = outcomes[-1]
    assert isinstance(last, Opened)
    assert last.before == ("boot", "s0")  # the first of the turn had the device
    assert (await domain.devices.get(str(right.token))).session == "s3"
    assert (await domain.devices.get(wrong.token)).session is None


@pytest_twisted.ensureDeferred
async def test_one_that_fails_in_redis_harms_no_other(
    store: RedisClient, domain: Domain, sessions: Sessions, logged_errors: Any
) -> None:
    asked = await register(domain, 3)
    broken = store.key(f"device:{asked[1].token}")
    await store.command("HSET", broken, "e", "no number")

    outcomes = await open_all(sessions, asked)

    assert isinstance(outcomes[0], Opened)
    assert "open" in str(outcomes[1]), "the script is named"
    assert isinstance(outcomes[2], Opened)


@pytest_twisted.ensureDeferred
async def test_one_with_cursors_is_a_call_of_its_own(
    domain: Domain, sessions: Sessions, scripts: list[str]
) -> None:
    """What a cursor passes is counted, message by message: others do not wait for it."""
    asked = await register(domain, 4)
    asked[1] = msgspec.structs.replace(asked[1], cursors={"all": "1"})
    asked[2] = msgspec.structs.replace(asked[2], cursors={"all": "1"})
    await open_all(sessions, asked)
    assert scripts == ["open"] * 3
