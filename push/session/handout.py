"""Which messages a session hands out now, and as which bytes (architecture, rules 2, 8, 9).

One rule at every hand-over: `previous` beyond the session's position is a gap (the session reads
the log), `offset` not beyond it a repeat, else it is the next. A session that is not live, or whose
window is full, takes nothing from the channel: it is not queued for, it reads on later.
"""

from __future__ import annotations

from collections.abc import Callable

from push.session.entry import Batch, Entry
from push.session.server import ServerSession, SessionLimits
from push.session.transitions import State
from push.session.window import (
    GONE,
    TOO_LARGE,
    UNACKNOWLEDGED,
    Delivery,
    Follow,
    Window,
)

Dropped = Callable[[Follow, Entry, str], None]


class Handout:
    """The rules of hand-out, with what they need to know of the connector.

    `dropped(follow, entry, outcome)` is told of each message that a session will never get:
    `TOO_LARGE` for its frame limit, `UNACKNOWLEDGED` after `max_deliveries`. `written` counts
    messages handed out, redeliveries apart.
    """

    def __init__(self, limits: SessionLimits, dropped: Dropped) -> None:
        self.written = 0
        self._max_deliveries = limits.max_deliveries
        self._dropped = dropped

    def live(self, session: ServerSession, follow: Follow, batch: Batch, now: float) -> bytes:
        """The bytes of `batch` for a session, from the channel. Clears `follow.live` if it must."""
        window = session.window
        if window is None or session.state is not State.OPEN:
            return b""
        fits = batch.largest_bytes <= session.max_frame_bytes
        if not batch.stored and not batch.online and fits:
            self.written += len(batch.entries)
            return batch.frames
        if (
            fits
            and follow.live
            and batch.uniform
            and batch.first_previous <= follow.position < batch.first_offset
            and window.has_room(len(batch.stored), batch.stored_bytes)
            and window.are_free(batch.numbers)
            and not follow.tried_offset
        ):
            for entry in batch.stored:
                window.add(follow, entry, entry.number, now)
            self.written += len(batch.entries)
            return batch.frames
        frames = []
        for entry in batch.entries:
            if entry.offset:
                frames.append(self._live_stored(session, window, follow, entry, now))
            elif entry.control is None:
                frames.append(self.fleeting(session, follow, entry, now))
        return b"".join(frames)

    def fleeting(self, session: ServerSession, follow: Follow, entry: Entry, now: float) -> bytes:
        """The bytes of a message that is in no log, empty if it is too large for the session.

        With too many of them unacknowledged (`ttl` 0) it asks for no acknowledgement.
        """
        window = session.window
        if window is None or len(entry.body) > session.max_frame_bytes:
            return b""
        self.written += 1
        if not entry.online:
            return entry.frame
        number = entry.number
        if not number or not window.is_free(number):
            number = window.own_number()
        if number and not window.add_online(follow, entry, number, now):
            number = 0
        return entry.frame if number == entry.number else entry.numbered(number)

    def _live_stored(
        self, session: ServerSession, window: Window, follow: Follow, entry: Entry, now: float
    ) -> bytes:
        if not follow.live or entry.offset <= follow.position:
            return b""
        if entry.previous > follow.position or not window.has_room(1, len(entry.body)):
            follow.live = False
            return b""
        return self._give(session, window, follow, entry, now)

    def from_log(
        self, session: ServerSession, follow: Follow, entry: Entry, now: float
    ) -> bytes | None:
        """The bytes of the next entry of the log, empty if it needs none, None if there is no room.

        An entry that needs no hand-out (for the connector, too large) is passed over.
        """
        window = session.window
        if window is None or session.state is not State.OPEN:
            return None
        if entry.offset <= follow.position:
            return b""
        if not window.has_room(1, len(entry.body)):
            return None
        data = self._give(session, window, follow, entry, now)
        return data if follow.position >= entry.offset else None

    def _give(
        self, session: ServerSession, window: Window, follow: Follow, entry: Entry, now: float
    ) -> bytes:
        if entry.control is not None:
            window.add_done(follow, entry.offset)
            return b""
        if len(entry.body) > session.max_frame_bytes:
            return self._drop(window, follow, entry, TOO_LARGE)
        attempts = 1
        if follow.tried_offset and entry.offset >= follow.tried_offset:
            tried = follow.tried if entry.offset == follow.tried_offset else 0
            follow.tried_offset = 0
            if tried >= self._max_deliveries:
                return self._drop(window, follow, entry, UNACKNOWLEDGED)
            attempts += tried
        number = entry.number
        shared = number and window.is_free(number)
        if not shared:
            number = window.own_number()
            if not number:
                follow.live = False
                return b""
        window.add(follow, entry, number, now, attempts)
        self.written += 1
        return entry.frame if shared else entry.numbered(number)

    def _drop(self, window: Window, follow: Follow, entry: Entry, outcome: str) -> bytes:
        window.skip(follow, entry, outcome)
        self._dropped(follow, entry, outcome)
        return b""

    def again(
        self,
        session: ServerSession,
        delivery: Delivery,
        entry: Entry | None,
        now: float,
        gone: str = GONE,
    ) -> tuple[bytes, Follow | None]:
        """Another copy of the first unacknowledged message of a stream, with the stream whose
        cursor moved if any.

        `entry` is what the log has of it now; None: it is done, with the outcome `gone`. A copy
        counts only if the device had its turn: not while it works off what it got before.
        """
        window = session.window
        if window is None or session.state is not State.OPEN or delivery.done:
            return b"", None
        if entry is None:
            return b"", window.finish(delivery, now, gone)
        counts = not window.progress_before(delivery)
        if counts and delivery.attempts >= self._max_deliveries:
            self._dropped(delivery.follow, entry, UNACKNOWLEDGED)
            return b"", window.finish(delivery, now, UNACKNOWLEDGED)
        window.again(delivery, now, counts=counts)
        return entry.numbered(delivery.number), None
