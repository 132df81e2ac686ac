"""What a session has handed out and not yet had acknowledged, and how far it is in each stream.

The window counts from the cursor: a message takes its place until every earlier one of its stream
is done as well (rule 8), so that a device that acknowledges out of order costs bounded memory.
"""

from __future__ import annotations

from typing import NamedTuple

from push.session.entry import FIRST_OWN_NUMBER, LAST_OWN_NUMBER, Entry

# How a message ended for a session; the ledger counts by these (`GONE` counts as nothing: who took
# it out of the log has counted it).
ACKNOWLEDGED = "a"
EXPIRED = "e"
TOO_LARGE = "d:too_large"
UNACKNOWLEDGED = "d:unacknowledged"
GONE = ""
LATE = "late"  # acknowledged after it was gone, and told of by itself

MAX_ONLINE_UNACKNOWLEDGED = 256


class Delivery:
    """One message of one session between hand-out and the cursor's passing it.

    `passes` is where the cursor comes to when it passes this: `offset`, or behind it if entries
    that need no acknowledgement follow. `outcome` says how it ended, once `done`.
    """

    __slots__ = (
        "attempts",
        "copies_due",
        "done",
        "due",
        "follow",
        "id",
        "number",
        "offset",
        "outcome",
        "passes",
        "size_bytes",
    )
    written = True

    def __init__(
        self, follow: Follow, entry: Entry, size_bytes: int, number: int, due: float, attempts: int
    ) -> None:
        self.follow = follow
        self.id = entry.id
        self.offset = entry.offset
        self.passes = entry.offset
        self.size_bytes = size_bytes
        self.number = number
        self.due = due
        self.attempts = attempts
        self.copies_due = 1
        self.done = False
        self.outcome = ACKNOWLEDGED


class Skipped(NamedTuple):
    """A message that a session did not get, and why."""

    offset: int
    id: str
    outcome: str
    written: bool = False


class Follow:
    """A session's place in one stream.

    It `began` at an offset. `position`: the last offset handed out. `cursor`: up to here all is
    done. `live`: what comes on the channel may be handed out; otherwise the session reads on from
    the log, but only once the channel is `heard`: what is published between a read and the
    subscription would be missed.
    `tried_offset`, `tried`: a message that earlier connections handed out in vain, and how often.
    `ended`: messages that ended and are not yet in the ledger; up to `reported` those that were
    handed out are. `shard`: the number of the server that has the stream for this session.
    """

    __slots__ = (
        "began",
        "cursor",
        "ended",
        "heard",
        "live",
        "pending",
        "position",
        "reported",
        "shard",
        "stream",
        "tried",
        "tried_offset",
    )

    def __init__(self, stream: str, position: int, shard: int = 0) -> None:
        self.stream = stream
        self.shard = shard
        self.began = position
        self.position = position
        self.cursor = position
        self.live = False
        self.heard = False
        self.reported = position
        self.pending: list[Delivery] | None = None
        self.ended: list[Delivery | Skipped] | None = None
        self.tried_offset = 0
        self.tried = 0

    def skip_to(self, offset: int) -> bool:
        """Everything up to `offset` needs no acknowledgement. True when the cursor moved."""
        self.position = max(self.position, offset)
        if self.pending is None and self.position > self.cursor:
            self.cursor = self.position
            return True
        return False

    def end(self, message: Delivery | Skipped) -> None:
        """A message has its outcome: for the ledger."""
        if self.ended is None:
            self.ended = [message]
        else:
            self.ended.append(message)


