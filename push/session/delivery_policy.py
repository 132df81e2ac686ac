"""Which messages a session hands out now, and as which bytes (architecture, rules 2, 8, 9).

One rule at every hand-over: `previous` greater than the session's position is a gap (the session
reads the log), `offset` not greater a repeat, else it is the next. A session that is not live, or
whose window is full, takes nothing from the channel: it is not queued for, it reads on later.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from push.session.entry import Batch, Entry
from push.session.server import ServerSession
from push.session.server_answers import SessionLimits
from push.session.subscription import (
    GONE,
    TOO_LARGE,
    UNACKNOWLEDGED,
    OutstandingMessage,
    Subscription,
)
from push.session.transitions import State
from push.session.window import Window
from push.wire.codecs.codec import Codec
from push.wire.idents import STREAM_KINDS

_OPEN = State.OPEN  # a member of an Enum takes a call each time

Dropped = Callable[[ServerSession, Subscription, Entry, str], None]


class DeliveryPolicy:
    """The rules of hand-out, with what they need to know of the connector.

    `dropped(session, subscription, entry, outcome)` is called for each message that a session
    will never get: `TOO_LARGE` for its frame limit, `UNACKNOWLEDGED` after `max_deliveries`.
    `written` counts messages handed out, redeliveries apart; `written_by_kind` by the kind of their
    stream.
    """

    def __init__(self, limits: SessionLimits, dropped: Dropped) -> None:
        self.written = 0
        self.written_by_kind = Counter(dict.fromkeys(STREAM_KINDS, 0))
        self._max_deliveries = limits.max_deliveries
        self._dropped = dropped

    def note_written(self, stream: str, written_before: int) -> None:
        """What `written` grew by was of `stream`; once for many sessions."""
        if self.written != written_before:
            self.written_by_kind[stream.partition(":")[0]] += self.written - written_before

    def hand_out_whole(
        self, session: ServerSession, subscription: Subscription, batch: Batch, now: float
    ) -> bool:
        """Whether a session gets all of `batch` as it is: then that is in its window, and
        `batch.encoded` is to be written."""
        window = session.window
        if (
            window is None
            or not batch.uniform
            or not batch.first_previous <= subscription.position < batch.first_offset
            or not subscription.live
            or session.state is not _OPEN
            or batch.largest_bytes > session.max_frame_bytes
            or subscription.failed_offset
            or not window.has_room(len(batch.stored), batch.stored_bytes)
            or not window.are_free(batch.message_ids)
        ):
            return False
        window.add_all(subscription, batch.handed_out(now), batch.stored_bytes)
        self.written += len(batch.entries)
        return True

    def hand_out_singly(
        self, session: ServerSession, subscription: Subscription, batch: Batch, now: float
    ) -> bytes:
        """The bytes for a session of what it may have of `batch`. Clears `subscription.live` when
        it is to read on from the log."""
        window = session.window
        if window is None or session.state is not _OPEN:
            return b""
        frames = []
        for entry in batch.entries:
            if entry.offset:
                frames.append(self._live_stored(session, window, subscription, entry, now))
            elif entry.control is None:
                frames.append(self.ephemeral(session, subscription, entry, now))
        return b"".join(frames)

    def ephemeral(
        self, session: ServerSession, subscription: Subscription, entry: Entry, now: float
    ) -> bytes:
        """The bytes of a message that is in no log, empty if it is too large for the session.

        With too many of them unacknowledged (`ttl` 0) it asks for no acknowledgement.
        """
        window = session.window
        if window is None or len(entry.body) > session.max_frame_bytes:
            return b""
        self.written += 1
        if not entry.online:
            return entry.encoded(session.codec)
        message_id = entry.message_id
        if not message_id or not window.is_free(message_id):
            message_id = window.next_private_id()
        if message_id and not window.add_online(subscription, entry, message_id, now):
            message_id = 0
        return _encoded(session.codec, entry, message_id)

    def _live_stored(
        self,
        session: ServerSession,
        window: Window,
        subscription: Subscription,
        entry: Entry,
        now: float,
    ) -> bytes:
        if not subscription.live or entry.offset <= subscription.position:
            return b""
        if entry.previous > subscription.position or not window.has_room(1, len(entry.body)):
            subscription.live = False
            return b""
        return self._give(session, window, subscription, entry, now)

    def from_log(
        self, session: ServerSession, subscription: Subscription, entry: Entry, now: float
    ) -> bytes | None:
        """The bytes of the next entry of the log, empty if it needs none, None if there is no room.

        An entry that needs no hand-out (for the connector, too large) is passed over.
        """
        window = session.window
        if window is None or session.state is not _OPEN:
            return None
        if entry.offset <= subscription.position:
            return b""
        if not window.has_room(1, len(entry.body)):
            return None
        data = self._give(session, window, subscription, entry, now)
        return data if subscription.position >= entry.offset else None

    def _give(
        self,
        session: ServerSession,
        window: Window,
        subscription: Subscription,
        entry: Entry,
        now: float,
    ) -> bytes:
        if entry.control is not None:
            window.add_done(subscription, entry.offset)
            return b""
        if len(entry.body) > session.max_frame_bytes:
            return self._drop(session, window, subscription, entry, TOO_LARGE)
        attempts = 1
        if subscription.failed_offset and entry.offset >= subscription.failed_offset:
            failed_attempts = (
                subscription.failed_attempts if entry.offset == subscription.failed_offset else 0
            )
            subscription.failed_offset = 0
            if failed_attempts >= self._max_deliveries:
                return self._drop(session, window, subscription, entry, UNACKNOWLEDGED)
            attempts += failed_attempts
        message_id = entry.message_id
        if not message_id or not window.is_free(message_id):
            message_id = window.next_private_id()
            if not message_id:
                subscription.live = False
                return b""
        window.add(subscription, entry, message_id, now, attempts)
        self.written += 1
        return _encoded(session.codec, entry, message_id)

    def _drop(
        self,
        session: ServerSession,
        window: Window,
        subscription: Subscription,
        entry: Entry,
        outcome: str,
    ) -> bytes:
        window.skip(subscription, entry, outcome)
        self._dropped(session, subscription, entry, outcome)
        return b""

    def redeliver(
        self,
        session: ServerSession,
        delivery: OutstandingMessage,
        entry: Entry | None,
        now: float,
        gone: str = GONE,
    ) -> tuple[bytes, Subscription | None]:
        """Another copy of the first unacknowledged message of a stream, with the stream whose
        cursor moved if any.

        `entry` is what the log has of it now; None: it is done, with the outcome `gone`. A copy
        counts only if the device had its turn: not while it works off what it got before.
        """
        window = session.window
        if window is None or session.state is not _OPEN or delivery.done:
            return b"", None
        if entry is None:
            return b"", window.finish(delivery, now, gone)
        counts = not window.progress_before(delivery)
        if counts and delivery.attempts >= self._max_deliveries:
            self._dropped(session, delivery.subscription, entry, UNACKNOWLEDGED)
            return b"", window.finish(delivery, now, UNACKNOWLEDGED)
        window.redeliver(delivery, now, counts=counts)
        return session.codec.push(entry, delivery.message_id), None


def _encoded(codec: Codec, entry: Entry, message_id: int) -> bytes:
    """The bytes all sessions share, unless this one has given a message id of its own."""
    if message_id == entry.message_id:
        return entry.encoded(codec)
    return codec.push(entry, message_id)
