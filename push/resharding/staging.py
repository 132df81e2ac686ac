"""What changes is prepared beside what is, and takes its place at once at the end.

Until all is prepared, no key of the deployment is changed: a resharding that is broken off begins
again, or is given up, and nothing has happened. What is to be on a server is there under the names
`arriving:<name>`, and the names of what is to go are in the set `leaving`. Then every server by
itself renames the one and deletes the other; both can be done again at any time.

Keys are copied by reading and writing them in pages, not by DUMP and RESTORE: these need a right
that our users do not have, do not go from a newer server to an older one, and block both servers
for as long as a key is large.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from push.redis import keyspace
from push.redis.client import RedisClient
from push.redis.connection.replies import Argument
from push.redis.scripts import load_script
from push.resharding.layout import each_key
from push.runtime.tasks import Semaphore, gather

ITEMS_PER_CALL = 500
ENTRIES_PER_CALL = 16  # of a log: each may have a quarter of a MiB
NAMES_PER_CALL = 500
LOGS_AT_A_TIME = 16  # what they may hold is in memory here

_rename = load_script("resharding", "rename")


class Staging:
    """Prepares what is to be on the servers. `dry`: only counts it."""

    def __init__(self, servers: Sequence[RedisClient], *, dry: bool = False) -> None:
        self.arriving: Counter[int] = Counter()
        self.leaving: Counter[int] = Counter()
        self._servers = servers
        self._dry = dry
        self._logs = Semaphore(LOGS_AT_A_TIME)

    async def put_hash(
        self, to: int, name: str, fields: Mapping[str, Argument], ttl_ms: int = 0
    ) -> None:
        self.arriving[to] += 1
        if self._dry:
            return
        items = [part for item in fields.items() for part in item]
        await self._write(to, "HSET", name, items, 2 * ITEMS_PER_CALL)
        await self._expire(to, name, ttl_ms)

    async def put_text(self, to: int, name: str, value: Argument, ttl_ms: int = 0) -> None:
        self.arriving[to] += 1
        if not self._dry:
            await self._write(to, "SET", name, [value], 1)
            await self._expire(to, name, ttl_ms)

    async def put_members(self, to: int, name: str, members: Iterable[tuple[str, bytes]]) -> None:
        """Add to a sorted set that is prepared whole."""
        if not self._dry:
            items = [part for member, score in members for part in (score, member)]
            await self._write(to, "ZADD", name, items, 2 * ITEMS_PER_CALL)

    async def put_entries(
        self, to: int, name: str, entries: Iterable[tuple[str, Sequence[bytes]]]
    ) -> None:
        """Go on with a log that is prepared whole."""
        if not self._dry:
            server = self._servers[to]
            key = server.key(keyspace.ARRIVING + name)
            await gather(server.command("XADD", key, id, *fields) for id, fields in entries)

    async def leave(self, place: int, name: str) -> bool:
        """The key is to be deleted. Returns whether that is news."""
        self.leaving[place] += 1
        if self._dry:
            return True
        server = self._servers[place]
        return bool(await server.command("SADD", server.key(keyspace.LEAVING), name))

    async def move(self, place: int, to: int, name: str) -> None:
        """A whole key is to be on another server. Does nothing the second time."""
        if not await self.leave(place, name):
            return
        self.arriving[to] += 1
        if self._dry:
            return
        source = self._servers[place]
        type = (await source.command("TYPE", source.key(name))).decode()
        match type:
            case "string":
                value = await source.command("GET", source.key(name))
                if value is not None:
                    await self._write(to, "SET", name, [value], 1)
            case "hash":
                await self._copy_scanned(source, to, name, "HSCAN", "HSET")
            case "set":
                await self._copy_scanned(source, to, name, "SSCAN", "SADD")
            case "zset":
                await self._copy_scanned(source, to, name, "ZSCAN", "ZADD")
            case "stream":
                async with self._logs:
                    await self._copy_log(source, to, name)
            case "none":
                return  # it has expired
            case _:
                raise ValueError(f"{name} is a {type}, which no key of push-universe is")
        ttl_ms = int(await source.command("PTTL", source.key(name)))
        await self._expire(to, name, max(ttl_ms, 0))

    async def _copy_scanned(
        self, source: RedisClient, to: int, name: str, scan: str, write: str
    ) -> None:
        cursor = b"0"
        while True:
            cursor, items = await source.command(
                scan, source.key(name), cursor, "COUNT", ITEMS_PER_CALL
            )
            if write == "ZADD":
                items = [part for i in range(0, len(items), 2) for part in (items[i + 1], items[i])]
            if items:
                await self._write(to, write, name, items, 2 * ITEMS_PER_CALL)
            if cursor == b"0":
                return

    async def _copy_log(self, source: RedisClient, to: int, name: str) -> None:
        start = "-"
        while True:
            entries = await source.command(
                "XRANGE", source.key(name), start, "+", "COUNT", ENTRIES_PER_CALL
            )
            await self.put_entries(to, name, [(id.decode(), fields) for id, fields in entries])
            if len(entries) < ENTRIES_PER_CALL:
                return
            start = f"({entries[-1][0].decode()}"

    async def _write(
        self, to: int, command: str, name: str, items: Sequence[Argument], at_a_time: int
    ) -> None:
        server = self._servers[to]
        key = server.key(keyspace.ARRIVING + name)
        for start in range(0, len(items), at_a_time):
            await server.command(command, key, *items[start : start + at_a_time])

    async def _expire(self, to: int, name: str, ttl_ms: int) -> None:
        if ttl_ms > 0:
            server = self._servers[to]
            await server.command("PEXPIRE", server.key(keyspace.ARRIVING + name), ttl_ms)


async def forget_prepared(server: RedisClient) -> None:
    """As if nothing had been prepared."""
    await delete_keys(server, keyspace.ARRIVING + "*")
    await server.command("UNLINK", server.key(keyspace.LEAVING))


async def take_over(server: RedisClient) -> None:
    """What was prepared takes its place. First goes what is to go: a name can be in both."""
    leaving = server.key(keyspace.LEAVING)
    while names := await server.command("SRANDMEMBER", leaving, NAMES_PER_CALL):
        await server.command("UNLINK", *[server.key(name.decode()) for name in names])
        await server.command("SREM", leaving, *names)

    async def rename(names: list[str]) -> None:
        await server.run(_rename, [], [name[len(keyspace.ARRIVING) :] for name in names])

    await each_key(server, keyspace.ARRIVING + "*", rename)


async def delete_keys(server: RedisClient, pattern: str, *, but: str = "") -> None:
    async def delete(names: list[str]) -> None:
        keys = [server.key(name) for name in names if name != but]
        if keys:
            await server.command("UNLINK", *keys)

    await each_key(server, pattern, delete)
