"""Connections in a line, each of which gets a slice of a turn of the reactor.

Other ways to wait: architecture, "Who waits for a turn".
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from twisted.logger import Logger

from push.runtime.ports import Clock
from push.runtime.timers import Debounced

LEAST_BYTES_PER_SLICE = 512  # as which a smaller one counts
# After a turn the line may rest for some times as long, but no longer than this.
MOST_REST_SECONDS = 0.1

# Of newcomers: those that have not asked for a session yet, whatever they want.
SECONDS_PER_TURN = 0.001
# As how many bytes what a newcomer wants counts: with 512 each, 16 of them in a turn.
NEWCOMERS_BYTES_PER_TURN = 8 * 1024
MOST_NEWCOMERS = 64  # that wait; while there are so many, no connection is accepted
RESTS = 0.25  # times as long as it has worked: an honest storm is not to wait for nothing
LONG_RESTS = 4.0
# For each newcomer: what is looked up for it takes longer than its turn.
HOSTILE_REST_SECONDS = 0.002
NO_ROOM_SECONDS = 0.002  # until it is looked again whether there is room
# The share of newcomers that get a session, over about the last 50; under this, most are hostile.
FEW_SESSIONS = 0.25
_OF_LAST = 1 / 50

One = TypeVar("One")

log = Logger()


class Line(Generic[One]):
    """Works off about so many bytes in a turn, and begins nothing more after `seconds_per_turn`.

    `work_off(one)` works off a slice and returns its bytes, or None for one that waits no longer,
    which costs the others nothing; when it raises an error, that is logged and `failed(one)` is
    called: the others get their turn all the same. After a turn the line rests, `rests` times as
    long as that took, and at least `rest_seconds_each` for each that was worked off: others have
    that time for themselves.
    """

    def __init__(
        self,
        clock: Clock,
        work_off: Callable[[One], int | None],
        failed: Callable[[One], None],
        *,
        bytes_per_turn: int,
        seconds_per_turn: float,
        rests: float = 0.0,
    ) -> None:
        self.rests = rests
        self.rest_seconds_each = 0.0
        self._clock = clock
        self._work_off = work_off
        self._failed = failed
        self._bytes_per_turn = bytes_per_turn
        self._seconds_per_turn = seconds_per_turn
        self._waiting: deque[One] = deque()
        self._rest_until = 0.0
        self._turn = Debounced(clock, 0, self._work)

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def rest_seconds(self) -> float:
        """For how long nothing is worked off, whatever waits."""
        if not self._rest_until:
            return 0.0
        return max(self._rest_until - self._clock.seconds(), 0.0)

    def append(self, one: One) -> None:
        self._waiting.append(one)
        if not self._turn.is_waiting:
            self._turn.request(self.rest_seconds)

    def stop(self) -> list[One]:
        """Returns those that wait."""
        self._turn.cancel()
        waiting, self._waiting = list(self._waiting), deque()
        return waiting

    def _work(self) -> None:
        begun = now = self._clock.seconds()
        waiting, left_bytes = self._waiting, self._bytes_per_turn
        worked_off = 0
        while waiting and left_bytes > 0 and now - begun < self._seconds_per_turn:
            one = waiting.popleft()
            try:
                size_bytes = self._work_off(one)
            except Exception:
                size_bytes = 0
                log.failure("Data of a device could not be handled", event="connection.turn_failed")
                self._failed(one)
            if size_bytes is not None:
                worked_off += 1
                left_bytes -= max(size_bytes, LEAST_BYTES_PER_SLICE)
            now = self._clock.seconds()
        least_seconds = worked_off * self.rest_seconds_each
        rest_seconds = min(max((now - begun) * self.rests, least_seconds), MOST_REST_SECONDS)
        self._rest_until = now + rest_seconds if rest_seconds else 0.0
        if waiting:
            self._turn.request(self.rest_seconds)


class Newcomers(Line[One]):
    """The line of those that have not asked for a session yet. While most of them come to nothing,
    it rests for longer than it has worked."""

    def __init__(
        self, clock: Clock, work_off: Callable[[One], int | None], failed: Callable[[One], None]
    ) -> None:
        super().__init__(
            clock,
            work_off,
            failed,
            bytes_per_turn=NEWCOMERS_BYTES_PER_TURN,
            seconds_per_turn=SECONDS_PER_TURN,
            rests=RESTS,
        )
        self._share_with_session = 1.0

    def note_outcome(self, *, session: bool, weight: int = 1) -> None:
        """One has got a session, or is gone without ever having had one that lasted."""
        share = self._share_with_session
        self._share_with_session = share = share + (session - share) * weight * _OF_LAST
        is_hostile = share < FEW_SESSIONS
        self.rests = LONG_RESTS if is_hostile else RESTS
        self.rest_seconds_each = HOSTILE_REST_SECONDS if is_hostile else 0.0

    @property
    def accepts_wait_seconds(self) -> float:
        """For how long no connection is to be accepted: those wait in the system."""
        rest_seconds = self.rest_seconds if self.rests == LONG_RESTS else 0.0
        if len(self) >= MOST_NEWCOMERS:
            return max(rest_seconds, NO_ROOM_SECONDS)
        return rest_seconds
