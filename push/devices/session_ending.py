"""A session ends: by itself, or because another connection took its device."""

from __future__ import annotations

from collections.abc import Sequence

from push.redis.clock import MICROSECONDS
from push.redis.connection.replies import Argument
from push.redis.scripts import load_script
from push.redis.shards import Shards
from push.session.subscription import FailedAttempts
from push.wire.idents import device_stream

_close = load_script("devices", "close")
_check_sessions = load_script("devices", "check_sessions")


class SessionEnding:
    """`retention_seconds`: how long the record of a device is kept without a session."""

    def __init__(self, shards: Shards, retention_seconds: int) -> None:
        self._shards = shards
        self._retention_seconds = retention_seconds

    async def close(self, token: str, session: str, left: Sequence[FailedAttempts]) -> None:
        """See `Sessions.close`."""
        home = self._shards.number_of(device_stream(token))
        by_server: dict[int, list[Argument]] = {home: []}
        for failed in left:
            waited_us = int(failed.waited_seconds * MICROSECONDS)
            by_server.setdefault(failed.shard, []).extend(
                (failed.stream, failed.offset, failed.attempts, waited_us)
            )
        for number, arguments_of_all in by_server.items():
            retention = self._retention_seconds if number == home else ""
            arguments = [token, session, retention, *arguments_of_all]
            await self._shards[number].retold.run(_close, arguments, arguments)

    async def lost(self, held: Sequence[tuple[str, str]]) -> list[int]:
        """See `Sessions.lost`."""
        by_server = self._shards.grouped(range(len(held)), lambda n: device_stream(held[n][0]))
        found = []
        for number, positions in by_server.items():
            pairs = [part for position in positions for part in held[position]]
            lost: list[int] = await self._shards[number].run(_check_sessions, [], pairs)
            found += [positions[item - 1] for item in lost]
        return found
