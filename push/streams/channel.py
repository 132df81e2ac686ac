"""A stream as one connector knows it: its followers here, and how far the channel has come."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from push.session.entry import Entry
from push.session.subscription import Subscription


class Channel:
    """The live side of one stream on one connector. What its `followers` are is the receiver's.

    `last`: up to here nothing is missing, meaningful once `known`. `handed`: the last offset that
    was handed on, which is lower when the log was read past it. From `clear_from` up to `last` the
    log has nothing, as far as is known: a session that is there need not read it. So many `readers`
    of the log are at work now: what comes meanwhile is kept for them, and so is what was `removed`
    from the log, because what they read may be from before.
    """

    __slots__ = (
        "clear_from",
        "followers",
        "handed",
        "held",
        "known",
        "last",
        "left",
        "readers",
        "receiver",
        "removed",
        "repairing",
        "stream",
    )

    def __init__(self, stream: str) -> None:
        self.stream = stream
        self.followers: dict[Any, Subscription] = {}
        self.left = 0  # how many were followers
        self.receiver: Callable[[bytes], None] | None = None
        self.last = 0
        self.clear_from = 0
        self.handed = 0
        self.known = False
        self.readers = 0
        self.removed: set[int] | None = None
        # While a gap is repaired, what comes on the channel waits here. (None: it need not, the
        # read that has yet to begin will find it in the log.)
        self.repairing = False
        self.held: list[Entry] | None = None

    def advance(self, offset: int) -> None:
        self.known = True
        if offset > self.last:
            self.last = offset
        self.clear_from = self.last

    def note_clear(self, after: int, to: int) -> None:
        """A read has found nothing in the log after `after`, up to `to`."""
        if self.known and after < self.clear_from <= to:
            self.clear_from = after

    def is_clear_after(self, offset: int) -> bool:
        return self.known and not self.repairing and offset >= self.clear_from

    def take_out(self, offset: int) -> None:
        """The entry at `offset` left the log before its time: a reader is not to have it."""
        if self.held is not None:
            self.held = [entry for entry in self.held if entry.offset != offset]
        if self.readers:
            if self.removed is None:
                self.removed = set()
            self.removed.add(offset)

    def begin_reading(self) -> None:
        self.readers += 1

    def end_reading(self) -> None:
        self.readers -= 1
        if not self.readers:
            self.removed = None

    def still_there(self, entries: list[Entry]) -> list[Entry]:
        """What was read, without entries that were removed while it was read."""
        removed = self.removed
        return [e for e in entries if e.offset not in removed] if removed else entries

    @property
    def shared_by_many(self) -> bool:
        return len(self.followers) > 1

    @property
    def remembers(self) -> bool:
        """Whether a reader of the log may need what comes."""
        return self.readers > 0 or len(self.followers) > 1

    @property
    def somebody_live(self) -> bool:
        """Whether a follower takes what comes; all others read the log for themselves."""
        return any(subscription.live for subscription in self.followers.values())

    def reached(self, subscription: Subscription) -> bool:
        """Whether a session is where the channel is, so that it may go live in this turn."""
        return self.known and not self.repairing and subscription.position >= self.last
