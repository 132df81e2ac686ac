"""What a session has handed out and not yet had acknowledged, and how far it is in each stream.

The window counts from the cursor: a message takes its place until every earlier one of its stream
is done as well (rule 8), so that a device that acknowledges out of order costs bounded memory.
"""

from __future__ import annotations

from push.session.entry import FIRST_OWN_NUMBER, LAST_OWN_NUMBER, Entry


class Delivery:
    """One message of one session between hand-out and the cursor's passing it.

    `passes` is where the cursor comes to when it passes this: `offset`, or behind it if entries
    that need no acknowledgement follow.
    """

    __slots__ = (
        "attempts",
        "copies_due",
        "done",
        "due",
        "follow",
        "number",
        "offset",
        "passes",
        "size_bytes",
    )

    def __init__(
        self, follow: Follow, offset: int, size_bytes: int, number: int, due: float, attempts: int
    ) -> None:
        self.follow = follow
        self.offset = offset
        self.passes = offset
        self.size_bytes = size_bytes
        self.number = number
        self.due = due
        self.attempts = attempts
        self.copies_due = 1
        self.done = False


class Follow:
    """A session's place in one stream.

    `position`: the last offset handed out. `cursor`: up to here all is done. `live`: what comes on
    the channel may be handed out; otherwise the session reads on from the log, but only once the
    channel is `heard`: what is published between a read and the subscription would be missed.
    `tried_offset`, `tried`: a message that earlier connections handed out in vain, and how often.
    """

    __slots__ = (
        "cursor",
        "heard",
        "live",
        "pending",
        "position",
        "stream",
        "tried",
        "tried_offset",
    )

    def __init__(self, stream: str, position: int) -> None:
        self.stream = stream
        self.position = position
        self.cursor = position
        self.live = False
        self.heard = False
        self.pending: list[Delivery] | None = None
        self.tried_offset = 0
        self.tried = 0

    def skip_to(self, offset: int) -> bool:
        """Everything up to `offset` needs no acknowledgement. True when the cursor moved."""
        self.position = max(self.position, offset)
        if self.pending is None and self.position > self.cursor:
            self.cursor = self.position
            return True
        return False


class Window:
    """The outstanding messages of a session over all its streams.

    Bounded in messages and in bytes of bodies; one message is always let through, however large.
    """

    __slots__ = ("_next_own", "bytes_max", "messages_max", "outstanding", "used", "used_bytes")

    def __init__(self, messages_max: int, bytes_max: int) -> None:
        self.messages_max = messages_max
        self.bytes_max = bytes_max
        self.used = 0
        self.used_bytes = 0
        # By message id, in the order of the next redelivery.
        self.outstanding: dict[int, Delivery] = {}
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
            if number not in self.outstanding:
                return number
        return 0

    def add(self, follow: Follow, entry: Entry, number: int, due: float, attempts: int = 1) -> None:
        """`entry` is handed out under `number`; it comes again at `due` if not acknowledged.

        `attempts` counts this copy and those of earlier connections.
        """
        size_bytes = len(entry.body)
        delivery = Delivery(follow, entry.offset, size_bytes, number, due, attempts)
        self.outstanding[number] = delivery
        if follow.pending is None:
            follow.pending = [delivery]
        else:
            follow.pending.append(delivery)
        follow.position = entry.offset
        self.used += 1
        self.used_bytes += size_bytes

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

    def acknowledge(self, number: int) -> Follow | None:
        """One copy of message `number` was acknowledged: the stream whose cursor moved, or None."""
        delivery = self.outstanding.get(number)
        if delivery is None:
            return None
        delivery.copies_due -= 1
        if delivery.copies_due <= 0:
            del self.outstanding[number]
        if delivery.done:
            return None
        return self.finish(delivery)

    def finish(self, delivery: Delivery) -> Follow | None:
        """The message is done, acknowledged or given up: the stream whose cursor moved, or None."""
        delivery.done = True
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
