"""Supervised connections to a real Redis that is killed, paused, flushed and locked."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import pytest_twisted
import txredisapi
from twisted.internet.defer import CancelledError, Deferred, gatherResults

from push.redis.client import RedisClient
from push.redis.connection import supervised
from push.redis.connection.errors import StoreUnavailable
from push.redis.scripts import Script
from push.redis.shards import Shards
from tests.waiting import WaitUntil, pause

Connect = Callable[..., Awaitable[RedisClient]]
Usable = Callable[[RedisClient], Awaitable[Any]]

ECHO = Script("echo", "return {KEYS[1], ARGV[1]}")
COUNT = Script("count-calls", "return redis.call('INCR', KEYS[2])")


def ask(server: RedisClient, *command: bytes | str | int) -> Deferred[Any]:
    return Deferred.fromCoroutine(server.command(*command))


@pytest_twisted.ensureDeferred
async def test_answers_are_bytes_as_they_were_stored(connect: Connect, redis_url: str) -> None:
    server = await connect(redis_url)
    await server.command("SET", "k", b"007")

    assert await server.command("GET", "k") == b"007"


@pytest_twisted.ensureDeferred
async def test_our_own_mistake_is_an_error_and_not_an_outage(
    connect: Connect, redis_url: str
) -> None:
    server = await connect(redis_url)
    await server.command("SET", "k", "x")

    with pytest.raises(txredisapi.ResponseError):
        await server.command("INCR", "k")
    assert server.problem is None


@pytest_twisted.ensureDeferred
async def test_a_call_while_away_fails_at_once(connect: Connect) -> None:
    server = await connect("unix:///nowhere/redis.sock", ready=False)
    call, script = ask(server, "GET", "k"), Deferred.fromCoroutine(server.run(ECHO, [], ["x"]))

    assert call.called  # nothing was waited for
    assert script.called
    with pytest.raises(StoreUnavailable) as caught:
        await call
    with pytest.raises(StoreUnavailable):
        await script
    assert not caught.value.unknown
    assert "/nowhere/redis.sock" in caught.value.reason


@pytest_twisted.ensureDeferred
async def test_reconnects_never_stop(
    connect: Connect, usable: Usable, make_redis: Callable[..., Any], log_lines: list[str]
) -> None:
    redis = make_redis()
    server = await connect(redis.url)
    for _ in range(3):
        redis.kill()
        await pause(1)
        with pytest.raises(StoreUnavailable):
            await server.command("GET", "k")
        redis.start()
        await usable(server)
        assert await server.command("ECHO", "x") == b"x"
    away = [line for line in log_lines if "is unreachable" in line]
    back = [line for line in log_lines if line.endswith(": reconnected")]
    assert len(away) == len(back) == 3


@pytest_twisted.ensureDeferred
async def test_the_log_says_why_this_time_and_not_why_last_time(
    connect: Connect, usable: Usable, make_redis: Callable[..., Any], log_lines: list[str]
) -> None:
    redis = make_redis()
    server = await connect(redis.url)
    redis.kill()
    await pause(0.5)
    redis.start()
    await usable(server)
    log_lines.clear()

    redis.call("CLIENT", "KILL", "TYPE", "normal")
    await usable(server)
    await pause(0.1)

    (line,) = [line for line in log_lines if "is unreachable" in line]
    assert "the connection was lost" in line


@pytest_twisted.ensureDeferred
async def test_a_call_whose_connection_ends_may_have_run(
    connect: Connect, make_redis: Callable[..., Any]
) -> None:
    redis = make_redis()
    server = await connect(redis.url)
    redis.pause()
    answer = ask(server, "GET", "k")
    redis.kill()

    with pytest.raises(StoreUnavailable) as caught:
        await answer
    assert caught.value.unknown


@pytest_twisted.ensureDeferred
async def test_a_server_is_silent_that_says_nothing_though_it_was_asked(
    connect: Connect, make_redis: Callable[..., Any], wait_until: WaitUntil
) -> None:
    redis = make_redis()
    server = await connect(redis.url, timeout_seconds=60)
    redis.pause()
    answer = ask(server, "GET", "k")
    assert not server.is_silent(60)
    await wait_until(lambda: server.is_silent(0.1))
    assert Shards([server]).is_one_silent(0.1)
    redis.resume()
    await answer
    assert not server.is_silent(0.1)


@pytest_twisted.ensureDeferred
async def test_a_paused_server_fails_calls_within_the_time_out_and_all_goes_on_after(
    connect: Connect, usable: Usable, make_redis: Callable[..., Any]
) -> None:
    redis = make_redis()
    server = await connect(redis.url, timeout_seconds=0.5)
    redis.pause()
    begun = time.monotonic()

    with pytest.raises(StoreUnavailable) as caught:
        await server.command("GET", "k")
    waited = time.monotonic() - begun
    await pause(1.5)  # connections made meanwhile are accepted by the kernel and answer nothing
    assert server.problem is not None
    redis.resume()
    await usable(server)

    assert waited > 0.4
    assert caught.value.unknown
    assert await server.command("ECHO", "x") == b"x"


@pytest_twisted.ensureDeferred
async def test_an_idle_connection_to_a_server_that_went_silent_is_noticed(
    connect: Connect,
    usable: Usable,
    wait_until: WaitUntil,
    make_redis: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(supervised, "PING_SECONDS", 0.3)
    redis = make_redis()
    server = await connect(redis.url, timeout_seconds=0.5)
    redis.pause()

    await wait_until(lambda: server.problem is not None)

    redis.resume()
    await usable(server)


@pytest_twisted.ensureDeferred
async def test_scripts_that_were_flushed_are_loaded_again(connect: Connect, redis_url: str) -> None:
    server = await connect(redis_url)
    key = server.key("counter")
    assert await server.run(COUNT, [key], []) == 1
    await server.command("SCRIPT", "FLUSH")

    calls = [Deferred.fromCoroutine(server.run(COUNT, [key], [])) for _ in range(5)]
    assert sorted(await gatherResults(calls)) == [2, 3, 4, 5, 6]


@pytest_twisted.ensureDeferred
async def test_scripts_survive_a_restart_of_the_server(
    connect: Connect, usable: Usable, make_redis: Callable[..., Any]
) -> None:
    redis = make_redis()
    server = await connect(redis.url)
    await server.run(ECHO, [], ["x"])
    redis.kill()
    await pause(0.3)
    redis.start()
    await usable(server)

    assert await server.run(ECHO, [], ["y"]) == [server.key("clock").encode(), b"y"]


@pytest_twisted.ensureDeferred
async def test_the_first_calls_of_a_script_run_in_the_order_they_were_made(
    connect: Connect, redis_url: str
) -> None:
    server = await connect(redis_url)
    order: list[bytes] = []
    calls = [Deferred.fromCoroutine(server.run(ECHO, [], [n])) for n in range(20)]
    for call in calls:
        call.addCallback(lambda answer: order.append(answer[1]))

    await gatherResults(calls)

    assert order == [b"%d" % n for n in range(20)]


@pytest_twisted.ensureDeferred
async def test_a_caller_that_gives_up_does_not_shift_the_answers_of_others(
    connect: Connect, redis_url: str
) -> None:
    server = await connect(redis_url)
    first = ask(server, "ECHO", "first")
    given_up = ask(server, "ECHO", "given up")
    last = ask(server, "ECHO", "last")
    given_up.cancel()

    with pytest.raises(CancelledError):
        await given_up
    assert await first == b"first"
    assert await last == b"last"
    assert await server.command("ECHO", "after") == b"after"


@pytest_twisted.ensureDeferred
async def test_a_wrong_password_is_one_line_and_is_tried_again(
    connect: Connect,
    usable: Usable,
    make_redis: Callable[..., Any],
    log_lines: list[str],
) -> None:
    redis = make_redis()
    redis.call("CONFIG", "SET", "requirepass", "right")
    server = await connect(f"unix://:wrong@{redis.socket_path}", ready=False)
    await pause(1.5)
    assert server.problem is not None
    assert "WRONGPASS" in server.problem or "invalid" in server.problem
    assert len([line for line in log_lines if "is unreachable" in line]) == 1
    assert not [line for line in log_lines if "wrong@" in line]

    with_old = b"AUTH", b"right"
    assert with_old  # the operator sets the password that we were given
    set_password(redis, "right", "wrong")

    await usable(server)
    assert await server.command("ECHO", "x") == b"x"


def set_password(redis: Any, old: str, new: str) -> None:
    import socket

    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(redis.socket_path)
        connection.sendall(f"AUTH {old}\r\nCONFIG SET requirepass {new}\r\n".encode())
        assert connection.recv(100)


@pytest_twisted.ensureDeferred
async def test_a_user_of_the_acl_and_a_database_are_used(
    connect: Connect, make_redis: Callable[..., Any]
) -> None:
    redis = make_redis(extra_configuration="")
    redis.call("ACL", "SETUSER", "me", "on", ">word", "~*", "&*", "+@all")

    server = await connect(f"unix://me:word@{redis.socket_path}")

    assert await server.command("ACL", "WHOAMI") == b"me"


@pytest_twisted.ensureDeferred
async def test_a_server_that_cannot_now_is_away_and_not_an_error(
    connect: Connect, make_redis: Callable[..., Any]
) -> None:
    redis = make_redis()
    server = await connect(redis.url)
    redis.call("CONFIG", "SET", "maxmemory", "1")
    refused = Script("refused", "return redis.call('SET', KEYS[2], 'x')")

    with pytest.raises(StoreUnavailable, match="OOM"):
        await server.command("SET", "k", "x")
    with pytest.raises(StoreUnavailable, match="OOM"):
        await server.run(refused, ["k"], [])


@pytest_twisted.ensureDeferred
async def test_the_clock_is_known_as_soon_as_the_server_is_usable(
    connect: Connect, make_redis: Callable[..., Any]
) -> None:
    redis = make_redis()
    ahead = int(time.time() * 1_000_000) + 3_600_000_000
    redis.call("SET", "push:clock", str(ahead))

    server = await connect(redis.url)

    assert server.clock.now_us() >= ahead


@pytest_twisted.ensureDeferred
async def test_stop_ends_calls_and_leaves_no_timer(
    connect: Connect, make_redis: Callable[..., Any]
) -> None:
    redis = make_redis()
    server = await connect(redis.url)
    redis.pause()
    answer = ask(server, "GET", "k")

    await server.stop()

    with pytest.raises(StoreUnavailable):
        await answer
    redis.resume()


@pytest_twisted.ensureDeferred
async def test_stop_while_the_server_is_silent_during_the_greeting(
    connect: Connect, make_redis: Callable[..., Any]
) -> None:
    redis = make_redis()
    redis.pause()
    server = await connect(redis.url, ready=False)
    await pause(0.2)

    await server.stop()

    redis.resume()
