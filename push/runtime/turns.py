"""Whose work is done next, so that a client that makes much of it waits itself, and nobody else.

A reactor does all that has come before it looks for what comes next: a client that sends enough
makes all others wait. Here work has an owner, and is measured. Owners share the time that
there is: the one that has used least is next. A turn of the reactor does a few milliseconds of it,
and the work of strangers, who have no valid key, gets no more than its share of a longer time:
the rest of a turn is for sessions that are open, and for Redis. Other ways to wait:
architecture, "Who waits for a turn".
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from itertools import count
from typing import Final, TypeVar

from twisted.logger import Logger

from push.runtime.ports import Clock
from push.runtime.timers import Debounced

log = Logger()

# Of a turn of the reactor, for one that is known and alone; long turns cost less.
KNOWN_SECONDS: Final = 0.004
# For several: what one asks for takes a few turns, in which it waits for the others; so long after
# the last change from one to another.
SHARED_SECONDS: Final = 0.0005
SHARED_FOR_SECONDS: Final = 1.0
# What one that asks for little may use at once, though others wait.
MOST_AHEAD_SECONDS: Final = 0.001
# Of the time, for strangers; and the time within which it may be used at once.
STRANGERS_SHARE: Final = 0.5
STRANGERS_WINDOW_SECONDS: Final = 0.001
MAX_DEBT_SECONDS: Final = 1.0  # for which strangers wait after one long work
_MAX_IDLE_OWNERS = 1024

Work = Callable[[], object]
Outcome = TypeVar("Outcome")


class WorkOwner:
    """An owner of work. What waits is done in order; `spent` seconds is what it has used, of which
    one with a `weight` of 3 gets three times as much as others."""

    __slots__ = ("is_known", "is_queued", "name", "spent", "waiting", "weight")

    def __init__(self, name: str, *, is_known: bool) -> None:
        self.weight = 1
        self.name = name
        self.is_known = is_known
        self.spent = 0.0
        self.is_queued = False
        self.waiting: deque[Work] = deque()


class _Fair:
    """Owners that have work waiting: the one that has used least is next. True if there are any."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, WorkOwner]] = []
        self._order = count()
        self._reached = 0.0  # what the last one had used: a later one begins there
        self.size = 0  # pieces of work

    def __bool__(self) -> bool:
        return bool(self._heap)

    def add(self, owner: WorkOwner, work: Work) -> None:
        self.size += 1
        owner.waiting.append(work)
        self.push(owner)

    def push(self, owner: WorkOwner) -> None:
        if owner.is_queued or not owner.waiting:
            return
        owner.is_queued = True
        owner.spent = max(owner.spent, self._reached)
        heapq.heappush(self._heap, (owner.spent, next(self._order), owner))

    def next_owner(self) -> WorkOwner:
        return self._heap[0][2]

    def pop(self) -> tuple[WorkOwner, Work]:
        """To be pushed again, if more of it waits."""
        self._reached, _, owner = heapq.heappop(self._heap)
        owner.is_queued = False
        self.size -= 1
        return owner, owner.waiting.popleft()

    def is_ahead(self, owner: WorkOwner) -> bool:
        """Whether it has used less than all that wait: a little, since it may not save up more."""
        if not self._heap or owner.waiting:
            return False
        owner.spent = max(owner.spent, self._reached - MOST_AHEAD_SECONDS)
        return owner.spent < self._heap[0][0]

    def owes_nothing(self, owner: WorkOwner) -> bool:
        return not owner.waiting and owner.spent <= self._reached


