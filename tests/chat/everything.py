"""All that is in the Redis servers of a node, as it is there."""

from __future__ import annotations

from typing import Any, NamedTuple

from push.redis.client import RedisClient
from tests.connector.conftest import Node

_READ: dict[bytes, tuple[Any, ...]] = {
    b"string": ("GET", ()),
    b"hash": ("HGETALL", ()),
    b"set": ("SMEMBERS", ()),
    b"zset": ("ZRANGE", (0, -1)),
    b"stream": ("XRANGE", ("-", "+")),
}


class Kept(NamedTuple):
    """A key: what it holds, as text, and in how many milliseconds it ends by itself, if it does."""

    text: str
    left_ms: int | None


async def everything(node: Node) -> dict[str, Kept]:
    """By name, without the prefix of all keys. What a name holds on several servers is joined."""
    found: dict[str, Kept] = {}
    for server in node.shards:
        for key in await server.command("KEYS", server.key("*")):
            name = key.decode().removeprefix(server.key(""))
            kept = await _read(server, key)
            if kept is None:
                continue  # it has gone meanwhile
            before = found.get(name, Kept("", 0))
            ends = None if None in (kept.left_ms, before.left_ms) else kept.left_ms
            found[name] = Kept(before.text + kept.text, ends)
    return found


async def _read(server: RedisClient, key: bytes) -> Kept | None:
    type = await _text(server, "TYPE", key)
    if type == b"none":
        return None
    command, arguments = _READ[type]
    value = await server.command(command, key, *arguments)
    left_ms = int(await server.command("PTTL", key))
    return Kept(repr(value), left_ms if left_ms >= 0 else None)


async def _text(server: RedisClient, *command: Any) -> bytes:
    answer = await server.command(*command)
    return answer if isinstance(answer, bytes) else str(answer).encode()