class Window:
    """The outstanding messages of a session over all its streams.

    Bounded in messages and in bytes of bodies; one message is always let through, however large.
    """

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
        # By message id, in the order of the next redelivery.
        self.outstanding: dict[int, Delivery] = {}
        # Messages that are in no log, as (stream, id): acknowledged, but never sent again.
        self.online: dict[int, tuple[str, str]] | None = None
        self._next_own = FIRST_OWN_NUMBER

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

    def own_number(self) -> int:
        """A message id of the session's own that no outstanding copy uses; 0 if all are taken."""
        for _ in range(LAST_OWN_NUMBER - FIRST_OWN_NUMBER + 1):
            number = self._next_own
            self._next_own = FIRST_OWN_NUMBER if number == LAST_OWN_NUMBER else number + 1
            if self.is_free(number):
                return number
        return 0

    def is_free(self, number: int) -> bool:
        """Whether no copy that waits for its acknowledgement has this message id."""
        return number not in self.outstanding and (self.online is None or number not in self.online)

    def are_free(self, numbers: frozenset[int]) -> bool:
        return self.outstanding.keys().isdisjoint(numbers) and (
            self.online is None or self.online.keys().isdisjoint(numbers)
        )

    def add(self, follow: Follow, entry: Entry, number: int, due: float, attempts: int = 1) -> None:
        """`entry` is handed out under `number`; it comes again at `due` if not acknowledged.

        `attempts` counts this copy and those of earlier connections.
        """
        size_bytes = len(entry.body)
        delivery = Delivery(follow, entry, size_bytes, number, due, attempts)
        self.outstanding[number] = delivery
        if follow.pending is None:
            follow.pending = [delivery]
        else:
            follow.pending.append(delivery)
        follow.position = entry.offset
        self.used += 1
        self.used_bytes += size_bytes

    def add_online(self, follow: Follow, entry: Entry, number: int) -> bool:
        """A message that is in no log is handed out; False when too many are unacknowledged."""
        if self.online is None:
            self.online = {}
        elif len(self.online) >= MAX_ONLINE_UNACKNOWLEDGED:
            return False
        self.online[number] = (follow.stream, entry.id)
        return True

    def acknowledge_online(self, number: int) -> tuple[str, str] | None:
        """Stream and id of the message in no log that was acknowledged, if it was one."""
        if self.online is None:
            return None
        found = self.online.pop(number, None)
        if not self.online:
            self.online = None
        return found

    def skip(self, follow: Follow, entry: Entry, outcome: str) -> bool:
        """The session does not get a message. True when the cursor moved."""
        follow.end(Skipped(entry.offset, entry.id, outcome))
        return self.add_done(follow, entry.offset)

    def add_done(self, follow: Follow, offset: int) -> bool:
        """An entry that needs no acknowledgement keeps its place behind those that do.

        True when the cursor moved.
        """
        pending = follow.pending
        if pending is None:
            return follow.skip_to(offset)
        # The last delivery stands for it: the cursor passes both together.
        pending[-1].passes = max(pending[-1].passes, offset)
        follow.position = max(follow.position, offset)
        return False

    def acknowledge(self, number: int) -> Follow | Delivery | None:
        """One copy of message `number` was acknowledged: the stream whose cursor moved, or None.

        A delivery: it was gone when it was to be sent again, and the cursor has passed it.
        """
        delivery = self.outstanding.get(number)
        if delivery is None:
            return None
        delivery.copies_due -= 1
        if delivery.copies_due <= 0:
            del self.outstanding[number]
        if delivery.done:
            return self._acknowledge_late(delivery)
        return self.finish(delivery)

    def _acknowledge_late(self, delivery: Delivery) -> Delivery | None:
        """It was taken out of the log, or expired, but the device had it all the same."""
        if delivery.outcome not in (GONE, EXPIRED):
            return None
        if delivery in (delivery.follow.pending or ()):
            delivery.outcome = ACKNOWLEDGED  # the cursor tells of it when it passes
            return None
        delivery.outcome = LATE
        return delivery

    def finish(self, delivery: Delivery, outcome: str = ACKNOWLEDGED) -> Follow | None:
        """The message is done: the stream whose cursor moved, or None."""
        delivery.done = True
        delivery.outcome = outcome
        follow = delivery.follow
        pending = follow.pending
        if pending is None or pending[0] is not delivery:
            return None
        count = 0
        for item in pending:
            if not item.done:
                break
            count += 1
            follow.cursor = item.passes
            follow.end(item)
            self.used -= 1
            self.used_bytes -= item.size_bytes
        if count == len(pending):
            follow.pending = None
            if follow.position > follow.cursor:
                follow.cursor = follow.position
        else:
            del pending[:count]
        return follow

    def again(self, delivery: Delivery, due: float) -> None:
        """Another copy was sent; the next is due at `due`."""
        delivery.copies_due += 1
        delivery.attempts += 1
        delivery.due = due
        del self.outstanding[delivery.number]
        self.outstanding[delivery.number] = delivery

    def postpone(self, delivery: Delivery, due: float) -> None:
        """The message was done or is being looked up: it is looked at again at `due`."""
        delivery.due = due
        del self.outstanding[delivery.number]
        self.outstanding[delivery.number] = delivery

    def next_due(self) -> float | None:
        for delivery in self.outstanding.values():
            return delivery.due
        return None

    def forget(self, follow: Follow) -> None:
        """The stream is followed no longer: its messages take no room, their numbers stay taken."""
        for delivery in follow.pending or ():
            self.used -= 1
            self.used_bytes -= delivery.size_bytes
            delivery.done = True
        follow.pending = None
        follow.live = False
