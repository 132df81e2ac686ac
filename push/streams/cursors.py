"""Cursors are written in batches: every 50 ms, or 500 at once (architecture, rule 4).

A crash in between delivers again, it never loses. The script that moves a cursor counts in the
ledger what the cursor passes, and answers whether the session still has the device: so a connector
learns that a session was taken over. What was only handed out is written within a second, or with
the acknowledgement if that is earlier.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable
from itertools import islice
from typing import Any, Protocol, TypeVar

import msgspec
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from push.redis.client import RedisClient
from push.redis.connection.errors import StoreUnavailable
from push.redis.scripts import load_script
from push.runtime.ports import Clock
from push.runtime.timers import Debounced
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

log = Logger()
Result = TypeVar("Result")

FLUSH_SECONDS = 0.05
FLUSH_CURSORS = 500
HANDED_SECONDS = 1.0
RETRY_SECONDS = 1.0

_script = load_script("streams", "cursors")
_encode = msgspec.msgpack.Encoder().encode


class CursorOwner(Protocol):
    """The owner of cursors: a device's session."""

    @property
    def token(self) -> str | None: ...

    @property
    def session_id(self) -> str: ...


_Member = tuple[Subscription, CursorOwner]


class CursorWriter:
    """Stores the cursors of a connector's sessions on one server.

    `on_lost(holder)` is called for a session that is not its device's any more.
    """

    def __init__(self, reactor: Clock, server: RedisClient, on_lost: Callable[[Any], None]) -> None:
        self._server = server
        self._on_lost = on_lost
        self._moved: dict[Subscription, CursorOwner] = {}
        self._handed: list[_Member] = []
        self._late: dict[Subscription, list[LateAcknowledgement]] = {}
        self._last: list[_Move] = []  # of streams that are not followed any more
        self._soon = Debounced(reactor, FLUSH_SECONDS, self._start)
        self._handed_soon = Debounced(reactor, HANDED_SECONDS, self._take_handed)
        self._writing: Deferred[bool] | None = None
        # Else what waits leaves when the batch is done, or after the pause of a failure.
        self._may_start = True
        self._is_urgent = False
        self._stopped = False

    def moved(self, holder: CursorOwner, subscription: Subscription) -> None:
        """The cursor of `subscription` moved and is to be stored."""
        moved = self._moved
        if subscription in moved:
            return  # it leaves with the batch that is due: most acknowledgements come in bursts
        if holder.token is None or self._stopped:
            subscription.ended = None  # nothing is kept of a user without a device
            return
        moved[subscription] = holder
        if self._may_start:
            if len(moved) >= FLUSH_CURSORS:
                self._start()
            elif len(moved) == 1:
                self._soon.request()

    def ends(self, holder: CursorOwner, subscription: Subscription) -> None:
        """`subscription` is about to forget what was handed out: all that is known of that is
        stored."""
        is_moved = self._moved.pop(subscription, None) is not None
        is_handed = _has_unreported(subscription)
        # The cursor has not moved past one that is missing.
        is_acknowledged = any(delivery.done for delivery in subscription.pending or ())
        if holder.token is None or self._stopped:
            return
        if is_moved or is_handed or is_acknowledged:
            late = self._late.pop(subscription, [])
            self._last.append(_Move([(subscription, holder)], late, is_last=True))
            if self._may_start:
                self._soon.request()

    @property
    def _waiting(self) -> int:
        """How many cursors are to be stored."""
        return len(self._moved) + len(self._last)

    def write_now(self) -> None:
        """Do not wait for more: a session that begins next must not read what was before."""
        if self._writing is not None:
            self._is_urgent = True
        elif self._waiting and self._may_start:
            self._start()
            self._is_urgent = self._waiting > 0

    def late(self, holder: CursorOwner, late: LateAcknowledgement) -> None:
        """A message that the cursor passed for another reason was acknowledged after all.

        Where the ledger has counters it is written once: if it is not known whether that was
        stored, what was counted before remains.
        """
        if holder.token is not None and not self._stopped:
            subscription = late.delivery.subscription
            self._late.setdefault(subscription, []).append(late)
            self.moved(holder, subscription)

    def handed(self, holder: CursorOwner, subscription: Subscription) -> None:
        """Something was handed out: the ledger gets it, with less hurry."""
        if not subscription.is_to_report and not self._stopped:
            subscription.is_to_report = True
            self._handed.append((subscription, holder))
            self._handed_soon.request()

    def _take_handed(self) -> None:
        """Most of it was acknowledged meanwhile, and is stored with that."""
        handed, self._handed = self._handed, []
        for subscription, holder in handed:
            subscription.is_to_report = False
            if _has_unreported(subscription):
                self.moved(holder, subscription)

    async def flush(self) -> None:
        """Store all that moved so far; returns when it is stored or Redis is unreachable."""
        self._take_handed()
        # First in, first out: so many batches hold all that waits now, whatever comes meanwhile.
        batches = -(-self._waiting // FLUSH_CURSORS) + (self._writing is not None)
        for _ in range(batches):
            if self._writing is None and not self._waiting:
                return
            writing = self._writing or self._start()
            waiter: Deferred[bool] = Deferred()
            writing.addBoth(_pass_on, waiter)
            if not await waiter:
                return

    async def stop(self) -> None:
        await self.flush()
        self._stopped = True
        self._soon.cancel()
        self._handed_soon.cancel()

    def _start(self) -> Deferred[bool]:
        """Write a batch; the result tells whether it was stored."""
        self._soon.cancel()
        batch, self._last = self._last[:FLUSH_CURSORS], self._last[FLUSH_CURSORS:]
        taken = [*islice(self._moved.items(), FLUSH_CURSORS - len(batch))]
        if len(taken) == len(self._moved):
            self._moved = {}
        else:
            for subscription, _ in taken:
                del self._moved[subscription]
        batch += self._moves(taken)
        self._may_start = False
        writing = self._writing = Deferred.fromCoroutine(self._write(batch))
        writing.addErrback(_log_failure)
        writing.addCallback(self._written)
        return writing

    def _moves(self, taken: list[_Member]) -> list[_Move]:
        """Cursors of one stream that have come to the same place by the same messages move
        together."""
        alike: dict[tuple[object, ...], list[_Member]] = {}
        moves = []
        for member in taken:
            subscription = member[0]
            if self._late and subscription in self._late:
                moves.append(_Move([member], self._late.pop(subscription)))
                continue
            ended, pending = subscription.ended, subscription.pending
            key = (
                subscription.stream,
                subscription.cursor,
                subscription.position,
                ended,
                pending and (subscription.reported, pending),
            )
            found = alike.get(key)
            if found is None:
                alike[key] = [member]
            else:
                found.append(member)
        return moves + [_Move(members, []) for members in alike.values()]

    def _written(self, stored: bool) -> bool:
        self._writing = None
        self._may_start = stored
        is_urgent, self._is_urgent = self._is_urgent, False
        if stored and (self._waiting >= FLUSH_CURSORS or (is_urgent and self._waiting)):
            self._start()
        elif self._waiting and not self._stopped:
            self._soon.request(FLUSH_SECONDS if stored else RETRY_SECONDS)
        return stored

    async def _write(self, batch: list[_Move]) -> bool:
        try:
            told = _encode(_arguments(batch))
            lost: list[int] = await self._server.replayed.run(_script, [told, ""], [told, "again"])
        except StoreUnavailable as error:
            log.debug(
                "Cursors kept for later: {reason}", reason=error.reason, event="cursors.postponed"
            )
            self._last += [move for move in batch if move.is_last]
            for move in batch:
                if move.is_last:
                    continue
                again = move.undo()
                for subscription, holder in move.members:
                    if again:
                        self._late[subscription] = again + self._late.get(subscription, [])
                    self._moved.setdefault(subscription, holder)
            return False
        if lost:
            holders = [holder for move in batch for _, holder in move.members]
            for number in lost:
                self._on_lost(holders[number - 1])
        return True


class _Move:
    """Cursors on their way to the store, of `members` that are all alike, with the `messages` that
    they pass or have before them, by offset.

    `late` and `is_last` (the stream is not followed any more, and nothing is known beside what is
    written here) are of one member alone.
    """

    __slots__ = ("cursor", "ended", "is_last", "late", "members", "messages", "position", "stream")

    def __init__(
        self, members: list[_Member], late: list[LateAcknowledgement], *, is_last: bool = False
    ) -> None:
        subscription = members[0][0]
        self.is_last = is_last
        self.members = members
        self.late = late
        self.stream = subscription.stream
        self.cursor = subscription.cursor
        self.position = subscription.position
        self.messages: dict[int, HandedOut | Skipped] = {}
        self.ended: list[HandedOut | Skipped] = []
        left: list[HandedOut | Skipped] = []
        for message in subscription.ended or ():
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
        not_passed = tuple(left) or None  # one for all of them
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
                subscription.ended = ended + (subscription.ended or ())
        return again


def _has_unreported(subscription: Subscription) -> bool:
    """Whether it was handed out something of which the ledger does not know yet."""
    pending = subscription.pending
    return pending is not None and pending[-1].offset > subscription.reported


def _arguments(batch: list[_Move]) -> list[list[Any]]:
    """What cursors.lua takes: the messages, and the moves."""
    passed: dict[str, dict[int, HandedOut | Skipped]] = {}
    for move in batch:
        passed.setdefault(move.stream, {}).update(move.messages)
    told: list[Any] = []
    places: dict[str, tuple[int, list[int]]] = {}
    for stream, messages in passed.items():
        offsets = sorted(messages)
        places[stream] = len(told) // 2, offsets
        for offset in offsets:
            told += (offset, messages[offset].id)
    moves: list[Any] = []
    for move in batch:
        moves += _argument(move, *places[move.stream])
    return [told, moves]


def _argument(move: _Move, before: int, offsets: list[int]) -> list[Any]:
    """Cursors that move alike, among all messages of their stream in this batch, which are at
    `offsets`; so many messages of others are told `before` them.

    What others had and these had not (it was cancelled, say, before it was handed out here) is
    not counted for them.
    """
    own = move.messages
    first, last = 0, len(offsets)
    if len(own) < last:
        first = bisect_left(offsets, min(own)) if own else 0
        last = bisect_right(offsets, max(own)) if own else 0
    exceptions = {}
    for offset in offsets[first:last]:
        message = own.get(offset)
        if message is None:
            exceptions[offset] = (GONE, False)
        elif message.outcome is not None and message.outcome != ACKNOWLEDGED:
            outcome = GONE if message.outcome == LATE else message.outcome
            exceptions[offset] = (outcome, message.written)
    late = [
        (delivery.id, delivery.offset, outcome if outcome == UNACKNOWLEDGED else GONE)
        for delivery, outcome in move.late
    ]
    more = (exceptions, late, move.is_last) if exceptions or late or move.is_last else False
    covered = (before + first + 1, before + last)
    argument: list[Any] = [move.stream, move.cursor, move.position, *covered, more]
    argument.append(len(move.members))
    for _, holder in move.members:
        argument += (holder.token, holder.session_id)
    return argument


def _pass_on(result: Result, waiter: Deferred[Result]) -> Result:
    waiter.callback(result)
    return result


def _log_failure(failure: Failure) -> bool:
    """The batch is given up: its messages come again."""
    log.failure("Cursors could not be written", failure=failure, event="cursors.failed")
    return True
