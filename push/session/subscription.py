"""A session's place in one stream, and its messages that are not acknowledged yet."""

from __future__ import annotations

from typing import NamedTuple

from push.session.entry import HandedOut

# How a message ended for a session; the ledger counts by these (`GONE` counts as nothing: who took
# it out of the log has counted it).
ACKNOWLEDGED = "a"
EXPIRED = "e"
TOO_LARGE = "d:too_large"
UNACKNOWLEDGED = "d:unacknowledged"
GONE = ""
LATE = "late"  # acknowledged after it had ended otherwise; counted on its own


class OutstandingMessage(HandedOut):
    """One message of one session, of which there is more to know.

    `passes` is where the cursor comes to when it passes this: `offset`, or past it if entries that
    need no acknowledgement follow. `outcome` says how it ended, None until then. `attempts` are
    the copies that count towards `max_deliveries`, `copies_due` those whose acknowledgement is
    still to come.
    """

    __slots__ = ("attempts", "copies_due", "outcome", "passes", "subscription")

    def __init__(self, subscription: Subscription, message: HandedOut, attempts: int = 1) -> None:
        self.id = message.id
        self.offset = message.offset
        self.size_bytes = message.size_bytes
        self.message_id = message.message_id
        self.handed = message.handed
        self.subscription = subscription
        self.passes = message.offset
        self.attempts = attempts
        self.copies_due = 1
        self.outcome = None

    @property
    def first(self) -> bool:
        """Whether it is the first unacknowledged message of its stream."""
        pending = self.subscription.pending
        return pending is not None and pending[0] is self

    @property
    def since(self) -> float:
        """When it was last sent or came to the front."""
        return self.subscription.front_since if self.first else self.handed


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

    Offsets:

    * `start_offset`: where it begins; messages up to there were dealt with before it.
    * `position`: the last one that was handed out, or passed over.
    * `cursor`: everything up to here has its outcome.
    * `reported`: in the ledger is everything up to here that was handed out.
    * `failed_offset`: the first message that an earlier connection left unacknowledged; of it
      `failed_attempts` copies count.

    `live`: what comes on the channel may be handed out. Otherwise the session reads on from the
    log, but only once the channel is `subscribed`: otherwise it would miss what is published
    between the read and the subscription.

    Messages, as tuples that are mostly the same ones for all sessions:

    * `pending`: what the cursor has not passed; None for nothing. The first of them was last sent,
      or came to the front, at `front_since` (monotonic seconds); when its last copy left,
      `front_ahead` messages that had been handed out before it were unacknowledged.
    * `ended`: what has its outcome and is not in the ledger yet. `is_to_report`: a note says that
      there is more.

    `shard`: the number of the server that has the stream for this session.
    """

    __slots__ = (
        "cursor",
        "ended",
        "failed_attempts",
        "failed_offset",
        "front_ahead",
        "front_since",
        "is_to_report",
        "live",
        "pending",
        "position",
        "reported",
        "shard",
        "start_offset",
        "stream",
        "subscribed",
    )

    def __init__(self, stream: str, position: int, shard: int = 0) -> None:
        self.stream = stream
        self.shard = shard
        self.start_offset = position
        self.position = position
        self.cursor = position
        self.live = False
        self.subscribed = False
        self.reported = position
        self.is_to_report = False
        self.pending: tuple[HandedOut, ...] | None = None
        self.front_since = 0.0
        self.front_ahead = 0
        self.ended: tuple[HandedOut | Skipped, ...] = ()
        self.failed_offset = 0
        self.failed_attempts = 0

    def skip_to(self, offset: int) -> bool:
        """Everything up to `offset` needs no acknowledgement. True when the cursor moved."""
        self.position = max(self.position, offset)
        if self.pending is None and self.position > self.cursor:
            self.cursor = self.position
            return True
        return False
