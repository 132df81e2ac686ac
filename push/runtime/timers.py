"""Work that is done every so often, work that is put off, and work that runs once at a time.

Each of these has an owner, which stops it; none is started and forgotten.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import LoopingCall, deferLater
from twisted.python.failure import Failure

from push.runtime.ports import Clock, DelayedCall, as_twisted

Failed = Callable[[Failure], object]


async def sleep(clock: Clock, seconds: float) -> None:
    await deferLater(as_twisted(clock), seconds)


class Periodic:
    """Calls `work` every `interval_seconds`, and never while the coroutine of a call still runs.

    `failed` is called with an error that is not a cancellation; the next call comes all the same.
    """

    def __init__(
        self,
        clock: Clock,
        interval_seconds: float,
        work: Callable[[], Coroutine[Any, Any, None] | None],
        failed: Failed,
    ) -> None:
        self._interval_seconds = interval_seconds
        self._work = work
        self._failed = failed
        self._running: Deferred[None] | None = None
        self._loop = LoopingCall(self._call)
        self._loop.clock = as_twisted(clock)

    @property
    def is_started(self) -> bool:
        return self._loop.running

    def start(self, *, now: bool = False) -> None:
        """`now`: the first call is made at once, else after the first interval."""
        self._loop.start(self._interval_seconds, now=now)

    def stop(self) -> None:
        """End the calls; the coroutine that runs is cancelled. May be called twice."""
        if self._loop.running:
            self._loop.stop()
        if self._running is not None:
            self._running.cancel()

    def _call(self) -> Deferred[None] | None:
        try:
            work = self._work()
        except Exception:
            self._failed(Failure())
            return None
        if work is None:
            return None
        running = Deferred.fromCoroutine(work)
        if not running.called:
            self._running = running
        return running.addBoth(self._ended)

    def _ended(self, outcome: Failure | None) -> None:
        self._running = None
        if isinstance(outcome, Failure) and not outcome.check(CancelledError):
            self._failed(outcome)


class Debounced:
    """Calls `work` once, `delay_seconds` after the first of the requests since the last call."""

    __slots__ = ("_call", "_clock", "_delay_seconds", "_due", "_work")

    def __init__(self, clock: Clock, delay_seconds: float, work: Callable[[], object]) -> None:
        self._clock = clock
        self._delay_seconds = delay_seconds
        self._work = work
        self._call: DelayedCall | None = None
        self._due = 0.0

    @property
    def is_waiting(self) -> bool:
        return self._call is not None

    def request(self, delay_seconds: float | None = None) -> None:
        """Does nothing while a call waits. `delay_seconds`: for this time another delay."""
        if self._call is None:
            delay = self._delay_seconds if delay_seconds is None else delay_seconds
            self._due = self._clock.seconds() + delay
            self._call = self._clock.callLater(delay, self._run)

    def request_within(self, delay_seconds: float) -> None:
        """Like `request`, but a call that waits for longer than this is made earlier."""
        if self._call is not None and self._clock.seconds() + delay_seconds < self._due:
            self.cancel()
        self.request(delay_seconds)

    def cancel(self) -> None:
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _run(self) -> None:
        self._call = None
        self._work()


class TimeLimit:
    """Cancels what has no result after `seconds`, with one timer for all that wait."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self._seconds = seconds
        self._due: dict[Deferred[Any], float] = {}  # the first comes first
        self._timer = Debounced(clock, seconds, self._look)

    def watch(self, waiting: Deferred[Any], late: Callable[[], Exception]) -> Deferred[Any]:
        """`waiting`, whose error is what `late` returns if it is cancelled here."""
        if waiting.called:
            return waiting
        self._due[waiting] = self._clock.seconds() + self._seconds
        self._timer.request()
        return waiting.addBoth(self._ended, waiting, late)

    def _ended(self, result: Any, waiting: Deferred[Any], late: Callable[[], Exception]) -> Any:
        is_in_time = self._due.pop(waiting, None) is not None
        if not self._due:
            self._timer.cancel()
        if not is_in_time:
            raise late()
        return result

    def _look(self) -> None:
        now = self._clock.seconds()
        overdue = []
        for waiting, due in self._due.items():
            if due > now:
                self._timer.request(due - now)
                break
            overdue.append(waiting)
        for waiting in overdue:
            del self._due[waiting]
            waiting.cancel()


