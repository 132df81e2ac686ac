"""Who sends what a new connection brings first, as far as one sees it before it is read as HTTP.

So a backend with a valid key, and a request for health, need not wait for those of strangers on a
connection of their own.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from push.runtime.ports import Clock

# For health at once; more, and so many a second, are strangers.
HEALTH_AT_ONCE = 20
HEALTH_PER_SECOND = 20.0
HEALTH = "health"  # no name of an owner

_HEALTH = re.compile(rb"(?:GET|HEAD) /(?:healthz|readyz) ")
_KEY = re.compile(rb"\r\nauthorization:[ \t]*bearer[ \t]+([!-~]{1,200})[ \t]*\r\n", re.IGNORECASE)


class EarlyCaller:
    """`owner_of_key` tells whose a key is, "" for one that names nobody."""

    def __init__(self, clock: Clock, owner_of_key: Callable[[str], str]) -> None:
        self._clock = clock
        self._owner_of_key = owner_of_key
        self._health_due = 0.0  # when all requests for health would have come at the rate

    def owner(self, data: bytes) -> str:
        """Of the first request in `data`: of its key, `HEALTH`, or "" for a stranger."""
        if _HEALTH.match(data):
            return HEALTH if self._takes_health() else ""
        found = _KEY.search(data)
        return self._owner_of_key(found[1].decode("ascii")) if found is not None else ""

    def _takes_health(self) -> bool:
        now = self._clock.seconds()
        due = max(self._health_due, now)
        if due - now > (HEALTH_AT_ONCE - 0.5) / HEALTH_PER_SECOND:
            return False
        self._health_due = due + 1 / HEALTH_PER_SECOND
        return True
