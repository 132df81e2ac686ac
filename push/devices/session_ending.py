"""A session ends: by itself, or because another connection took its device."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec
from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger

from push.redis.clock import MICROSECONDS
from push.redis.connection.errors import StoreUnavailable
from push.redis.joined_calls import JoinedCalls
from push.redis.scripts import load_script
from push.redis.shards import Shards
from push.runtime.tasks import gather_deferreds, only
from push.session.subscription import FailedAttempts
from push.wire.idents import device_stream

log = Logger()

_close = load_script("devices", "close")
_check_sessions = load_script("devices", "check_sessions")


class EndedSession(NamedTuple):
    """What it `left` unacknowledged first in each stream is remembered."""

    token: str
    session: str
    left: Sequence[FailedAttempts] = ()


class ClosingItem(msgspec.Struct):
    """A session that ends, as close.lua gets it; `left`: stream, offset, attempts, waited_us (see
    `FailedAttempts`), stream, …"""

    token: str
    session: str
    is_home: bool
    left: list[str]
    waited_us: int = 0


class SessionEnding:
    """`retention_seconds`: how long the record of a device is kept without a session."""

    def __init__(self, shards: Shards, retention_seconds: int) -> None:
        self._shards = shards
        # The sessions that end in one turn of the reactor are one call of each server.
        self._calls: list[JoinedCalls[ClosingItem]] = [
            JoinedCalls(server, _close, retention_seconds, replayed=lambda item, _: item)
            for server in shards
        ]

    async def close(self, ended: Iterable[EndedSession]) -> list[EndedSession]:
        """Sessions ended. Returns those of which that could not be stored."""
        ended = list(ended)
        outcomes = await DeferredList([self._close(each) for each in ended], consumeErrors=True)
        unstored = []
        for each, (is_closed, failure) in zip(ended, outcomes, strict=True):
            if is_closed:
                continue
            if failure.check(StoreUnavailable):
                unstored.append(each)
            else:
                log.failure(
                    "The end of a session was not stored",
                    failure=failure,
                    event="session.end_failed",
                )
        return unstored

    def _close(self, ended: EndedSession) -> Deferred[Any]:
        """On all servers that have a part of the device's record."""
        home = self._shards.number_of(device_stream(ended.token))
        by_server: dict[int, list[str]] = {home: []}
        for failed in ended.left:
            waited_us = int(failed.waited_seconds * MICROSECONDS)
            by_server.setdefault(failed.shard, []).extend(
                (failed.stream, str(failed.offset), str(failed.attempts), str(waited_us))
            )
        calls: list[Deferred[Any]] = [
            self._calls[number]
            .ask([ClosingItem(ended.token, ended.session, number == home, left_here)])
            .addCallback(only)
            for number, left_here in by_server.items()
        ]
        return gather_deferreds(calls)

    async def lost(self, held: Sequence[tuple[str, str]]) -> list[int]:
        """Of these (token, session) pairs the indexes of those that no longer have their device:
        another session has it, or it was deleted. Raises `StoreUnavailable`."""
        by_server = self._shards.grouped(range(len(held)), lambda n: device_stream(held[n][0]))
        found = []
        for number, positions in by_server.items():
            pairs = [part for position in positions for part in held[position]]
            await self._shards[number].replayed.replay()  # a new master may not know of all yet
            lost: list[int] = await self._shards[number].run(_check_sessions, [], pairs)
            found += [positions[item - 1] for item in lost]
        return found
