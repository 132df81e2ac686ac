"""The servers of both lists: connected, each once, and whether somebody else is."""

from __future__ import annotations

from collections.abc import Sequence

from push.redis import keyspace
from push.redis.client import RedisClient
from push.redis.connection.replies import parsed_info
from push.redis.connection.url import StoreAddress
from push.resharding.layout import Layout
from push.resharding.plan import NotResharded
from push.runtime.ports import Clock, TrustRoot
from push.runtime.timers import sleep

READY_SECONDS = 5.0
TIMEOUT_SECONDS = 30.0
LOOK_SECONDS = 0.02
OWN_SUBSCRIPTIONS = 1


async def connect(
    reactor: Clock,
    old: Sequence[StoreAddress],
    new: Sequence[StoreAddress],
    *,
    trust_root: TrustRoot | None = None,
    may_be_away: bool = False,
) -> Layout:
    """`may_be_away`: a server that is in the new list only may be left out.

    Raises `NotResharded`.
    """
    servers: list[RedisClient] = []
    known: dict[tuple[str, int], int] = {}
    places: dict[StoreAddress, int] = {}
    try:
        for address in dict.fromkeys([*old, *new]):
            server = RedisClient(
                reactor, address, trust_root=trust_root, timeout_seconds=TIMEOUT_SECONDS
            )
            servers.append(server)
            server.start()
            problem = await _wait_ready(reactor, server)
            if problem is not None:
                if may_be_away and address not in old:
                    await servers.pop().stop()
                    continue
                raise NotResharded(problem)
            itself = await _itself(server)
            places[address] = known.setdefault(itself, len(servers) - 1)
            if places[address] < len(servers) - 1:
                await servers.pop().stop()  # the same by another name
        return Layout(
            servers,
            _each_once("[redis] url", [places[address] for address in old]),
            _each_once("--to", [places[address] for address in new if address in places]),
        )
    except BaseException:
        await disconnect(servers)
        raise


async def disconnect(servers: Sequence[RedisClient]) -> None:
    for server in servers:
        await server.stop()


async def _wait_ready(reactor: Clock, server: RedisClient) -> str | None:
    """What is wrong with it, None when it can be used."""
    deadline = reactor.seconds() + READY_SECONDS
    while (problem := server.problem) is not None:
        if " cannot be used: " in problem or reactor.seconds() > deadline:
            return problem
        await sleep(reactor, LOOK_SECONDS)
    return None


async def _itself(server: RedisClient) -> tuple[str, int]:
    """What tells it from all others, whatever its address."""
    info = parsed_info(await server.command("INFO", "server"))
    return info["run_id"], server.address.database


def _each_once(name: str, places: list[int]) -> list[int]:
    if len(set(places)) < len(places):
        raise NotResharded(f"{name} names one server twice")
    return places


async def has_keys(server: RedisClient) -> bool:
    """Whether there is any key with our prefix."""
    cursor = b"0"
    while True:
        cursor, keys = await server.command("SCAN", cursor, "MATCH", server.key("*"), "COUNT", 1000)
        if keys:
            return True
        if cursor == b"0":
            return False


async def check_nobody(servers: Sequence[RedisClient]) -> None:
    """Raises `NotResharded` while a daemon, or another `pushctl reshard`, is connected.

    Each has a subscription on each server, besides its other channels.
    """
    for server in servers:
        _, count = await server.command("PUBSUB", "NUMSUB", server.channel("check"))
        others = int(count) - OWN_SUBSCRIPTIONS
        if others > 0:
            names = await _registered(server)
            listed = f", among them {', '.join(names)}" if names else ""
            what = "process is" if others == 1 else "processes are"
            raise NotResharded(
                f"{others} {what} connected to Redis at {server.address}{listed}: stop all "
                "daemons first"
            )


async def _registered(server: RedisClient) -> list[str]:
    """Who is in the registry, if that is kept here: `<service>/<node>`."""
    seconds, _ = await server.command("TIME")
    reply = await server.command("HGETALL", server.key(f"{keyspace.CLUSTER}entries"))
    return sorted(
        reply[i].decode()
        for i in range(0, len(reply), 2)
        if int(reply[i + 1].split(b" ", 1)[0]) > int(seconds) * 1_000_000
    )


async def wait_written(reactor: Clock, servers: Sequence[RedisClient]) -> None:
    """Until a server that is killed by itself loses nothing of what it has answered: what is
    deleted elsewhere must be there. (On a replica it is by then, where there are any.)"""
    for server in servers:
        while True:
            info = parsed_info(await server.command("INFO", "persistence"))
            if int(info.get("aof_buffer_length", 0)) == 0:
                break
            await sleep(reactor, LOOK_SECONDS)