class Turns:
    """Does the work of all owners, and measures it by `clock`.

    (Not by the time of a thread on a processor: that takes 20 times as long to read, and on a busy
    machine others would wait for strangers longer.)
    """

    def __init__(self, clock: Clock, strangers_share: float = STRANGERS_SHARE) -> None:
        self._clock = clock
        self._strangers_share = strangers_share
        self._owners: dict[tuple[bool, str], WorkOwner] = {}
        self._known, self._strangers = _Fair(), _Fair()
        self._known_left = self._known_seconds = KNOWN_SECONDS
        self._last_known: WorkOwner | None = None
        self._shared_until = 0.0
        self._paid_at = 0.0  # when strangers will have waited for what they used
        self._running: WorkOwner | None = None
        self._mark = 0.0  # until when the time of the owner that runs was counted
        self._turn = Debounced(clock, 0, self._begin_turn)
        self._rest = Debounced(clock, 0, self._end_rest)

    @property
    def waiting(self) -> int:
        """How many pieces of work wait."""
        return self._known.size + self._strangers.size

    @property
    def strangers_waiting(self) -> int:
        return self._strangers.size

    def work_owner(self, name: str, *, is_known: bool) -> WorkOwner:
        """The owner with this name: of an API key, or of strangers at an address."""
        found = self._owners.get((is_known, name))
        if found is None:
            if len(self._owners) >= _MAX_IDLE_OWNERS:
                self._forget()
            found = self._owners[is_known, name] = WorkOwner(name, is_known=is_known)
        return found

    def _forget(self) -> None:
        """Owners of which nothing needs to be known. (A connection may still hold one: it is as
        good as a new one.)"""
        for key, owner in list(self._owners.items()):
            fair = self._known if owner.is_known else self._strangers
            if fair.owes_nothing(owner) and owner is not self._running:
                del self._owners[key]

    def work(self, owner: WorkOwner, work: Work, *, at_once: bool = True) -> bool:
        """Do `work`: now, and then True, or when it is the owner's turn. Not `at_once`: not in this
        turn."""
        if at_once and self._running is not None:
            self._count()
        waiting = self._known if owner.is_known else self._strangers
        if not at_once or (
            (waiting or not self._has_time(owner))
            and not (owner.is_known and waiting.is_ahead(owner))
        ):
            waiting.add(owner, work)
            self._request(owner.is_known)
            return False
        if self._running is owner:
            work()  # a part of what it does now
        else:
            self._run(owner, work)
        return True

    def charge(self, owner: WorkOwner, work: Callable[[], Outcome]) -> Outcome:
        """What `work` returns: it is done now, whatever waits, and what it takes is the owner's."""
        if self._running is not None:
            self._count()
        return self._run(owner, work)

    def _has_time(self, owner: WorkOwner) -> bool:
        if owner.is_known:
            return self._known_left > 0
        return self._clock.seconds() >= self._paid_at

    def _request(self, is_known: bool) -> None:
        if is_known:
            self._turn.request()
        else:
            self._rest.request(max(self._paid_at - self._clock.seconds(), 0))

    def _run(self, owner: WorkOwner, work: Callable[[], Outcome]) -> Outcome:
        outer, self._running = self._running, owner
        self._mark = self._clock.seconds()
        try:
            return work()
        finally:
            self._count()
            self._running = outer

    def _count(self) -> None:
        """What was used since the last time is the running owner's."""
        owner = self._running
        assert owner is not None
        now = self._clock.seconds()
        seconds, self._mark = now - self._mark, now
        owner.spent += seconds / owner.weight
        if owner.is_known:
            if self._known_left == self._known_seconds:
                self._turn.request()  # then it is given again
            self._known_left -= seconds
            if owner is not self._last_known:
                self._note_shared(owner, now)
        else:
            # What was used has passed already: it is paid by as much time again.
            paid_at = max(self._paid_at, now - seconds - STRANGERS_WINDOW_SECONDS)
            self._paid_at = min(paid_at + seconds / self._strangers_share, now + MAX_DEBT_SECONDS)

    def _note_shared(self, owner: WorkOwner, now: float) -> None:
        """By this one, and by the one before it."""
        if self._last_known is not None:
            self._shared_until = now + SHARED_FOR_SECONDS
        self._last_known = owner

    def _begin_turn(self) -> None:
        is_shared = self._clock.seconds() < self._shared_until
        self._known_left = self._known_seconds = SHARED_SECONDS if is_shared else KNOWN_SECONDS
        self._work_off(self._known)

    def _end_rest(self) -> None:
        self._work_off(self._strangers)

    def _work_off(self, fair: _Fair) -> None:
        """What waits now, as far as there is time; what comes of it waits for the next turn."""
        for _ in range(fair.size):
            if not self._has_time(fair.next_owner()):
                break
            owner, work = fair.pop()
            try:
                self._run(owner, work)
            except Exception:
                log.failure("Work of {lane} failed", lane=owner.name, event="runtime.turn_failed")
            fair.push(owner)
        if fair:
            self._request(fair.next_owner().is_known)
