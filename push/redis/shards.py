"""Several Redis servers as one: what belongs to an owner is on the server that the owner hashes to.

An owner is named by its stream (`dev:<token>`, `user:<id>`, …). The server is found by rendezvous
hashing: of all servers the one whose number gives the highest hash with the owner's name. So a list
that grows by one takes only that one's part from each of the others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import TypeVar

from push.redis.client import RedisClient

OWNERS_REMEMBERED = 65_536

Item = TypeVar("Item")


@lru_cache(OWNERS_REMEMBERED)
def number_of(owner: str, of: int) -> int:
    """The number of the server, among `of`, that has what belongs to `owner`."""
    name = owner.encode()
    return max(range(of), key=lambda number: _weight(name, number))


def _weight(name: bytes, number: int) -> bytes:
    return hashlib.blake2b(name, digest_size=8, salt=number.to_bytes(2, "big")).digest()


class Shards:
    """The servers of a deployment, in their order. Usually there is one."""

    def __init__(self, servers: Sequence[RedisClient]) -> None:
        self.servers = tuple(servers)
        self.first = self.servers[0]

    def __iter__(self) -> Iterator[RedisClient]:
        return iter(self.servers)

    def __len__(self) -> int:
        return len(self.servers)

    def __getitem__(self, number: int) -> RedisClient:
        return self.servers[number]

    def number_of(self, owner: str) -> int:
        """Which server has what belongs to `owner`."""
        return number_of(owner, len(self.servers)) if len(self.servers) > 1 else 0

    def of(self, owner: str) -> RedisClient:
        return self.servers[self.number_of(owner)]

    def grouped(
        self, items: Iterable[Item], owner_of: Callable[[Item], str]
    ) -> dict[int, list[Item]]:
        """`items` by the number of the server that has what belongs to their owners."""
        if len(self.servers) == 1:
            alone = list(items)
            return {0: alone} if alone else {}
        groups: dict[int, list[Item]] = {}
        for item in items:
            groups.setdefault(self.number_of(owner_of(item)), []).append(item)
        return groups

    def start(self) -> None:
        for server in self.servers:
            server.start()

    async def stop(self) -> None:
        for server in self.servers:
            await server.stop()

    def on_restored(self, callback: Callable[[], None]) -> None:
        """Whenever messages of one of the servers may have been missed."""
        for server in self.servers:
            server.on_restored(callback)

    def is_one_silent(self, seconds: float) -> bool:
        """Whether one has been asked something and has said nothing for so long."""
        return any(server.is_silent(seconds) for server in self.servers)

    @property
    def problems(self) -> list[str]:
        """Why servers cannot be used now, in sentences."""
        return [server.problem for server in self.servers if server.problem is not None]

    @property
    def notes(self) -> list[str]:
        return [note for server in self.servers for note in server.notes]
