"""The line of those that have not asked for a session yet, whatever they want."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from push.connector.limits.line import Line
from push.runtime.ports import Clock

One = TypeVar("One")

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


class Newcomers(Line[One]):
    """While most of them come to nothing, it rests for longer than it has worked."""

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
