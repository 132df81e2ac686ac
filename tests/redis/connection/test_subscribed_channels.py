"""What is wanted is heard, whatever happens to the connection."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater

from push.redis.client import RedisClient
from tests.waiting import DEADLINE_SECONDS, WaitUntil

Connect = Callable[..., Awaitable[RedisClient]]
Usable = Callable[[RedisClient], Awaitable[Any]]


async def turn(seconds: float = 0) -> None:
    from twisted.internet import reactor

    await deferLater(reactor, seconds)


async def channels_at_redis(server: RedisClient) -> set[bytes]:
    """What is heard, but for what every connection hears."""
    found = set(await server.command("PUBSUB", "CHANNELS", "*"))
    return found - {server.channel("check")}


def confirmed(server: RedisClient, name: str, handler: Callable[[bytes], None]) -> Deferred[None]:
    return server.channels.subscribe(name, handler)


@pytest_twisted.ensureDeferred
async def test_each_of_thousands_of_channels_is_heard_from_its_own_confirmation_on(
    connect: Connect, redis_url: str, wait_until: WaitUntil
) -> None:
    """A message published the moment a channel is confirmed must be heard: exact counting."""
    server = await connect(redis_url)
    heard: Counter[int] = Counter()
    published = []

    def want(number: int) -> Deferred[None]:
        name = f"n{number}"

        def publish(_: None) -> None:
            published.append(
                Deferred.fromCoroutine(server.command("PUBLISH", server.channel(name), "x"))
            )

        return server.channels.subscribe(name, lambda _: heard.update([number])).addCallback(
            publish
        )

    waiting = []
    for number in range(3000):
        waiting.append(want(number))
        if number % 700 == 0:
            await turn()
    await gatherResults(waiting)

    assert await gatherResults(published) == [1] * 3000
    await wait_until(lambda: len(heard) == 3000)
    assert set(heard.values()) == {1}


@pytest_twisted.ensureDeferred
async def test_wants_and_drops_in_any_order_end_in_what_is_wanted(
    connect: Connect, redis_url: str, wait_until: WaitUntil
) -> None:
    server = await connect(redis_url)
    chance = random.Random(7)
    wanted: set[str] = set()
    for _ in range(3000):
        name = f"c{chance.randrange(40)}"
        if chance.random() < 0.5:
            server.channels.subscribe(name, lambda _: None)
            wanted.add(name)
        else:
            server.channels.unsubscribe(name)
            wanted.discard(name)
        if chance.random() < 0.1:
            await turn()
        if chance.random() < 0.01:
            await turn(0.002)

    async def as_wanted() -> bool:
        return await channels_at_redis(server) == {server.channel(name) for name in wanted}

    await wait_until(as_wanted)


@pytest_twisted.ensureDeferred
async def test_a_channel_confirmed_after_drop_and_want_is_heard(
    connect: Connect, redis_url: str, wait_until: WaitUntil
) -> None:
    server = await connect(redis_url)
    for wait in (0, 1, 2, 3):
        heard: list[bytes] = []
        await server.channels.subscribe("x", lambda _: None)
        server.channels.unsubscribe("x")
        for _ in range(wait):
            await turn()
        await server.channels.subscribe("x", heard.append)

        assert await server.command("PUBLISH", server.channel("x"), "1") == 1
        await wait_until(lambda heard=heard: heard == [b"1"])
        server.channels.unsubscribe("x")
        await turn(0.01)


@pytest_twisted.ensureDeferred
async def test_a_killed_subscriber_hears_everything_again_before_it_says_so(
    connect: Connect, redis_url: str, redis_server: Any, wait_until: WaitUntil
) -> None:
    server = await connect(redis_url)
    names = [f"n{number}" for number in range(2000)]
    await gatherResults([server.channels.subscribe(name, lambda _: None) for name in names])
    at_restored: list[Deferred[Any]] = []
    server.on_restored(
        lambda: at_restored.append(Deferred.fromCoroutine(channels_at_redis(server)))
    )
    wanted = {server.channel(name) for name in names}

    redis_server.call("CLIENT", "KILL", "TYPE", "pubsub")
    await wait_until(lambda: at_restored)

    assert await at_restored[0] == wanted


@pytest_twisted.ensureDeferred
async def test_a_subscriber_killed_again_and_again_while_it_subscribes_gets_there(
    connect: Connect, redis_url: str, redis_server: Any, wait_until: WaitUntil
) -> None:
    server = await connect(redis_url)
    names = [f"n{number}" for number in range(5000)]
    await gatherResults([server.channels.subscribe(name, lambda _: None) for name in names])
    chance = random.Random(3)
    extra: list[str] = []
    for round_ in range(12):
        redis_server.call("CLIENT", "KILL", "TYPE", "pubsub")
        # New wishes and drops in the middle of it.
        name = f"extra{round_}"
        server.channels.subscribe(name, lambda _: None)
        extra.append(name)
        server.channels.unsubscribe(names.pop())
        await turn(chance.random() * 0.15)
    wanted = {server.channel(name) for name in names + extra}

    async def as_wanted() -> bool:
        return server.problem is None and await channels_at_redis(server) == wanted

    await wait_until(as_wanted)


@pytest_twisted.ensureDeferred
async def test_a_confirmation_given_is_never_that_of_a_connection_already_lost(
    connect: Connect, redis_url: str, redis_server: Any, wait_until: WaitUntil
) -> None:
    """The connection dies while it still subscribes: nothing counts as heard until the next."""
    server = await connect(redis_url)
    names = [f"n{number}" for number in range(6000)]
    await gatherResults([server.channels.subscribe(name, lambda _: None) for name in names])
    lost = 0
    for _ in range(3):
        redis_server.call("CLIENT", "KILL", "TYPE", "pubsub")
        await wait_until(lambda: server.problem is not None)
        # Wait until it is subscribing, then cut it off there.
        await wait_until(lambda: server.channels._sent or server.problem is None)
        if server.problem is None:
            continue
        redis_server.call("CLIENT", "KILL", "TYPE", "pubsub")
        for _ in range(5):
            await turn()
            if server.problem is not None and server.channels._protocol is None:
                lost += 1
                assert not server.channels._confirmed
                break
    await wait_until(lambda: server.problem is None)
    assert lost


@pytest_twisted.ensureDeferred
async def test_a_wish_made_while_redis_is_away_is_confirmed_when_it_is_back(
    connect: Connect, make_redis: Callable[..., Any], wait_until: WaitUntil
) -> None:
    redis = make_redis()
    server = await connect(redis.url)
    redis.kill()
    await wait_until(lambda: server.problem is not None)
    waiting = server.channels.subscribe("x", lambda _: None)
    await turn(0.2)
    assert not waiting.called
    redis.start()

    await waiting
    await wait_until(lambda: server.problem is None)

    assert await server.command("PUBLISH", server.channel("x"), "1") == 1


@pytest_twisted.ensureDeferred
async def test_nobody_waits_for_a_channel_that_was_dropped_before_it_was_subscribed(
    connect: Connect, wait_until: WaitUntil
) -> None:
    server = await connect("unix:///nowhere/redis.sock", ready=False)
    waiting = server.channels.subscribe("x", lambda _: None)

    server.channels.unsubscribe("x")

    assert waiting.called
    assert not server.channels._waiters


@pytest_twisted.ensureDeferred
async def test_who_stops_waiting_is_forgotten(connect: Connect) -> None:
    server = await connect("unix:///nowhere/redis.sock", ready=False)
    waiting = server.channels.subscribe("x", lambda _: None)
    waiting.addErrback(lambda _: None)

    waiting.cancel()

    assert not server.channels._waiters
    server.channels.unsubscribe("x")


@pytest_twisted.ensureDeferred
async def test_a_handler_that_fails_is_logged_and_the_others_go_on(
    connect: Connect,
    redis_url: str,
    wait_until: WaitUntil,
    flush_logged_errors: Callable[..., list[Any]],
) -> None:
    server = await connect(redis_url)
    heard: list[bytes] = []

    def fail(_: bytes) -> None:
        raise ZeroDivisionError

    await gatherResults(
        [
            server.channels.subscribe("bad", fail),
            server.channels.subscribe("good", heard.append),
        ]
    )
    await server.command("PUBLISH", server.channel("bad"), "1")
    await server.command("PUBLISH", server.channel("good"), "2")

    await wait_until(lambda: heard == [b"2"])
    assert len(flush_logged_errors(ZeroDivisionError)) == 1


@pytest_twisted.ensureDeferred
async def test_a_subscriber_that_was_cut_for_reading_too_slowly_comes_back(
    connect: Connect, make_redis: Callable[..., Any], wait_until: WaitUntil, usable: Usable
) -> None:
    """Redis cuts a subscriber whose output buffer is full and throws the messages away."""
    redis = make_redis()
    redis.call("CONFIG", "SET", "client-output-buffer-limit", "pubsub 200000 100000 1")
    server = await connect(redis.url)
    restored: list[int] = []
    heard: list[bytes] = []
    server.on_restored(lambda: restored.append(1))
    await server.channels.subscribe("x", heard.append)
    # All in one go: Redis serves its clients between two reads of ours.
    transaction = "".join(
        f"*3\r\n$7\r\nPUBLISH\r\n${len(channel)}\r\n{channel}\r\n$20000\r\n{'y' * 20000}\r\n"
        for channel in [server.channel("x").decode()] * 200
    )
    send_transaction(redis.socket_path, transaction)

    await wait_until(lambda: restored)
    await usable(server)
    heard.clear()
    await server.command("PUBLISH", server.channel("x"), "after")
    await wait_until(lambda: heard == [b"after"])


def send_transaction(path: str, commands: str) -> None:
    import socket

    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(DEADLINE_SECONDS)
        connection.connect(path)
        connection.sendall(f"MULTI\r\n{commands}EXEC\r\n".encode())
        answers = b""
        while b"*200" not in answers:
            answers += connection.recv(65536)


@pytest.mark.parametrize("database", [0, 3])
def test_channels_carry_the_database_because_pubsub_knows_none(database: int) -> None:
    from twisted.internet import reactor

    from push.redis.connection.url import RedisAddress

    server = RedisClient(reactor, RedisAddress(host="h", database=database), prefix="p")

    assert server.channel("live:all") == f"p:{database}:live:all".encode()
    assert server.key("log:all") == "p:log:all"
