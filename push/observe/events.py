"""Events of one process, for those who look now. Nobody looks: an event costs a look-up.

A listener gets at most 200 a second of what it wants (a second is one of this process's clock); of
these at most 160 are of the two kinds that come for each message, so that a flood of messages does
not hide who connects. What is left out is counted.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from push.runtime.ports import Clock, TimeOfDay
from push.wire.api.operate.events import EVENT_KINDS, EVENTS_PER_SECOND, EventKind, LiveEvent

MESSAGES_PER_SECOND = 160  # of the kinds that come for each message
_OF_MESSAGES = frozenset(("pushed", "acknowledged"))


class EventFilter(msgspec.Struct, frozen=True):
    """What is wanted; "" = any."""

    kinds: tuple[EventKind, ...] = EVENT_KINDS
    user: str = ""
    token: str = ""
    node: str = ""

    def fits(self, event: LiveEvent) -> bool:
        """Of one of its kinds."""
        return (
            (not self.user or event.user == self.user)
            and (not self.token or event.token == self.token)
            and (not self.node or event.node == self.node)
        )


class SampledEvent(msgspec.Struct, frozen=True):
    """An event with its kind, as it goes from one process to another."""

    kind: EventKind
    event: LiveEvent


class Sample:
    """The first of each second, up to the bounds. `skipped`: how many were left out since this was
    last set to 0."""

    __slots__ = ("_left", "_left_of_messages", "_second", "skipped")

    def __init__(self) -> None:
        self.skipped = 0
        self._second = -1
        self._left = self._left_of_messages = 0

    def takes(self, kind: str, now: float) -> bool:
        """Whether one more may pass at `now`, in seconds."""
        second = int(now)
        if second != self._second:
            self._second = second
            self._left, self._left_of_messages = EVENTS_PER_SECOND, MESSAGES_PER_SECOND
        if self._left <= 0 or (kind in _OF_MESSAGES and self._left_of_messages <= 0):
            self.skipped += 1
            return False
        self._left -= 1
        self._left_of_messages -= kind in _OF_MESSAGES
        return True


class EventListener:
    """Somebody who looks, with what they want. `take` gets each event of the sample."""

    __slots__ = ("sample", "take", "wanted")

    def __init__(self, wanted: EventFilter, take: Callable[[SampledEvent], None]) -> None:
        self.wanted = wanted
        self.take = take
        self.sample = Sample()


class Events:
    """`node`: the name of this process's node."""

    def __init__(self, reactor: Clock, wall_clock: TimeOfDay, node: str) -> None:
        self.node = node
        self._now = reactor.seconds
        self._wall_clock = wall_clock
        self._listeners: dict[str, list[EventListener]] = {}
        self.wants_acknowledged = False  # as `wants` tells, for what comes most often

    def wants(self, kind: EventKind) -> bool:
        """Whether somebody looks for events of this kind."""
        return kind in self._listeners

    def add(self, listener: EventListener) -> None:
        if listener.wanted.node not in ("", self.node):
            return  # nothing of this process is wanted
        for kind in listener.wanted.kinds:
            self._listeners.setdefault(kind, []).append(listener)
        self.wants_acknowledged = self.wants("acknowledged")

    def remove(self, listener: EventListener) -> None:
        for kind in listener.wanted.kinds:
            left = [each for each in self._listeners.get(kind, ()) if each is not listener]
            if left:
                self._listeners[kind] = left
            else:
                self._listeners.pop(kind, None)
        self.wants_acknowledged = self.wants("acknowledged")

    def record(
        self,
        kind: EventKind,
        *,
        token: str | None = None,
        user: str | None = None,
        session: str | None = None,
        ip: str | None = None,
        message: str | None = None,
        code: str | None = None,
        reason: str | None = None,
        n: int | None = None,
    ) -> None:
        """It has happened just now."""
        listeners = self._listeners.get(kind)
        if listeners is None:
            return
        now_ms = self._wall_clock.now_ms()
        event = LiveEvent(now_ms, self.node, token, user, session, ip, message, code, reason, n)
        for listener in listeners:
            if listener.wanted.fits(event) and listener.sample.takes(kind, self._now()):
                listener.take(SampledEvent(kind, event))
