"""Following a master by real sentinels: which one is believed, and what a new one means."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, gatherResults

from push.redis.client import RedisClient
from push.redis.connection import sentinel as sentinel_module
from push.redis.connection.errors import StoreUnavailable
from push.redis.scripts import Script
from tests.ports import free_port
from tests.redis.sentinels import Cluster, Sentinel, Server, sentinel_url
from tests.waiting import WaitUntil

Connect = Callable[..., Awaitable[RedisClient]]

WRITE = Script("write", "return redis.call('INCR', KEYS[2])")
NOTHING = Script("write-nothing", "return 'done before'")


async def port_of(server: RedisClient) -> int:
    return int((await server.command("CONFIG", "GET", "port"))[1])


def usable_at(server: RedisClient, master: Server) -> bool:
    """All connections are up, and to this server."""
    return server.problem is None and all(
        connection.where is not None and connection.where.port == master.port
        for connection in server._connections
    )


@pytest_twisted.ensureDeferred
async def test_all_connections_go_to_the_master_with_the_passwords_of_each(
    connect: Connect, cluster: Cluster, log_lines: list[str]
) -> None:
    server = await connect(cluster.url)
    heard: list[bytes] = []
    await server.channels.subscribe("x", heard.append)

    assert await port_of(server) == cluster.master().port
    assert await server.command("PUBLISH", server.channel("x"), "1") == 1
    text = "\n".join([*log_lines, str(server.address), *server.notes])
    assert "of-servers" not in text
    assert "of-sentinels" not in text


@pytest_twisted.ensureDeferred
async def test_rule_11_what_is_durable_is_answered_once_all_replicas_that_are_well_have_it(
    connect: Connect, cluster: Cluster
) -> None:
    server = await connect(cluster.url)
    keys = [server.key(f"counter{n}") for n in range(50)]

    writes = [Deferred.fromCoroutine(server.run(WRITE, [k], [], durable=True)) for k in keys]
    assert await gatherResults(writes) == [1] * 50

    on_replicas = [replica.ask("MGET", *keys) for replica in cluster.replicas()]
    assert on_replicas == [["1"] * 50] * 2


@pytest_twisted.ensureDeferred
async def test_rule_11_a_replica_that_hangs_is_waited_for_until_that_is_noticed(
    connect: Connect, cluster: Cluster, wait_until: WaitUntil
) -> None:
    server = await connect(cluster.url)
    key = server.key("counter")
    await server.run(WRITE, [key], [], durable=True)
    one, other = cluster.replicas()
    one.pause()

    with pytest.raises(StoreUnavailable, match="on its replicas") as caught:
        await server.run(WRITE, [key], [], durable=True)
    assert caught.value.unknown

    async def goes_on() -> bool:
        try:
            await server.run(WRITE, [key], [], durable=True)
        except StoreUnavailable:
            return False
        return True

    await wait_until(goes_on)
    assert other.ask("GET", key) == str(await server.command("GET", key), "ascii")
    one.resume()
    await wait_until(goes_on)


@pytest_twisted.ensureDeferred
async def test_rule_11_one_wait_serves_all_writes_of_a_turn(
    connect: Connect, cluster: Cluster
) -> None:
    server = await connect(cluster.url)
    await server.run(WRITE, [server.key("counter")], [], durable=True)
    calls_before = waits(cluster.master())

    writes = [
        Deferred.fromCoroutine(server.run(WRITE, [server.key("counter")], [], durable=True))
        for _ in range(100)
    ]
    await gatherResults(writes)

    assert waits(cluster.master()) - calls_before == 1


def waits(server: Server) -> int:
    line = server.info("commandstats").get("cmdstat_wait", "calls=0,")
    return int(line.partition("calls=")[2].partition(",")[0])


@pytest_twisted.ensureDeferred
async def test_rule_11_without_a_replica_it_is_not_known_whether_it_was_written(
    connect: Connect, cluster: Cluster
) -> None:
    """What needs no replica goes on, and nothing is cut off."""
    server = await connect(cluster.url)
    key = server.key("refused")
    for replica in cluster.replicas():
        replica.pause()

    calls = [Deferred.fromCoroutine(server.run(WRITE, [key], [], durable=True)) for _ in range(3)]
    calls.append(Deferred.fromCoroutine(server.run(NOTHING, [], [], durable=True)))
    assert await server.run(WRITE, [server.key("other")], []) == 1
    assert not any(call.called for call in calls)
    for call in calls:
        with pytest.raises(StoreUnavailable, match="on its replicas") as caught:
            await call
        assert caught.value.unknown
    assert await server.run(WRITE, [key], []) == 4
    # The same by another daemon writes nothing: what it finds is on no replica all the same.
    late = await connect(cluster.url)
    with pytest.raises(StoreUnavailable, match="on its replicas"):
        await late.run(NOTHING, [], [], durable=True)
    for replica in cluster.replicas():
        replica.resume()

    assert await server.run(WRITE, [key], [], durable=True) == 5
    assert server.problem is None


@pytest_twisted.ensureDeferred
async def test_news_of_a_switch_move_all_connections_off_a_master_that_hangs(
    connect: Connect, cluster: Cluster, wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connections themselves notice nothing for a minute, and nobody asks the sentinels."""
    monkeypatch.setattr(sentinel_module, "POLL_SECONDS", 600)
    server = await connect(cluster.url, timeout_seconds=60)
    heard: list[bytes] = []
    restored: list[int] = []
    await server.channels.subscribe("x", heard.append)
    server.on_restored(lambda: restored.append(1))
    old = cluster.master()
    old.pause()

    await wait_until(lambda: cluster.has_switched_from(old))
    new = cluster.master()
    await wait_until(lambda: usable_at(server, new))

    assert restored
    assert await server.command("PUBLISH", server.channel("x"), "1") == 1
    await wait_until(lambda: heard == [b"1"])


