"""A stream as one connector knows it: who follows it here, and how far the channel has come."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from push.session.entry import Entry
from push.session.window import Follow

RECENT_ENTRIES = 64
RECENT_BYTES = 256 * 1024


class Follower(Protocol):
    """Somebody whose sessions follow streams: a connection of the connector."""

    def __hash__(self) -> int: ...


class Channel:
    """The live side of one stream on one connector.

    `last`: up to here nothing is missing, meaningful once `known`. `handed`: the last offset that
    was handed on, which is lower when the log was read beyond it. `recent` are the latest live
    messages, kept while they may close the distance between a log read and the channel: for one
    follower only while it is not live.
    """

    __slots__ = (
        "_recent_bytes",
        "followers",
        "handed",
        "held",
        "known",
        "last",
        "pending",
        "receiver",
        "recent",
        "repairing",
        "stream",
    )

    def __init__(self, stream: str) -> None:
        self.stream = stream
        self.followers: dict[Follower, Follow] = {}
        self.receiver: Callable[[bytes], None] | None = None
        self.last = 0
        self.handed = 0
        self.known = False
        self.pending: list[Entry] | None = None
        self.recent: list[Entry] | None = None
        self._recent_bytes = 0
        # While a gap is repaired, what comes on the channel waits here.
        self.repairing = False
        self.held: list[Entry] | None = None

    def advance(self, offset: int) -> None:
        self.known = True
        self.last = max(self.last, offset)

    def queue(self, entry: Entry) -> None:
        """Hand `entry` on in this turn."""
        if self.pending is None:
            self.pending = [entry]
        else:
            self.pending.append(entry)

    def remember(self, entry: Entry) -> None:
        """Keep a stored message in `recent` if somebody may still need it from there."""
        if len(self.followers) == 1:
            (follow,) = self.followers.values()
            if follow.live:
                self.forget_recent()
                return
        if self.recent is None:
            self.recent = []
        self.recent.append(entry)
        self._recent_bytes += len(entry.body)
        while len(self.recent) > RECENT_ENTRIES or (
            self._recent_bytes > RECENT_BYTES and len(self.recent) > 1
        ):
            self._recent_bytes -= len(self.recent.pop(0).body)

    def forget_recent(self) -> None:
        self.recent = None
        self._recent_bytes = 0

    def recent_after(self, offset: int) -> list[Entry]:
        return [entry for entry in self.recent or () if entry.offset > offset]

    def reached(self, follow: Follow) -> bool:
        """Whether a session is where the channel is, so that it may go live in this turn."""
        return self.known and not self.repairing and follow.position >= self.last
