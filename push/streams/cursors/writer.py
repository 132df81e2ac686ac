"""Cursors are written in batches: every 50 ms, or 500 at once (architecture, rule 4).

A crash in between delivers again, it never loses. The script that moves a cursor counts in the
ledger what the cursor passes, and answers whether the session still has the device: so a connector
learns that a session was taken over. What was only handed out is written within a second, or with
the acknowledgement if that is earlier.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Any

from twisted.logger import Logger
from twisted.python.failure import Failure

from push.redis.client import RedisClient
from push.redis.connection.errors import StoreUnavailable
from push.redis.scripts import load_script
from push.runtime.ports import Clock
from push.runtime.timers import Debounced, SingleFlight
from push.session.subscription import LateAcknowledgement, Subscription
from push.streams.cursors.moves import (
    MOST_MESSAGES,
    CursorHolder,
    Member,
    Move,
    encoded,
    moves_of,
)

log = Logger()

FLUSH_SECONDS = 0.05
FLUSH_CURSORS = 500
HANDED_SECONDS = 1.0
RETRY_SECONDS = 1.0

_script = load_script("streams", "cursors")


class CursorWriter:
    """Stores the cursors of a connector's sessions on one server.

    `on_lost(holder)` is called for a session that is not its device's any more.
    """

    def __init__(self, reactor: Clock, server: RedisClient, on_lost: Callable[[Any], None]) -> None:
        self._server = server
        self._on_lost = on_lost
        self._moved: dict[Subscription, CursorHolder] = {}
        self._handed: list[Member] = []
        self._late: dict[Subscription, list[LateAcknowledgement]] = {}
        self._last: list[Move] = []  # of streams that are not followed any more
        self._batches = SingleFlight(self._write, _log_failure)
        self._soon = Debounced(reactor, FLUSH_SECONDS, self._batches.request)
        self._handed_soon = Debounced(reactor, HANDED_SECONDS, self._take_handed)
        # Else what waits leaves when the batch is done, or after the pause of a failure.
        self._may_start = True
        self._is_urgent = False
        self._taken = 0  # so many cursors were, since the start
        self._has_more = False  # waits than is written at once, by its messages
        self._stopped = False

    def moved(self, holder: CursorHolder, subscription: Subscription) -> None:
        """The cursor of `subscription` moved and is to be stored: `_batches` calls `_write`."""
        moved = self._moved
        if subscription in moved:
            return  # it leaves with the batch that is due: most acknowledgements come in bursts
        if holder.token is None or self._stopped:
            subscription.ended = ()  # nothing is kept of a user without a device
            return
        moved[subscription] = holder
        if self._may_start:
            if len(moved) >= FLUSH_CURSORS:
                self._batches.request()
            elif len(moved) == 1:
                self._soon.request()

    def ends(self, holder: CursorHolder, subscription: Subscription) -> None:
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
            self._last.append(Move([(subscription, holder)], late, is_last=True))
            if self._may_start:
                self._soon.request()

    @property
    def _waiting(self) -> int:
        """How many cursors are to be stored."""
        return len(self._moved) + len(self._last)

    def write_now(self) -> None:
        """Do not wait for more: a session that begins next must not read what was before."""
        if self._batches.is_running:
            self._is_urgent = True
        elif self._waiting and self._may_start:
            self._batches.request()
            self._is_urgent = self._waiting > 0

    def late(self, holder: CursorHolder, late: LateAcknowledgement) -> None:
        """A message that the cursor passed for another reason was acknowledged after all.

        Where the ledger has counters it is written once: if it is not known whether that was
        stored, what was counted before remains.
        """
        if holder.token is not None and not self._stopped:
            subscription = late.delivery.subscription
            self._late.setdefault(subscription, []).append(late)
            self.moved(holder, subscription)

    def handed(self, holder: CursorHolder, subscription: Subscription) -> None:
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
        # First in, first out: once so many were taken, all that waits now was, whatever comes
        # meanwhile.
        enough, is_on_its_way = self._taken + self._waiting, self._batches.is_running
        while is_on_its_way or (self._waiting and self._taken < enough):
            is_on_its_way = False
            await self._batches.run()
            if not self._may_start:
                return

    async def stop(self) -> None:
        await self.flush()
        self._stopped = True
        self._soon.cancel()
        self._handed_soon.cancel()

    async def _write(self) -> None:
        """Write a batch, and see to when the next one leaves."""
        self._soon.cancel()
        self._may_start = False
        is_stored = True
        batch: list[Move] = []
        try:
            batch = self._take_batch()
            if batch:
                told = encoded(batch)
                lost: list[int] = await self._server.run(
                    _script, [], [told, ""], replay=[told, "replay"]
                )
                if lost:
                    holders = [holder for move in batch for _, holder in move.members]
                    for number in lost:
                        self._on_lost(holders[number - 1])
        except StoreUnavailable as error:
            is_stored = False
            log.debug(
                "Cursors kept for later: {reason}", reason=error.reason, event="cursors.postponed"
            )
            self._put_back(batch)
        except Exception:
            _log_failure(Failure())  # the batch is given up: its messages come again
        finally:
            self._may_start = is_stored
            is_urgent, self._is_urgent = self._is_urgent, False
            is_due = is_urgent or self._has_more or self._waiting >= FLUSH_CURSORS
            if is_stored and is_due and self._waiting:
                self._batches.request()
            elif self._waiting and not self._stopped:
                self._soon.request(FLUSH_SECONDS if is_stored else RETRY_SECONDS)

    def _take_batch(self) -> list[Move]:
        """The next moves: so many cursors, and about so many messages."""
        batch: list[Move] = []
        messages, self._has_more = 0, False
        for move in self._last[:FLUSH_CURSORS]:
            messages += len(move.messages)
            if batch and messages > MOST_MESSAGES:
                self._has_more = True
                break
            batch.append(move)
        del self._last[: len(batch)]
        taken = [*islice(self._moved.items(), FLUSH_CURSORS - len(batch))]
        count = len(taken)  # also of those that are given up
        try:
            moves, count = moves_of(taken, self._late, max(MOST_MESSAGES - messages, 0))
        finally:
            for subscription, _ in taken[:count]:
                del self._moved[subscription]
            self._taken += len(batch) + count
            self._has_more |= count < len(taken)
        return batch + moves

    def _put_back(self, batch: list[Move]) -> None:
        """It was not stored: it goes with what moves next."""
        self._last += [move for move in batch if move.is_last]
        for move in batch:
            if move.is_last:
                continue
            again = move.undo()
            for subscription, holder in move.members:
                if again:
                    self._late[subscription] = again + self._late.get(subscription, [])
                self._moved.setdefault(subscription, holder)


def _has_unreported(subscription: Subscription) -> bool:
    """Whether it was handed out something of which the ledger does not know yet."""
    pending = subscription.pending
    return pending is not None and pending[-1].offset > subscription.reported


def _log_failure(failure: Failure) -> None:
    log.failure("Cursors could not be written", failure=failure, event="cursors.failed")
