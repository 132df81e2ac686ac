"""What a session has handed out and not yet had acknowledged, and how far it is in each stream.

The window counts from the cursor: a message takes its place until every earlier one of its stream
is done as well (rule 8), so that a device that acknowledges out of order costs bounded memory.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from push.session.entry import FIRST_PRIVATE_ID, LAST_PRIVATE_ID, Entry, HandedOut
from push.session.events import Progress
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
# Outstanding messages that are looked through for an id: of more there is a dict.
MAX_SEARCHED = 128
_NOT_COUNTED = -1


class Window:
    """The outstanding messages of a session over all its streams.

    Bounded in messages and in bytes of bodies; one message is always let through, however large.
    """

    # Whether what was handed out is acknowledged while the session lasts, and may be waited for.
    acknowledges_here = True

    __slots__ = (
        "_next_id",
        "_only",
        "_taken",
        "bytes_max",
        "messages_max",
        "online",
        "used",
        "used_bytes",
    )

    def __init__(self, messages_max: int, bytes_max: int) -> None:
        self.messages_max = messages_max
        self.bytes_max = bytes_max
        self.used = 0
        self.used_bytes = 0
        # By message id, in the order of hand-out: the stream in whose `pending` it is, or the
        # message itself once there is more to know of it than all sessions share. Nearly always
        # None: then what is outstanding is the `pending` of the stream `_only`, all of it shared.
        self._taken: dict[int, Subscription | OutstandingMessage] | None = None
        self._only: Subscription | None = None
        # Messages that are in no log, as (stream, id, when they were handed out): acknowledged, but
        # never sent again.
        self.online: dict[int, tuple[str, str, float]] | None = None
        self._next_id = FIRST_PRIVATE_ID

    @property
    def outstanding_count(self) -> int:
        return len(self._only_pending() if self._taken is None else self._taken)

    def _only_pending(self) -> Sequence[HandedOut]:
        return () if self._only is None else self._only.pending or ()

    def _by_id(self) -> dict[int, Subscription | OutstandingMessage]:
        """`_taken`, made if need be."""
        if self._taken is None:
            only, pending = self._only, self._only_pending()
            self._taken = {each.message_id: only for each in pending} if only is not None else {}
        return self._taken

    @property
    def outstanding(self) -> dict[int, OutstandingMessage]:
        """By message id, in the order of hand-out."""
        return {id: self._own(id) for id in self._by_id()}

    def find(self, message_id: int) -> OutstandingMessage | None:
        return self._own(message_id) if message_id in self._by_id() else None

    def has_room(self, messages: int, size_bytes: int) -> bool:
        if self.used == 0:
            return messages <= self.messages_max and (messages == 1 or size_bytes <= self.bytes_max)
        fits = self.used + messages <= self.messages_max
        return fits and self.used_bytes + size_bytes <= self.bytes_max

    @property
    def half_free(self) -> bool:
        """Whether a session that fell behind should read on."""
        return self.used * 2 <= self.messages_max and self.used_bytes * 2 <= self.bytes_max

    def next_private_id(self) -> int:
        """A message id of the session's own that no outstanding copy uses; 0 if all are taken."""
        for _ in range(LAST_PRIVATE_ID - FIRST_PRIVATE_ID + 1):
            message_id = self._next_id
            self._next_id = FIRST_PRIVATE_ID if message_id == LAST_PRIVATE_ID else message_id + 1
            if self.is_free(message_id):
                return message_id
        return 0

    def is_free(self, message_id: int) -> bool:
        """Whether no copy that waits for its acknowledgement has this message id."""
        return self.are_free((message_id,))

    def are_free(self, message_ids: Collection[int]) -> bool:
        if self._taken is None and self.used <= MAX_SEARCHED:
            # `used` are the outstanding messages then. Mostly there is none.
            if self.used and any(each.message_id in message_ids for each in self._only_pending()):
                return False
        elif not self._by_id().keys().isdisjoint(message_ids):
            return False
        return self.online is None or self.online.keys().isdisjoint(message_ids)

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
        self.add_all(subscription, (HandedOut(entry, message_id, now),), len(entry.body))
        if attempts > 1:
            self._own(message_id).attempts = attempts

    def add_all(
        self, subscription: Subscription, messages: tuple[HandedOut, ...], size_bytes: int
    ) -> None:
        """`messages` of one stream are handed out together; their bodies have so many bytes."""
        taken, pending, only = self._taken, subscription.pending, self._only
        if taken is None and only is not subscription:
            if only is None or only.pending is None:
                self._only = subscription
            else:
                taken = self._by_id()
        if pending is None:
            subscription.pending = messages
            subscription.front_since = messages[0].handed
            ahead = 0 if taken is None else len(taken)
            subscription.front_ahead = ahead if self.online is None else ahead + len(self.online)
        else:
            subscription.pending = pending + messages
        if taken is not None:
            for message in messages:
                taken[message.message_id] = subscription
        subscription.position = messages[-1].offset
        self.used += len(messages)
        self.used_bytes += size_bytes

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
        subscription.ended += (Skipped(entry.offset, entry.id, outcome),)
        return self.add_done(subscription, entry.offset)

    def add_done(self, subscription: Subscription, offset: int) -> bool:
        """An entry that needs no acknowledgement keeps its place behind those that do.

        True when the cursor moved.
        """
        pending = subscription.pending
        if pending is None:
            return subscription.skip_to(offset)
        # The last delivery stands for it: the cursor passes both together.
        last = pending[-1]
        if not isinstance(last, OutstandingMessage):
            last = self._own(last.message_id)
        last.passes = max(last.passes, offset)
        subscription.position = max(subscription.position, offset)
        return False

    def acknowledge_in_order(self, message_ids: Sequence[int], now: float) -> Progress | None:
        """The commonest of all: each id is that of the first message of one stream, as they
        come. None: it is not so, and nothing was done."""
        taken = self._taken
        subscription = self._only if taken is None else taken.get(message_ids[0])
        if type(subscription) is not Subscription or subscription.pending is None:
            return None
        count, pending = len(message_ids), subscription.pending
        messages = pending[:count]  # all of them are the same tuple
        if count == 1:
            if messages[0].message_id != message_ids[0]:
                return None
        elif [message.message_id for message in messages] != list(message_ids) or not all(
            type(message) is HandedOut for message in messages
        ):
            return None
        if taken is None and messages is pending:
            # Nothing else is outstanding: what `_pass` would do.
            subscription.pending = None
            subscription.cursor = subscription.position
            subscription.ended += pending
            self.used = self.used_bytes = 0
            return Progress(subscription, pending)
        if taken is not None:
            for message_id in message_ids:
                self._release(message_id)
        self._pass(subscription, count, now, ACKNOWLEDGED)
        return Progress(subscription, messages)

    def acknowledge(self, message_id: int, now: float) -> Subscription | LateAcknowledgement | None:
        """One copy of message `message_id` was acknowledged: the stream whose cursor moved, or
        None.

        A late delivery: the cursor has passed it, for it was gone or given up.
        """
        delivery = self.find(message_id)
        if delivery is None:
            return None
        delivery.copies_due -= 1
        if delivery.copies_due <= 0:
            self._release(message_id)
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
        """The message is done: the stream whose cursor moved, or None."""
        delivery.outcome = outcome
        if not delivery.first:
            return None
        self._pass(delivery.subscription, 1, now, outcome)
        return delivery.subscription

    def _pass(self, subscription: Subscription, count: int, now: float, outcome: str) -> None:
        """The cursor passes the first `count` messages, which are done, and those after them that
        are. The message that now is the first begins to wait for its next copy."""
        pending = subscription.pending
        assert pending is not None
        while count < len(pending) and pending[count].outcome is not None:
            count += 1
        passed = pending[:count]
        last = passed[-1]
        subscription.cursor = last.passes if isinstance(last, OutstandingMessage) else last.offset
        subscription.ended += passed
        self.used -= count
        for message in passed:
            self.used_bytes -= message.size_bytes
        if passed is pending:
            subscription.pending = None
            if subscription.position > subscription.cursor:
                subscription.cursor = subscription.position
        else:
            subscription.pending = pending = pending[count:]
            subscription.front_since = now
            acknowledged = outcome == ACKNOWLEDGED  # the commonest: only counted when it matters
            subscription.front_ahead = _NOT_COUNTED if acknowledged else self._ahead_of(pending[0])

    def _own(self, message_id: int) -> OutstandingMessage:
        """An outstanding message as this session's own: nothing that changes may be shared."""
        taken = self._by_id()
        found = taken[message_id]
        if isinstance(found, OutstandingMessage):
            return found
        pending = found.pending or ()
        shared = [type(each) is HandedOut and each.message_id == message_id for each in pending]
        place = shared.index(True)
        delivery = OutstandingMessage(found, pending[place])
        found.pending = (*pending[:place], delivery, *pending[place + 1 :])
        taken[message_id] = delivery
        return delivery

    def _release(self, message_id: int) -> None:
        taken = self._by_id()
        del taken[message_id]
        if not taken:
            self._taken = self._only = None

    def _fronts(self) -> list[Subscription]:
        """The streams with messages that wait, in the order of the first hand-out."""
        if self._taken is None:
            return [self._only] if self._only is not None and self._only.pending else []
        streams = {
            each if isinstance(each, Subscription) else each.subscription: None
            for each in self._by_id().values()
        }
        return [subscription for subscription in streams if subscription.pending]

    # Only the first unacknowledged message of a stream is sent again. What comes after it waits,
    # perhaps in a queue of the device's own: that uses up no attempts
    # (protocol.md, "PUSH and PUB_ACK: messages").

    def waiting_since(self) -> float | None:
        """When the first message that waits longest was handed out or came to the front."""
        return min((each.front_since for each in self._fronts()), default=None)

    def take_due(self, now: float, after_seconds: float) -> list[OutstandingMessage]:
        """The first messages that have waited so long. They are due again after as long."""
        due = [each for each in self._fronts() if each.front_since + after_seconds <= now]
        for subscription in due:
            subscription.front_since = now
        return [self._own(each.pending[0].message_id) for each in due if each.pending]

    def unfinished(self, subscription: Subscription) -> list[OutstandingMessage]:
        """The messages of a stream that are not done, in order."""
        message_ids = [each.message_id for each in subscription.pending or () if not each.done]
        return [self._own(each) for each in message_ids]

    def progress_before(self, delivery: OutstandingMessage) -> bool:
        """Whether the device works off what it got before `delivery`, so that this may wait.

        It does if something that had been handed out earlier was acknowledged since the last copy.
        One that has come to the front since then has the benefit of the doubt, if others are before
        it.
        """
        ahead, before = self._ahead_of(delivery), delivery.subscription.front_ahead
        return ahead > 0 if before == _NOT_COUNTED else ahead < before

    def _ahead_of(self, message: HandedOut) -> int:
        """How many had been handed out before it and were never acknowledged, though given up."""
        ahead = 0
        if self.online is not None:
            ahead = sum(handed <= message.handed for _, _, handed in self.online.values())
        for message_id, other in self._by_id().items():
            if message_id == message.message_id:
                break
            ahead += isinstance(other, Subscription) or other.outcome not in (ACKNOWLEDGED, LATE)
        return ahead

    def redeliver(self, delivery: OutstandingMessage, now: float, *, counts: bool) -> None:
        """Another copy was sent. `counts`: towards `max_deliveries`."""
        delivery.copies_due += 1
        delivery.attempts += counts
        delivery.subscription.front_since = now
        delivery.subscription.front_ahead = self._ahead_of(delivery)

    def failed_attempts(
        self, subscriptions: Iterable[Subscription], now: float
    ) -> list[FailedAttempts]:
        """What is left of each stream at the end of the session. Of a stream in which it did not
        get to what earlier sessions left, that stays as it is."""
        left = []
        for subscription in subscriptions:
            first = subscription.pending[0] if subscription.pending else None
            if first is None:
                if not subscription.failed_offset:
                    left.append(FailedAttempts(subscription.stream, subscription.shard))
                continue
            attempts = 0 if self._ahead_of(first) else first.attempts
            waited_seconds = max(0.0, now - subscription.front_since)
            left.append(
                FailedAttempts(
                    subscription.stream, subscription.shard, first.offset, attempts, waited_seconds
                )
            )
        return left

    def forget(self, subscription: Subscription) -> None:
        """The stream is followed no longer: its messages take no room, their ids stay taken."""
        for message in subscription.pending or ():
            self.used -= 1
            self.used_bytes -= message.size_bytes
        for delivery in self.unfinished(subscription):
            delivery.outcome = ACKNOWLEDGED
        subscription.pending = None
        subscription.live = False
