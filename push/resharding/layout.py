"""Where everything is now and where it belongs after it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from push.redis.client import RedisClient
from push.redis.shards import number_of

KEYS_PER_PAGE = 500


class Layout:
    """All servers concerned, each once; the old and the new list name them by their place here.

    `renewed`: those that had to be connected to again. They may have been started again, or
    another may be the master now, and have lost what they had answered last.
    """

    def __init__(
        self, servers: Sequence[RedisClient], old: Sequence[int], new: Sequence[int]
    ) -> None:
        self.servers = tuple(servers)
        self.renewed: set[int] = set()
        for place, server in enumerate(self.servers):
            server.on_restored(partial(self.renewed.add, place))
        self.old = tuple(old)
        self.new = tuple(new)
        self.coming = [place for place in new if place not in old]
        self.leaving = [place for place in old if place not in new]
        self.staying = [place for place in old if place in new]

    def old_place(self, owner: str) -> int:
        return self.old[number_of(owner, len(self.old))]

    def new_place(self, owner: str) -> int:
        return self.new[number_of(owner, len(self.new))]


async def each_key(
    server: RedisClient, pattern: str, handle: Callable[[list[str]], Awaitable[None]]
) -> None:
    """`handle` the names of all keys that fit, page by page, without the prefix of all keys.

    As with SCAN: a key may come twice, if keys are made meanwhile.
    """
    prefix = server.key("")
    cursor = b"0"
    while True:
        cursor, keys = await server.command(
            "SCAN", cursor, "MATCH", prefix + pattern, "COUNT", KEYS_PER_PAGE
        )
        if keys:
            await handle([key.decode()[len(prefix) :] for key in keys])
        if cursor == b"0":
            return


async def each_member(
    server: RedisClient, name: str, handle: Callable[[list[tuple[str, bytes]]], Awaitable[None]]
) -> None:
    """`handle` the members of a sorted set with their scores, each once: nobody changes it."""
    start = 0
    while True:
        reply = await server.command(
            "ZRANGE", server.key(name), start, start + KEYS_PER_PAGE - 1, "WITHSCORES"
        )
        if not reply:
            return
        pairs = zip(reply[::2], reply[1::2], strict=True)
        await handle([(member.decode(), score) for member, score in pairs])
        start += KEYS_PER_PAGE
