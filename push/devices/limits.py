"""At most so many of something a minute per address, counted for the whole system in Redis."""

from __future__ import annotations

from push.store.scripts import load_script
from push.store.server import RedisServer
from push.wire.errors import Refusal

WINDOW_SECONDS = 60

_count = load_script("push.devices", "count")


class MinuteLimit:
    """A limit a minute; `per_minute` 0 means none."""

    def __init__(self, server: RedisServer, name: str, per_minute: int) -> None:
        self._server = server
        self._name = name
        self._per_minute = per_minute

    def _key(self, who: str) -> str:
        return self._server.key(f"limit:{self._name}:{who}")

    async def check(self, who: str) -> None:
        """Raises `Refusal` `rate_limited` when `who` has used the limit up."""
        if self._per_minute:
            used = await self._server.command("GET", self._key(who))
            if int(used or 0) >= self._per_minute:
                raise self._refusal()

    async def count(self, who: str) -> None:
        """One more; it is `check` that refuses."""
        if self._per_minute:
            await self._server.run(_count, [self._key(who)], [WINDOW_SECONDS])

    async def take(self, who: str) -> None:
        """One more, or `Refusal` `rate_limited`."""
        if self._per_minute:
            used = await self._server.run(_count, [self._key(who)], [WINDOW_SECONDS])
            if int(used) > self._per_minute:
                raise self._refusal()

    def _refusal(self) -> Refusal:
        return Refusal(
            "rate_limited",
            f"more than {self._per_minute} a minute from this address",
            after_seconds=WINDOW_SECONDS,
        )