@pytest_twisted.ensureDeferred
async def test_a_switch_that_nobody_announced_is_found_by_asking(
    connect: Connect, run: Any, wait_until: WaitUntil
) -> None:
    one, other = run(Server()), run(Server())
    sentinel = run(Sentinel(one))
    server = await connect(sentinel_url([sentinel]))
    assert await port_of(server) == one.port

    sentinel.ask("SENTINEL", "REMOVE", "m")
    sentinel.ask("SENTINEL", "MONITOR", "m", "127.0.0.1", other.port, 1)

    await wait_until(lambda: usable_at(server, other))
    assert await port_of(server) == other.port


@pytest_twisted.ensureDeferred
async def test_a_sentinel_that_is_behind_does_not_lead_back_to_the_old_master(
    connect: Connect, run: Any, wait_until: WaitUntil, log_lines: list[str]
) -> None:
    old, new = run(Server()), run(Server())
    behind, knows = run(Sentinel(old, epoch=3)), run(Sentinel(new, epoch=4))
    server = await connect(sentinel_url([behind, knows]))
    assert await port_of(server) == new.port

    knows.kill()
    await wait_until(lambda: server.notes and "last fail-over" in server.notes[-1])
    assert await port_of(server) == new.port  # it is still good
    new.kill()
    await wait_until(lambda: "last fail-over" in (server.problem or ""))
    new.start()
    knows.start()

    await wait_until(lambda: usable_at(server, new))
    assert len([line for line in log_lines if "do not know of the last fail-over" in line]) == 1
    assert old.ask("EXISTS", "push:confirmed", "push:check") == 0
    assert f"127.0.0.1:{old.port}" not in "\n".join(log_lines)


