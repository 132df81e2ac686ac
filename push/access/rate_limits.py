"""At most so many of something a minute, counted for the whole system in Redis."""

from __future__ import annotations

from collections import Counter

from push.redis import keyspace
from push.redis.scripts import load_script
from push.redis.shards import Shards
from push.wire.errors import LimitPolicy, RequestError

WINDOW_SECONDS = 60

_count = load_script("devices", "count")

# How often each limit refused something, by its name: for the metrics.
RefusalCounts = Counter[str]


def over_limit(
    refusals: RefusalCounts, limit: LimitPolicy, detail: str, *, after_seconds: int
) -> RequestError:
    """The refusal of something that a limit does not allow now; it is counted."""
    refusals[limit.name] += 1
    return RequestError("rate_limited", detail, after_seconds=after_seconds, limit=limit)


class MinuteLimit:
    """A limit a minute; `per_minute` 0 means none.

    A counter is forgotten a minute after its first use, so there are never more of them than names
    that were used within a minute. `what` is for people, as "registrations from this address".
    `limit` is its name in the metrics.
    """

    def __init__(
        self,
        shards: Shards,
        name: str,
        per_minute: int,
        *,
        what: str,
        limit: str,
        refusals: RefusalCounts,
    ) -> None:
        self._shards = shards
        self._name = name
        self._per_minute = per_minute
        self._what = what
        self._limit = limit
        self._refusals = refusals

    async def take(self, who: str) -> None:
        """One more of `who`, or `RequestError` `rate_limited`."""
        if not self._per_minute:
            return
        name = f"{keyspace.LIMIT}{self._name}:{who}"
        server = self._shards.of(name)
        used = await server.run(_count, [server.key(name)], [WINDOW_SECONDS], decode=int)
        if used > self._per_minute:
            raise over_limit(
                self._refusals,
                LimitPolicy(self._limit, self._per_minute, WINDOW_SECONDS),
                f"more than {self._per_minute} {self._what} a minute",
                after_seconds=WINDOW_SECONDS,
            )