class SingleFlight:
    """Runs the coroutine of `work` once at a time. Requests while it runs are served by one more
    run after it: what they want to see may have changed since it began.

    `failed` is called with the error of a run that is not a cancellation; the error also goes to
    everyone that waits for that run, and a run that was requested meanwhile begins all the same.

    Idle ones are cheap: there may be some per session.
    """

    __slots__ = (
        "_failed",
        "_idle",
        "_is_requested",
        "_is_running",
        "_run",
        "_served",
        "_waiting",
        "_work",
    )

    def __init__(self, work: Callable[[], Coroutine[Any, Any, None]], failed: Failed) -> None:
        self._work = work
        self._failed = failed
        self._is_requested = False
        self._is_running = False
        self._run: Deferred[None] | None = None
        self._served: list[Deferred[None]] | None = None  # by the run that is on
        self._waiting: list[Deferred[None]] | None = None  # for one that has not begun
        self._idle: list[Deferred[None]] | None = None  # for the end of all runs

    @property
    def is_running(self) -> bool:
        return self._is_running

    @property
    def is_requested(self) -> bool:
        """Whether a run was requested that has not begun."""
        return self._is_requested

    def request(self) -> None:
        """Start a run now, or after the one that is on. Nobody waits for it."""
        self._is_requested = True
        if not self._is_running:
            self._begin()

    async def run(self) -> None:
        """Return when a run has ended that began after this call; raises the error of that run.

        To cancel this only gives up waiting. `cancel()` raises CancelledError here.
        """
        waiter: Deferred[None] = Deferred(self._forget)
        if self._waiting is None:
            self._waiting = []
        self._waiting.append(waiter)
        self.request()
        await waiter

    async def finished(self) -> None:
        """Return when nothing runs and nothing is requested; errors are not raised here."""
        if self._is_running:
            waiter: Deferred[None] = Deferred(self._forget)
            self._idle = [*(self._idle or ()), waiter]
            await waiter

    def cancel(self) -> None:
        """End the run that is on and forget what was requested (not from inside the run itself).

        Later requests begin a new run.
        """
        self._is_requested = False
        waiting, self._waiting = self._waiting, None
        if self._run is not None:
            self._run.cancel()
        _release(waiting, Failure(CancelledError()))

    def _begin(self) -> None:
        self._is_requested = False
        self._is_running = True
        self._served, self._waiting = self._waiting, None
        run = Deferred.fromCoroutine(self._work())
        if not run.called:
            self._run = run
        run.addBoth(self._ended)

    def _ended(self, outcome: Failure | None) -> None:
        self._run = None
        self._is_running = False
        served, self._served = self._served, None
        failure = outcome if isinstance(outcome, Failure) else None
        if failure is not None and not failure.check(CancelledError):
            self._failed(failure)
        _release(served, failure)
        if self._is_running:
            return  # somebody that waited has begun the next
        if self._is_requested:
            self._begin()
        else:
            idle, self._idle = self._idle, None
            _release(idle, None)

    def _forget(self, waiter: Deferred[None]) -> None:
        for waiters in (self._served, self._waiting, self._idle):
            if waiters is not None and waiter in waiters:
                waiters.remove(waiter)


def _release(waiters: list[Deferred[None]] | None, failure: Failure | None) -> None:
    for waiter in waiters or ():
        if not waiter.called:
            waiter.callback(None) if failure is None else waiter.errback(failure)
