"""Events as they happen, as server-sent events."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from twisted.logger import Logger
from twisted.python.failure import Failure

from push.http.edge.body_stream import StreamClient
from push.observe.event_relay import EventFollower, EventRelay
from push.observe.events import EventFilter, SampledEvent
from push.runtime.ports import Clock, TimeOfDay
from push.runtime.timers import Periodic
from push.wire.api.operate.events import SKIPPED, LiveEvent

log = Logger()

SKIPPED_SECONDS = 1.0
COMMENT_SECONDS = 15
UNREAD_SECONDS = 60  # until a client that does not read is cut off
MAX_HELD = 256  # events before the answer has begun

_encode = msgspec.json.Encoder().encode


class EventStream:
    """The body of one answer. `open` before it is started: events are held until then.

    `is_allowed()`: whether the client's key is still valid.
    """

    def __init__(
        self,
        reactor: Clock,
        relay: EventRelay,
        wall_clock: TimeOfDay,
        node: str,
        wanted: EventFilter,
        is_allowed: Callable[[], bool],
    ) -> None:
        self._relay = relay
        self._wall_clock = wall_clock
        self._node = node
        self._is_allowed = is_allowed
        self._follower = EventFollower(wanted, self._take)
        self._client: StreamClient | None = None
        self._held: list[bytes] = []
        self._silent: list[str] = []
        self._seconds = self._unread_seconds = 0
        self._ticks = Periodic(reactor, SKIPPED_SECONDS, self._tick, _log_failure)

    async def open(self) -> None:
        """Events are followed from now on, on all nodes. Raises what `EventRelay.follow` does."""
        await self._relay.follow(self._follower)

    def start(self, client: StreamClient) -> None:
        self._client = client
        held, self._held = self._held, []
        client.write(b"".join((b": events\n\n", *held)))
        self._tell_silent()
        self._ticks.start()

    def stop(self) -> None:
        self._ticks.stop()
        self._relay.unfollow(self._follower)

    def _take(self, sampled: SampledEvent) -> None:
        if self._client is None:
            if len(self._held) < MAX_HELD:
                self._held.append(_text(sampled.kind, sampled.event))
            else:
                self._follower.sample.skipped += 1
        elif self._client.is_behind:
            self._follower.sample.skipped += 1
        else:
            self._client.write(_text(sampled.kind, sampled.event))

    def _tick(self) -> None:
        """A second has passed."""
        client = self._client
        assert client is not None, "it was started"
        if not self._is_allowed():
            client.end()
            return
        if client.is_behind:
            self._unread_seconds += 1
            if self._unread_seconds >= UNREAD_SECONDS:
                client.cut()
            return
        self._unread_seconds = 0
        skipped = self._follower.take_skipped()
        if skipped:
            event = LiveEvent(self._wall_clock.now_ms(), self._node, n=skipped)
            client.write(_text(SKIPPED, event))
        self._tell_silent()
        self._seconds += 1
        if self._seconds % COMMENT_SECONDS == 0:
            client.write(b": \n\n")

    def _tell_silent(self) -> None:
        """Nodes that do not answer: what happens there is not in the stream."""
        silent = self._follower.silent
        if self._client is None or silent == self._silent:
            return
        reason = "the node does not answer: its events are not here"
        for node in silent:
            if node not in self._silent:
                now_ms = self._wall_clock.now_ms()
                event = LiveEvent(now_ms, node, code="silent", reason=reason)
                self._client.write(_text(SKIPPED, event))
        self._silent = silent


def _text(kind: str, event: LiveEvent) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), _encode(event))


def _log_failure(failure: Failure) -> None:
    log.failure(
        "Events could not be written to a client", failure=failure, event="observe.stream_failed"
    )
