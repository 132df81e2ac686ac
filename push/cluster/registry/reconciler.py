"""What both registries do alike: keep own entries registered and the view current.

Everything goes through one act, `_exchange`: write own entries as they should be, and read all
entries. It is repeated every few seconds, soon after something changed here or there, and after
every failure until it succeeds; so an outage, an expired session and a lost registry all heal in
the same way, by the next exchange. Only one runs at a time.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from enum import Enum, auto
from random import Random
from typing import NamedTuple

from twisted.internet.defer import CancelledError, Deferred, DeferredLock
from twisted.logger import Logger
from twisted.python.failure import Failure

from push.cluster.registry.entry import Key, RegistryEntry, check_names
from push.cluster.registry.interface import Registry, RegistryUnavailable, Snapshot
from push.cluster.registry.own_entries import NameConflict, OwnEntries, OwnEntry, fire
from push.cluster.registry.timing import Timing
from push.cluster.registry.view import View
from push.runtime.ports import Clock
from push.runtime.tasks import within
from push.runtime.timers import Debounced

log = Logger()


# In a large cluster loads are published less often: each goes to every daemon.
UPDATE_SECONDS_PER_ENTRY = 0.05
# An entry without a sign of life must have lapsed by then.
PATIENCE_LEASES = 1.5
FIRST_RETRY_SECONDS = 0.02  # and twice as long each time; at the start a connection is near


class RegistrySnapshot(NamedTuple):
    """What an exchange found: all entries, and the own ones that could not be written.

    `era` is another one when the store lost its data since.
    """

    entries: Mapping[Key, bytes]
    conflicts: Mapping[Key, NameConflict]
    era: int


class _Life(Enum):
    NEW = auto()
    RUNNING = auto()
    STOPPED = auto()


class ReconcilingRegistry(Registry):
    """The common part. A subclass gives `_open`, `_close`, `_away`, `_exchange` and `_remove`.

    `return_seconds`: within this time after the store was unreachable, or has lost its data, every
    process that lives has registered again.
    """

    def __init__(
        self, reactor: Clock, random: Random, timing: Timing, *, return_seconds: float
    ) -> None:
        self._reactor = reactor
        self._random = random
        self._timing = timing
        self._return_seconds = return_seconds
        self._view = View(reactor.seconds, self._notify_change, window_seconds=timing.lease)
        self._own = OwnEntries(PATIENCE_LEASES * timing.lease)
        self._callbacks: list[Callable[[], None]] = []
        self._ready_waiters: list[Deferred[None]] = []
        self._loaded = False
        self._trouble: str | None = None
        self._failures = 0  # in a row
        self._life = _Life.NEW
        self._lock = DeferredLock()
        self._soon = Debounced(reactor, 0, self._begin)
        self._exchanging: Deferred[None] | None = None
        self._next_at = float("inf")
        self._verify_at: float | None = None
        self._written_at = 0.0
        self._era = 0
        self._hold_losses_until = 0.0

    # --- What a subclass gives ---------------------------------------------------------------

    @abstractmethod
    def _open(self) -> None:
        """Begin to connect."""

    @abstractmethod
    async def _close(self) -> None:
        """Let go of the connection."""

    @abstractmethod
    def _away(self) -> str | None:
        """Why the store cannot be reached now, or None."""

    @abstractmethod
    async def _exchange(self, own: Mapping[Key, RegistryEntry], *, fresh: bool) -> RegistrySnapshot:
        """Write own entries and read all. `fresh` asks for a reading that trusts nothing read
        before. Raises `RegistryUnavailable`; every wait in it has a deadline."""

    @abstractmethod
    async def _remove(self, entry: RegistryEntry) -> None:
        """Remove one of our entries, if it is still ours. Raises `RegistryUnavailable`."""

    # --- Registry ----------------------------------------------------------------------------

    def start(self) -> None:
        assert self._life is _Life.NEW, "a registry is started once"
        self._life = _Life.RUNNING
        self._open()
        self._wake()

    async def stop(self) -> None:
        if self._life is not _Life.RUNNING:
            return
        self._life = _Life.STOPPED
        self._soon.cancel()
        for waiter in [*self._ready_waiters, *self._own.waiting()]:
            waiter.cancel()
        await self._step_of_stop(Deferred.fromCoroutine(self._withdraw_all()))
        if self._exchanging is not None:  # it had the lock, so nothing was withdrawn
            self._exchanging.cancel()
        await self._close()

    async def register(self, entry: RegistryEntry) -> None:
        check_names(entry)
        if self._life is _Life.STOPPED:
            raise RegistryUnavailable("the registry was stopped")
        waiter = self._own.add(entry)
        self._wake()
        await waiter

    def update(self, entry: RegistryEntry) -> None:
        own = self._own.get(entry.key)
        if own is None or own.entry == entry:
            return
        urgent = entry.differs_in_role(own.entry)
        own.entry = entry
        pause = max(self._timing.update, UPDATE_SECONDS_PER_ENTRY * self._size())
        self._wake(0 if urgent else self._written_at + pause - self._reactor.seconds())

    async def withdraw(self, service: str, instance: str) -> None:
        own = self._own.remove((service, instance))
        if own is not None:
            await self._withdraw(own)

    def view(self) -> Snapshot:
        return self._view.snapshot

    def on_change(self, callback: Callable[[], None]) -> None:
        self._callbacks.append(callback)

    async def ready(self) -> None:
        if not self._loaded:
            waiter: Deferred[None] = Deferred()
            self._ready_waiters.append(waiter)
            await waiter

    @property
    def problem(self) -> str | None:
        problem = self._away() or self._trouble or self._own.problem
        if problem is not None:
            return problem
        return None if self._loaded else "the registry was not read yet"

    @property
    def joined(self) -> bool:
        return self._loaded and self._own.all_registered

    # --- For a subclass ----------------------------------------------------------------------

    def _wake(self, delay_seconds: float = 0.0) -> None:
        """Exchange in `delay_seconds` at the latest."""
        if self._life is not _Life.RUNNING:
            return
        delay = max(delay_seconds, 0.0)
        if self._exchanging is not None:
            self._next_at = min(self._next_at, self._reactor.seconds() + delay)
        else:
            self._soon.request_within(delay)

    def _hold_losses(self) -> None:
        """The store was unreachable or lost its data: a process whose entry is missing may return.
        Until all have had the time for that, no reading verifies that one is gone."""
        if not self._loaded:
            return
        self._hold_losses_until = self._reactor.seconds() + self._return_seconds
        if self._verify_at is not None:
            self._verify_at = self._hold_losses_until + self._timing.verify

    # --- The exchange ------------------------------------------------------------------------

    def _begin(self) -> None:
        self._next_at = float("inf")
        self._exchanging = exchange = Deferred.fromCoroutine(self._locked(self._exchange_once))
        exchange.addErrback(_log_failure)
        exchange.addCallback(self._ended)

    def _ended(self, _result: object) -> None:
        self._exchanging = None
        now = self._reactor.seconds()
        self._wake(
            min(self._next_at, now + self._pause_seconds(), self._verify_at or now + 3600) - now
        )

    def _pause_seconds(self) -> float:
        if self._failures:
            pause = min(self._timing.retry, FIRST_RETRY_SECONDS * 2.0 ** min(self._failures, 10))
        elif self._own.has_conflict:
            pause = self._timing.retry
        else:
            pause = self._timing.renew
        return pause * self._random.uniform(0.7, 1.3)

    async def _exchange_once(self) -> None:
        if self._life is not _Life.RUNNING:
            return
        fresh = self._verify_at is not None and self._reactor.seconds() >= self._verify_at
        sent = self._own.to_write()
        self._written_at = self._reactor.seconds()
        try:
            reading = await self._exchange(sent, fresh=fresh)
        except RegistryUnavailable as error:
            self._failed(str(error))
            return
        except CancelledError:
            raise
        except Exception as error:
            text = str(error) or type(error).__name__
            if self._trouble != text:
                log.failure(
                    "The exchange with the registry failed", event="registry.exchange_failed"
                )
            self._failed(text)
            return
        self._trouble = None
        self._failures = 0
        if reading.era != self._era:
            self._hold_losses()
            self._era = reading.era
        doubtful = self._reactor.seconds() < self._hold_losses_until
        self._view.read(reading.entries, verifying=fresh and not doubtful, doubtful=doubtful)
        self._plan_verifying(fresh)
        if self._own.settle(sent, reading.conflicts, self._reactor.seconds()):
            self._wake(self._timing.update)
        self._notify_ready()

    def _failed(self, trouble: str) -> None:
        self._trouble = trouble
        self._failures += 1
        self._own.not_exchanged(self._reactor.seconds())
        self._hold_losses()

    def _plan_verifying(self, verified: bool) -> None:
        if not self._view.unsure:
            self._verify_at = None
        elif verified or self._verify_at is None:
            earliest = max(self._reactor.seconds(), self._hold_losses_until)
            self._verify_at = earliest + self._timing.verify

    # --- Withdrawing and waiting -------------------------------------------------------------

    async def _locked(self, act: Callable[[], Awaitable[None]]) -> None:
        await self._lock.acquire()
        try:
            await act()
        finally:
            self._lock.release()

    async def _withdraw(self, own: OwnEntry) -> None:
        entry = own.entry
        try:
            await self._locked(lambda: self._remove(entry))
        except RegistryUnavailable as error:
            log.info(
                "{service}/{instance} could not be withdrawn: {error}",
                service=entry.service,
                instance=entry.instance,
                error=str(error),
                event="registry.not_withdrawn",
            )
            self._wake()
        else:
            # Nobody else's entry: while the name was not ours it was not in the view.
            if own.conflict is None:
                self._view.withdraw(entry.key)

    async def _withdraw_all(self) -> None:
        while own := self._own.remove_any():
            await self._withdraw(own)

    async def _step_of_stop(self, step: Deferred[None]) -> None:
        """Wait for `step`, which is cancelled when it takes longer than a stop may."""
        try:
            await within(self._timing.stop, self._reactor, step, TimeoutError)
        except TimeoutError:
            log.info(
                "The registry gave no answer before the stop: own entries lapse by themselves",
                event="registry.no_answer_at_stop",
            )
        except Exception:
            log.failure("The registry could not be stopped cleanly", event="registry.stop_failed")

    def _size(self) -> int:
        return sum(len(instances) for instances in self._view.snapshot.values())

    def _notify_ready(self) -> None:
        self._loaded = True
        waiters, self._ready_waiters = self._ready_waiters, []
        fire(waiters)

    def _notify_change(self) -> None:
        for callback in list(self._callbacks):
            try:
                callback()
            except Exception:
                log.failure(
                    "A callback for changes in the registry failed",
                    event="registry.callback_failed",
                )


def _log_failure(failure: Failure) -> None:
    if not failure.check(CancelledError):
        log.failure("The registry failed", failure, event="registry.failed")
