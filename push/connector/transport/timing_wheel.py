"""One timing wheel for all connections, instead of a delayed call each.

A connection is in the wheel once at most: it is only ever moved to an earlier slot, and when its
time comes its owner says when to look again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from push.connector.sessions.device_session import SessionConnection
from push.runtime.ports import Clock, as_twisted
from push.runtime.timers import Debounced

log = Logger()

SLOT_SECONDS = 0.25
SECONDS_PER_TURN = 0.002  # thousands that came at once are due at once
NEVER = 1 << 60


class Timed(Protocol):
    """What can be in the wheel; `due_slot` belongs to the wheel and begins as `NEVER`."""

    due_slot: int


class TimingWheel:
    """Calls `on_due(item)` once an item's time has come, a quarter of a second late at most, and
    for a bounded time in a turn of the reactor."""

    def __init__(self, reactor: Clock, on_due: Callable[[Any], None]) -> None:
        self._reactor = reactor
        self._on_due = on_due
        self._slots: dict[int, set[Timed]] = {}
        self._overdue: deque[Timed] = deque()  # some of which were forgotten, or moved, meanwhile
        self._work_on = Debounced(reactor, 0, self._work_off)
        self._done_slot = self.slot_of(reactor.seconds())
        self._loop = LoopingCall(self._turn)
        self._loop.clock = as_twisted(reactor)

    def start(self) -> None:
        self._loop.start(SLOT_SECONDS, now=False)

    def stop(self) -> None:
        self._work_on.cancel()
        if self._loop.running:
            self._loop.stop()

    @staticmethod
    def slot_of(seconds: float) -> int:
        return int(seconds / SLOT_SECONDS) + 1

    def put(self, item: Timed, slot: int) -> None:
        """Look at `item` in `slot`, unless it is looked at earlier anyway."""
        if slot < item.due_slot:
            self.remove(item)
            slot = max(slot, self._done_slot + 1)
            item.due_slot = slot
            self._slots.setdefault(slot, set()).add(item)

    def at(self, item: Timed, seconds: float) -> None:
        self.put(item, self.slot_of(seconds))

    def watch(self, connection: SessionConnection) -> None:
        """Look at it when its protocol next has something to do."""
        deadline = connection.protocol.next_deadline()
        if deadline is not None:
            self.at(connection, deadline)

    def remove(self, item: Timed) -> None:
        """Forget `item`, so that nothing keeps it in memory."""
        items = self._slots.get(item.due_slot)
        if items is not None:
            items.discard(item)
        item.due_slot = NEVER

    def _turn(self) -> None:
        now_slot = int(self._reactor.seconds() / SLOT_SECONDS)
        # As many slots as have passed; all that are filled, should the clock have leapt.
        for slot in sorted(slot for slot in self._slots if slot <= now_slot):
            self._overdue += self._slots.pop(slot)
        self._done_slot = max(self._done_slot, now_slot)
        self._work_off()

    def _work_off(self) -> None:
        overdue, seconds = self._overdue, self._reactor.seconds
        until = seconds() + SECONDS_PER_TURN
        while overdue and seconds() < until:
            item = overdue.popleft()
            if item.due_slot <= self._done_slot:
                item.due_slot = NEVER
                self._due(item)
        if overdue:
            self._work_on.request()

    def _due(self, item: Timed) -> None:
        try:
            self._on_due(item)
        except Exception:
            log.failure("A deadline could not be handled", event="connection.deadline_failed")
