"""Cursors that move, as `cursors.lua` takes them: those that move alike are told together."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from typing import Any, Protocol

import msgspec

from push.session.entry import HandedOut
from push.session.subscription import (
    ACKNOWLEDGED,
    GONE,
    LATE,
    TOO_LARGE,
    UNACKNOWLEDGED,
    LateAcknowledgement,
    Skipped,
    Subscription,
)
from push.streams.ledger import is_listed

# Of moves that go together, one at least: each message of each move costs time, here and in Redis,
# which does nothing else meanwhile.
MOST_MESSAGES = 500

_encode = msgspec.msgpack.Encoder().encode


class CursorHolder(Protocol):
    """The owner of cursors: a device's session."""

    @property
    def token(self) -> str | None: ...

    @property
    def session_id(self) -> str: ...


Member = tuple[Subscription, CursorHolder]


class Move:
    """Cursors on their way to the store, of `members` that are all alike, with the `messages` that
    they pass or have before them, by offset.

    `late` and `is_last` (the stream is not followed any more, and nothing is known beside what is
    written here) are of one member alone.
    """

    __slots__ = ("cursor", "ended", "is_last", "late", "members", "messages", "position", "stream")

    def __init__(
        self,
        members: list[Member],
        late: list[LateAcknowledgement] | None = None,
        *,
        is_last: bool = False,
    ) -> None:
        subscription = members[0][0]
        self.is_last = is_last
        self.members = members
        self.late = late or []
        self.stream = subscription.stream
        self.cursor = subscription.cursor
        self.position = subscription.position
        self.messages: dict[int, HandedOut | Skipped] = {}
        self.ended: list[HandedOut | Skipped] = []
        left: list[HandedOut | Skipped] = []
        for message in subscription.ended:
            # The last move writes all that is known.
            if is_last or message.offset <= self.cursor:
                self.messages[message.offset] = message
                self.ended.append(message)
                continue
            left.append(message)
            if message.outcome == TOO_LARGE:
                # Another session of the device may get it yet. All up to the position counts as
                # written; what comes after this is written when the cursor has passed it.
                self.position = min(self.position, message.offset - 1)
        for delivery in subscription.pending or ():
            offset = delivery.offset
            if is_last:  # the window is about to forget them
                outcome = delivery.outcome or GONE
                self.messages[offset] = Skipped(offset, delivery.id, outcome, written=True)
            elif offset > subscription.reported:
                self.messages[offset] = delivery
        not_passed = tuple(left)  # one for all of them
        for subscription, _ in members:
            subscription.ended = not_passed
            if subscription.reported < self.position:
                subscription.reported = self.position

    def undo(self) -> list[LateAcknowledgement]:
        """It was not stored, or nobody knows: the same messages go with the next one.

        Returns the late acknowledgements that may be written again: a line cannot be counted twice.
        Of the others, those that were on their way with this cursor are as if they had not come.
        """
        again, given_up = self.late, {}
        if not is_listed(self.stream):
            again, given_up = [], {id(delivery): outcome for delivery, outcome in self.late}
        ended: tuple[HandedOut | Skipped, ...] = tuple(
            [
                Skipped(message.offset, message.id, given_up[id(message)], written=True)
                if id(message) in given_up
                else message
                for message in self.ended
            ]
        )
        for subscription, _ in self.members:
            if self.messages:
                subscription.reported = min(subscription.reported, min(self.messages) - 1)
            if ended:
                subscription.ended = ended + subscription.ended
        return again


def moves_of(
    taken: Iterable[Member], late: dict[Subscription, list[LateAcknowledgement]], most_messages: int
) -> tuple[list[Move], int]:
    """Cursors of one stream that have come to the same place by the same messages move together.
    `late`, by subscription, goes with them, and is removed from there. The first of `taken`, as
    many as have about `most_messages`; and how many these are."""
    alike: dict[tuple[object, ...], list[Member]] = {}
    moves: list[Move] = []
    count = messages = 0
    for member in taken:
        subscription = member[0]
        ended, pending = subscription.ended, subscription.pending
        key = (
            subscription.stream,
            subscription.cursor,
            subscription.position,
            ended,
            pending and (subscription.reported, pending),
        )
        is_late = bool(late) and subscription in late
        found = None if is_late else alike.get(key)
        if found is not None:
            found.append(member)
        else:
            messages += len(ended) + len(pending or ())
            if count and messages > most_messages:
                break
            if is_late:
                moves.append(Move([member], late.pop(subscription)))
            else:
                alike[key] = [member]
        count += 1
    return moves + [Move(members) for members in alike.values()], count


def encoded(batch: list[Move]) -> bytes:
    """What cursors.lua takes: the messages of each stream, by offset; then the moves, each of
    which names the part of these that it covers."""
    passed: dict[str, dict[int, HandedOut | Skipped]] = {}
    for move in batch:
        passed.setdefault(move.stream, {}).update(move.messages)
    messages: list[Any] = []
    places: dict[str, tuple[int, list[int]]] = {}
    for stream, own in passed.items():
        offsets = sorted(own)
        places[stream] = len(messages) // 2, offsets
        for offset in offsets:
            messages += (offset, own[offset].id)
    moves: list[Any] = []
    for move in batch:
        (before, offsets), own = places[move.stream], move.messages
        first, last = 0, len(offsets)
        if len(own) < last:
            first = bisect_left(offsets, min(own)) if own else 0
            last = bisect_right(offsets, max(own)) if own else 0
        exceptions = _exceptions(own, offsets[first:last])
        late = [
            (delivery.id, delivery.offset, outcome if outcome == UNACKNOWLEDGED else GONE)
            for delivery, outcome in move.late
        ]
        more = (exceptions, late, move.is_last) if exceptions or late or move.is_last else False
        moves += (move.stream, move.cursor, move.position)
        moves += (before + first + 1, before + last, more, len(move.members))
        for _, holder in move.members:
            moves += (holder.token, holder.session_id)
    return _encode([messages, moves])


def _exceptions(
    own: dict[int, HandedOut | Skipped], offsets: list[int]
) -> dict[int, tuple[str, bool]]:
    """Which of the messages at `offsets` were not acknowledged, each as (code, written).

    What others had and these had not (it was cancelled, say, before it was handed out here) is
    not counted for them.
    """
    exceptions = {}
    for offset in offsets:
        message = own.get(offset)
        if message is None:
            exceptions[offset] = (GONE, False)
        elif message.outcome is not None and message.outcome != ACKNOWLEDGED:
            outcome = GONE if message.outcome == LATE else message.outcome
            exceptions[offset] = (outcome, message.written)
    return exceptions
