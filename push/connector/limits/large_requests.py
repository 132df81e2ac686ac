"""Turns for large requests: what everybody else asks of Redis waits behind those that are carried
out, and behind the disk to which they are written.

Other ways to wait: architecture, "Who waits for a turn".
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager

from push.runtime.places import Places
from push.runtime.ports import Clock

LARGE_REQUEST_BYTES = 8 * 1024
LARGE_REQUESTS_AT_A_TIME = 2
# After one its place is free for nobody for so many times as long as that took: others have Redis
# for themselves most of the time.
RESTS = 2.0


# A place is free when the server has not answered for so long: it may be unreachable, and others
# are not. Longer than a large request and its rest take on a slow disk.
LARGE_HOLD_SECONDS = 1.0


class LargeRequests:
    """Of all sessions of a connector. Of those that wait, each owner gets a turn after the other,
    however many large requests an owner has."""

    def __init__(self, clock: Clock) -> None:
        self._places = Places(
            clock,
            LARGE_REQUESTS_AT_A_TIME,
            hold_seconds=LARGE_HOLD_SECONDS,
            most_hold_seconds=LARGE_HOLD_SECONDS,
        )

    def stop(self) -> None:
        self._places.stop()

    @asynccontextmanager
    async def turn(self, owner: Hashable) -> AsyncIterator[None]:
        """Inside it one is carried out. It ends after the rest: who sends several has to wait."""
        async with self._places.place(owner) as place:
            place.rests = RESTS
            yield
