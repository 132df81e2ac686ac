"""A session's place in one stream, and its messages that are not acknowledged yet."""

from __future__ import annotations

from typing import NamedTuple

from push.session.entry import Entry

# How a message ended for a session; the ledger counts by these (`GONE` counts as nothing: who took
# it out of the log has counted it).
ACKNOWLEDGED = "a"
EXPIRED = "e"
TOO_LARGE = "d:too_large"
UNACKNOWLEDGED = "d:unacknowledged"
GONE = ""
LATE = "late"  # acknowledged after it had ended otherwise; counted on its own


class OutstandingMessage:
    """One message of one session between hand-out and the cursor's passing it.

    `passes` is where the cursor comes to when it passes this: `offset`, or past it if entries
    that need no acknowledgement follow. `outcome` says how it ended, None until then. `attempts`
    are the copies that count towards `max_deliveries`, `copies_due` those whose acknowledgement is
    still to come. It was first `handed` out at that time. Of the first unacknowledged message of a
    stream, `since` is when it was last sent or came to the front, and `ahead` how many messages
    that had been handed out before it were unacknowledged when its last copy left.
    """

    __slots__ = (
        "ahead",
        "attempts",
        "copies_due",
        "handed",
        "id",
        "message_id",
        "offset",
        "outcome",
        "passes",
        "since",
        "size_bytes",
        "subscription",
    )
    written = True

    def __init__(
        self,
        subscription: Subscription,
        entry: Entry,
        message_id: int,
        now: float,
        attempts: int,
        ahead: int,
    ) -> None:
        self.subscription = subscription
        self.id = entry.id
        self.offset = entry.offset
        self.passes = entry.offset
        self.size_bytes = len(entry.body)
        self.message_id = message_id
        self.handed = now
        self.since = now
        self.attempts = attempts
        self.ahead = ahead
        self.copies_due = 1
        self.outcome: str | None = None

    @property
    def done(self) -> bool:
        return self.outcome is not None

    @property
    def first(self) -> bool:
        """Whether it is the first unacknowledged message of its stream."""
        pending = self.subscription.pending
        return pending is not None and pending[0] is self


class FailedAttempts(NamedTuple):
    """What a session that ends leaves of a stream: its first unacknowledged message, and how many
    copies of it count.

    `offset` 0: there is none. `attempts` 0: others had been handed out before it and were not
    acknowledged, so it only waited, and what earlier sessions left holds. `waited_seconds` since it
    was last sent or came to the front.
    """

    stream: str
    shard: int
    offset: int = 0
    attempts: int = 0
    waited_seconds: float = 0.0


class LateAcknowledgement(NamedTuple):
    """A message was acknowledged after it had ended otherwise: with `outcome`."""

    delivery: OutstandingMessage
    outcome: str


class Skipped(NamedTuple):
    """A message that a session did not get, and why."""

    offset: int
    id: str
    outcome: str
    written: bool = False


class Subscription:
    """A session's place in one stream.

    It `start_offset` at an offset. `position`: the last offset handed out. `cursor`: up to here
    all is
    done. `live`: what comes on the channel may be handed out; otherwise the session reads on from
    the log, but only once the channel is `heard`: what is published between a read and the
    subscription would be missed.
    `failed_offset`, `failed_attempts`: the first message that an earlier connection left
    unacknowledged, and how many copies of it count that far.
    `ended`: messages that ended and are not yet in the ledger; up to `reported` those that were
    handed out are. `shard`: the number of the server that has the stream for this session.
    """

    __slots__ = (
        "cursor",
        "ended",
        "failed_attempts",
        "failed_offset",
        "heard",
        "live",
        "pending",
        "position",
        "reported",
        "shard",
        "start_offset",
        "stream",
    )

    def __init__(self, stream: str, position: int, shard: int = 0) -> None:
        self.stream = stream
        self.shard = shard
        self.start_offset = position
        self.position = position
        self.cursor = position
        self.live = False
        self.heard = False
        self.reported = position
        self.pending: list[OutstandingMessage] | None = None
        self.ended: list[OutstandingMessage | Skipped] | None = None
        self.failed_offset = 0
        self.failed_attempts = 0

    def skip_to(self, offset: int) -> bool:
        """Everything up to `offset` needs no acknowledgement. True when the cursor moved."""
        self.position = max(self.position, offset)
        if self.pending is None and self.position > self.cursor:
            self.cursor = self.position
            return True
        return False

    def end(self, message: OutstandingMessage | Skipped) -> None:
        """A message has its outcome: for the ledger."""
        if self.ended is None:
            self.ended = [message]
        else:
            self.ended.append(message)
