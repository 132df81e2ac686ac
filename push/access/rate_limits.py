"""At most so many of something a minute per address, counted for the whole system in Redis."""

from __future__ import annotations

from push.redis.client import RedisServer
from push.redis.scripts import load_script
from push.redis.shards import Shards
from push.wire.errors import Refusal

WINDOW_SECONDS = 60

_count = load_script("devices", "count")


class MinuteLimit:
    """A limit a minute; `per_minute` 0 means none. `per`: what it is counted by, for people."""

    def __init__(self, shards: Shards, name: str, per_minute: int, *, per: str = "address") -> None:
        self._per = per
        self._shards = shards
        self._name = name
        self._per_minute = per_minute

    def _place(self, who: str) -> tuple[RedisServer, str]:
        """The server that counts for `who`, and the key there."""
        name = f"limit:{self._name}:{who}"
        server = self._shards.of(name)
        return server, server.key(name)

    async def check(self, who: str) -> None:
        """Raises `Refusal` `rate_limited` when `who` has used the limit up."""
        if self._per_minute:
            server, key = self._place(who)
            used = await server.command("GET", key)
            if int(used or 0) >= self._per_minute:
                raise self._refusal()

    async def count(self, who: str) -> None:
        """One more; it is `check` that refuses."""
        if self._per_minute:
            server, key = self._place(who)
            await server.run(_count, [key], [WINDOW_SECONDS])

    async def take(self, who: str) -> None:
        """One more, or `Refusal` `rate_limited`."""
        if self._per_minute:
            server, key = self._place(who)
            used = await server.run(_count, [key], [WINDOW_SECONDS])
            if int(used) > self._per_minute:
                raise self._refusal()

    def _refusal(self) -> Refusal:
        return Refusal(
            "rate_limited",
            f"more than {self._per_minute} a minute from this {self._per}",
            after_seconds=WINDOW_SECONDS,
        )
