"""What the ids of events stand for (`GET /v1/stream`): kept beside the device's record for a while.

An event stands for a position in all streams of its session: everything that was written before it.
A client that names one in its next request has got all that, which is acknowledged then.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

import msgspec
from twisted.logger import Logger
from twisted.python.failure import Failure

from push.redis.client import RedisClient
from push.redis.connection.errors import StoreUnavailable
from push.redis.scripts import load_script
from push.redis.shards import Shards
from push.runtime.ports import Clock
from push.runtime.tasks import TaskGroup
from push.runtime.timers import Debounced
from push.session.events import EventPosition
from push.wire.idents import device_stream

log = Logger()

KEPT_SECONDS = 600
KEPT_EVENTS = 256  # of a device, at least
DEVICES_PER_CALL = 500

_keep = load_script("devices", "keep_positions")
_position = load_script("devices", "position")
_encode = msgspec.msgpack.Encoder().encode
_EVENT_ID = re.compile(r"([0-9a-f]{1,40})\.([0-9]{1,15})")


class EventPositions:
    """Keeps positions of the sessions of one connector, all of one turn of the reactor at once.

    A position is on its way to Redis before the client gets the event, so also before anything that
    the client then sends. `window_messages`: what one response brings at most before it is
    acknowledged.
    """

    def __init__(
        self,
        reactor: Clock,
        shards: Shards,
        window_messages: int,
        failed: Callable[[Failure], None],
    ) -> None:
        self._shards = shards
        self._kept_events = max(KEPT_EVENTS, 2 * window_messages)
        self._failed = failed
        self._noted: dict[str, list[str]] = {}
        self._writing = TaskGroup()
        self._soon = Debounced(reactor, 0, self._write)

    def note(self, token: str, positions: Sequence[EventPosition]) -> None:
        """Keep `positions`, and those that are kept of the device for another while."""
        events = self._noted.setdefault(token, [])
        events += [f"{each.event_id} {each.stream} {each.offset}" for each in positions]
        self._soon.request()

    async def stop(self) -> None:
        """Store what was noted."""
        self._soon.cancel()
        self._write()
        await self._writing.finished()

    def _write(self) -> None:
        noted, self._noted = self._noted, {}
        by_server = self._shards.grouped(noted, device_stream)
        for number, tokens in by_server.items():
            for start in range(0, len(tokens), DEVICES_PER_CALL):
                part = {token: noted[token] for token in tokens[start : start + DEVICES_PER_CALL]}
                self._writing.run(self._store(self._shards[number], part), self._failed)

    async def _store(self, server: RedisClient, noted: Mapping[str, list[str]]) -> None:
        """What cannot be stored is not known later: its clients read from the stored cursors."""
        try:
            await server.run(
                _keep, [], [_encode([*noted.items()]), self._kept_events, KEPT_SECONDS]
            )
        except StoreUnavailable as error:
            log.debug(
                "Positions were not stored: {reason}",
                reason=error.reason,
                event="positions.postponed",
            )


async def cursors_at(shards: Shards, token: str, event_id: str) -> dict[str, str]:
    """The streams that the event stands for, with offsets; empty if it is not known (any more).

    Raises `StoreUnavailable`.
    """
    found = _EVENT_ID.fullmatch(event_id)
    if found is None:
        return {}
    reply: list[bytes] = await shards.of(device_stream(token)).run(
        _position, [], [token, found[1], found[2]]
    )
    texts = [item.decode() for item in reply]
    return dict(zip(texts[::2], texts[1::2], strict=True))
