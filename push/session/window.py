"""What a session has handed out and not yet had acknowledged, and how far it is in each stream.

The window counts from the cursor: a message takes its place until every earlier one of its stream
is done as well (rule 8), so that a device that acknowledges out of order costs bounded memory.
"""

from __future__ import annotations

from collections.abc import Iterable

from push.session.entry import FIRST_PRIVATE_ID, LAST_PRIVATE_ID, Entry
from push.session.subscription import (
    ACKNOWLEDGED,
    EXPIRED,
    GONE,
    LATE,
    UNACKNOWLEDGED,
    FailedAttempts,
    LateAcknowledgement,
    OutstandingMessage,
    Skipped,
    Subscription,
)

MAX_ONLINE_UNACKNOWLEDGED = 256
_NOT_COUNTED = -1


class Window:
    """The outstanding messages of a session over all its streams.

    Bounded in messages and in bytes of bodies; one message is always let through, however large.
    """

    # Whether what was handed out is acknowledged while the session lasts, and may be waited for.
    acknowledges_here = True

    __slots__ = (
        "_next_own",
        "bytes_max",
        "messages_max",
        "online",
        "outstanding",
        "used",
        "used_bytes",
    )

    def __init__(self, messages_max: int, bytes_max: int) -> None:
        self.messages_max = messages_max
        self.bytes_max = bytes_max
        self.used = 0
        self.used_bytes = 0
        # By message id, in the order of hand-out.
        self.outstanding: dict[int, OutstandingMessage] = {}
        # Messages that are in no log, as (stream, id, when they were handed out): acknowledged, but
        # never sent again.
        self.online: dict[int, tuple[str, str, float]] | None = None
        self._next_own = FIRST_PRIVATE_ID

    def has_room(self, messages: int, size_bytes: int) -> bool:
        used = self.used
        if used == 0:
            return messages <= self.messages_max and (messages == 1 or size_bytes <= self.bytes_max)
        return (
            used + messages <= self.messages_max and self.used_bytes + size_bytes <= self.bytes_max
        )

    @property
    def half_free(self) -> bool:
        """Whether a session that fell behind should read on."""
        return self.used * 2 <= self.messages_max and self.used_bytes * 2 <= self.bytes_max

    def next_private_id(self) -> int:
        """A message id of the session's own that no outstanding copy uses; 0 if all are taken."""
        for _ in range(LAST_PRIVATE_ID - FIRST_PRIVATE_ID + 1):
            message_id = self._next_own
            self._next_own = FIRST_PRIVATE_ID if message_id == LAST_PRIVATE_ID else message_id + 1
            if self.is_free(message_id):
                return message_id
        return 0

    def is_free(self, message_id: int) -> bool:
        """Whether no copy that waits for its acknowledgement has this message id."""
        return message_id not in self.outstanding and (
            self.online is None or message_id not in self.online
        )

    def are_free(self, message_ids: frozenset[int]) -> bool:
        return self.outstanding.keys().isdisjoint(message_ids) and (
            self.online is None or self.online.keys().isdisjoint(message_ids)
        )

    def add(
        self,
        subscription: Subscription,
        entry: Entry,
        message_id: int,
        now: float,
        attempts: int = 1,
    ) -> None:
        """`entry` is handed out under `message_id`. `attempts`: with those of earlier
        connections."""
        outstanding = self.outstanding
        ahead = len(outstanding) if self.online is None else len(outstanding) + len(self.online)
        delivery = OutstandingMessage(subscription, entry, message_id, now, attempts, ahead)
        outstanding[message_id] = delivery
        if subscription.pending is None:
            subscription.pending = [delivery]
        else:
            subscription.pending.append(delivery)
        subscription.position = entry.offset
        self.used += 1
        self.used_bytes += delivery.size_bytes

    def add_online(
        self, subscription: Subscription, entry: Entry, message_id: int, now: float
    ) -> bool:
        """A message that is in no log is handed out; False when too many are unacknowledged."""
        if self.online is None:
            self.online = {}
        elif len(self.online) >= MAX_ONLINE_UNACKNOWLEDGED:
            return False
        self.online[message_id] = (subscription.stream, entry.id, now)
        return True

    def acknowledge_online(self, message_id: int) -> tuple[str, str] | None:
        """Stream and id of the message in no log that was acknowledged, if it was one."""
        if self.online is None:
            return None
        found = self.online.pop(message_id, None)
        if not self.online:
            self.online = None
        return None if found is None else found[:2]

    def skip(self, subscription: Subscription, entry: Entry, outcome: str) -> bool:
        """The session does not get a message. True when the cursor moved."""
        subscription.end(Skipped(entry.offset, entry.id, outcome))
        return self.add_done(subscription, entry.offset)

    def add_done(self, subscription: Subscription, offset: int) -> bool:
        """An entry that needs no acknowledgement keeps its place behind those that do.

        True when the cursor moved.
        """
        pending = subscription.pending
        if pending is None:
            return subscription.skip_to(offset)
        # The last delivery stands for it: the cursor passes both together.
        pending[-1].passes = max(pending[-1].passes, offset)
        subscription.position = max(subscription.position, offset)
        return False

    def acknowledge(self, message_id: int, now: float) -> Subscription | LateAcknowledgement | None:
        """One copy of message `message_id` was acknowledged: the stream whose cursor moved, or
        None.

        A late delivery: the cursor has passed it, for it was gone or given up.
        """
        delivery = self.outstanding.get(message_id)
        if delivery is None:
            return None
        delivery.copies_due -= 1
        if delivery.copies_due <= 0:
            del self.outstanding[message_id]
        if delivery.outcome is not None:
            return self._acknowledge_late(delivery, delivery.outcome)
        return self.finish(delivery, now)

    def _acknowledge_late(
        self, delivery: OutstandingMessage, outcome: str
    ) -> LateAcknowledgement | None:
        """It was given up, removed from the log, or expired; but the device had it all the same."""
        if outcome not in (GONE, EXPIRED, UNACKNOWLEDGED):
            return None
        if delivery in (delivery.subscription.pending or ()):
            delivery.outcome = ACKNOWLEDGED  # the cursor tells of it when it passes
            return None
        delivery.outcome = LATE
        return LateAcknowledgement(delivery, outcome)

    def finish(
        self, delivery: OutstandingMessage, now: float, outcome: str = ACKNOWLEDGED
    ) -> Subscription | None:
        """The message is done: the stream whose cursor moved, or None.

        When it moved, the message that now is the first begins to wait for its next copy.
        """
        delivery.outcome = outcome
        subscription = delivery.subscription
        pending = subscription.pending
        if pending is None or pending[0] is not delivery:
            return None
        count = 0
        for item in pending:
            if item.outcome is None:
                break
            count += 1
            subscription.cursor = item.passes
            subscription.end(item)
            self.used -= 1
            self.used_bytes -= item.size_bytes
        if count == len(pending):
            subscription.pending = None
            if subscription.position > subscription.cursor:
                subscription.cursor = subscription.position
        else:
            del pending[:count]
            first = pending[0]
            first.since = now
            acknowledged = outcome == ACKNOWLEDGED  # the commonest: only counted when it matters
            first.ahead = _NOT_COUNTED if acknowledged else self._ahead_of(first)
        return subscription

    # Only the first unacknowledged message of a stream is sent again. What comes after it waits,
    # perhaps in a queue of the device's own: that uses up no attempts
    # (protocol.md, "PUSH and PUB_ACK: messages").

    def waiting_since(self) -> float | None:
        """When the first message that waits longest was handed out or came to the front."""
        return min((d.since for d in self.outstanding.values() if d.first), default=None)

    def take_due(self, now: float, after_seconds: float) -> list[OutstandingMessage]:
        """The first messages that have waited so long. They are due again after as long."""
        due = [d for d in self.outstanding.values() if d.first and d.since + after_seconds <= now]
        for delivery in due:
            delivery.since = now
        return due

    def progress_before(self, delivery: OutstandingMessage) -> bool:
        """Whether the device works off what it got before `delivery`, so that this may wait.

        It does if something that had been handed out earlier was acknowledged since the last copy.
        One that has come to the front since then has the benefit of the doubt, if others are before
        it.
        """
        ahead = self._ahead_of(delivery)
        return ahead > 0 if delivery.ahead == _NOT_COUNTED else ahead < delivery.ahead

    def _ahead_of(self, delivery: OutstandingMessage) -> int:
        """How many had been handed out before it and were never acknowledged, though given up."""
        ahead = 0
        if self.online is not None:
            ahead = sum(handed <= delivery.handed for _, _, handed in self.online.values())
        for other in self.outstanding.values():
            if other is delivery:
                break
            ahead += other.outcome not in (ACKNOWLEDGED, LATE)
        return ahead

    def again(self, delivery: OutstandingMessage, now: float, *, counts: bool) -> None:
        """Another copy was sent. `counts`: towards `max_deliveries`."""
        delivery.copies_due += 1
        delivery.attempts += counts
        delivery.since = now
        delivery.ahead = self._ahead_of(delivery)

    def tried(self, subscriptions: Iterable[Subscription], now: float) -> list[FailedAttempts]:
        """What is left of each stream, at the end of the session.

        Of a stream in which it did not get to what earlier sessions left, that stays as it is.
        """
        left = []
        for subscription in subscriptions:
            first = subscription.pending[0] if subscription.pending else None
            if first is None:
                if not subscription.failed_offset:
                    left.append(FailedAttempts(subscription.stream, subscription.shard))
                continue
            attempts = 0 if self._ahead_of(first) else first.attempts
            waited_seconds = max(0.0, now - first.since)
            left.append(
                FailedAttempts(
                    subscription.stream, subscription.shard, first.offset, attempts, waited_seconds
                )
            )
        return left

    def forget(self, subscription: Subscription) -> None:
        """The stream is followed no longer: its messages take no room, their numbers stay taken."""
        for delivery in subscription.pending or ():
            self.used -= 1
            self.used_bytes -= delivery.size_bytes
            delivery.outcome = ACKNOWLEDGED
        subscription.pending = None
        subscription.live = False
