"""Whose pushes to several streams are next: Redis answers everybody else between them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from typing import Final

from push.redis.joined_calls import MAX_ITEMS
from push.runtime.owner_queue import FairSemaphore, OwnerShares

# After a push to at most so many streams, large ones (parts of batches, too) go two at a time, and
# Redis need not wait for the next one. Where there is nobody else, all at once cost less.
FEW_STREAMS: Final = 50
LARGE_PUSHES_IN_LINE: Final = 500
LARGE_PUSHES_AT_A_TIME: Final = 2
# Those to more than so many, and to no more than those, are under way to as many streams of one
# owner as go into two calls of Redis.
VERY_FEW_STREAMS: Final = 4
STREAMS_OF_OWNER: Final = 2 * MAX_ITEMS


class PushLanes:
    """One to at most `VERY_FEW_STREAMS` needs no turn; `others_push` is to be called for it."""

    def __init__(self) -> None:
        self._large = FairSemaphore(LARGE_PUSHES_AT_A_TIME)
        self._few = OwnerShares(STREAMS_OF_OWNER)
        self._in_line = 0  # of the large ones that come next

    def others_push(self) -> None:
        """Large ones have turns from now on."""
        self._in_line = LARGE_PUSHES_IN_LINE

    @asynccontextmanager
    async def turn(self, streams: int, owner: Hashable) -> AsyncIterator[None]:
        """Inside it a push to so many streams is carried out."""
        if streams > FEW_STREAMS:
            if not self._in_line:
                yield
                return
            self._in_line -= 1
            async with self._large.turn(owner):
                yield
            return
        self.others_push()
        turn = self._few.take(owner, streams)
        if turn is not None:
            await turn
        try:
            yield
        finally:
            self._few.give_back(owner, streams)