@pytest_twisted.ensureDeferred
async def test_a_server_that_says_it_is_no_master_is_not_used_until_it_is_one(
    connect: Connect, run: Any, wait_until: WaitUntil, log_lines: list[str]
) -> None:
    """Also when it becomes a replica while it is used: the first refused write tells."""
    other, named = run(Server()), run(Server())
    sentinel = run(Sentinel(named))
    named.follow(other)
    server = await connect(sentinel_url([sentinel]), ready=False)
    await wait_until(lambda: "no master but a slave" in (server.problem or ""))

    named.ask("REPLICAOF", "NO", "ONE")
    await wait_until(lambda: usable_at(server, named))
    assert await server.run(WRITE, [server.key("counter")], []) == 1
    named.ask("REPLICAOF", "127.0.0.1", other.port)
    with pytest.raises(StoreUnavailable, match="READONLY"):
        await server.run(WRITE, [server.key("counter")], [])
    await wait_until(lambda: "no master but a slave" in (server.problem or ""))
    assert server._subscriber.protocol is None

    named.ask("REPLICAOF", "NO", "ONE")
    await wait_until(lambda: usable_at(server, named))


@pytest_twisted.ensureDeferred
async def test_while_no_sentinel_answers_one_line_says_so_and_asking_goes_on(
    connect: Connect, run: Any, wait_until: WaitUntil, log_lines: list[str]
) -> None:
    master = run(Server())
    sentinel = Sentinel(master)
    nobody = f"127.0.0.1:{free_port()}"
    url = sentinel_url([sentinel]).replace("//", f"//{nobody},")
    server = await connect(url, ready=False)
    await wait_until(lambda: "no sentinel names the master m" in (server.problem or ""))
    await wait_until(lambda: server._commands._attempts > 2)
    with pytest.raises(StoreUnavailable, match="no sentinel names the master m"):
        await server.command("PING")
    (line,) = [line for line in log_lines if "no sentinel" in line]
    assert f"{nobody}: Connection was refused" in line
    assert not [line for line in log_lines if "is unreachable" in line]

    run(sentinel)

    await wait_until(lambda: usable_at(server, master))
    assert [line for line in log_lines if "names the master again" in line]
    sentinel.kill()
    await wait_until(lambda: server.notes and "no sentinel names" in server.notes[-1])
    assert server.problem is None


@pytest_twisted.ensureDeferred
async def test_a_master_that_the_sentinels_do_not_know_is_named(
    connect: Connect, run: Any, wait_until: WaitUntil
) -> None:
    sentinel = run(Sentinel(run(Server())))
    url = sentinel_url([sentinel]).replace("/m", "/nobody")
    server = await connect(url, ready=False)

    await wait_until(lambda: "No such master" in (server.problem or ""))
    assert "no sentinel names the master nobody" in (server.problem or "")


@pytest_twisted.ensureDeferred
async def test_sentinels_without_a_password_may_be_asked_with_the_servers(
    connect: Connect, run: Any
) -> None:
    master = run(Server("secret"))
    sentinel = run(Sentinel(master))

    server = await connect(sentinel_url([sentinel], "secret"))

    assert await port_of(server) == master.port


@pytest_twisted.ensureDeferred
async def test_a_wrong_password_of_the_sentinels_is_said(
    connect: Connect, run: Any, wait_until: WaitUntil
) -> None:
    sentinel = run(Sentinel(run(Server("secret")), password="other"))
    server = await connect(sentinel_url([sentinel], "secret"), ready=False)

    await wait_until(lambda: "WRONGPASS" in (server.problem or ""))
    assert "secret" not in (server.problem or "")


@pytest_twisted.ensureDeferred
async def test_a_stop_while_the_sentinels_are_silent_leaves_nothing(
    connect: Connect, run: Any, wait_until: WaitUntil
) -> None:
    sentinel = run(Sentinel(run(Server())))
    sentinel.pause()
    server = await connect(sentinel_url([sentinel]), ready=False)
    await wait_until(lambda: server._commands._attempts >= 0)

    await server.stop()

    sentinel.resume()
