"""Every coroutine has an owner: none is started and forgotten, and its errors are reported."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, Generic, TypeVar, cast

from twisted.internet.defer import (
    CancelledError,
    Deferred,
    DeferredList,
    FirstError,
    gatherResults,
)
from twisted.logger import Logger
from twisted.python.failure import Failure

from push.runtime.ports import Clock, as_twisted
from push.runtime.timers import Debounced

log = Logger()

MOST_REST_SECONDS = 0.1  # between two rounds

Result = TypeVar("Result")
Owner = TypeVar("Owner")
Item = TypeVar("Item")


def start(
    job: Coroutine[Any, Any, None], failed: Callable[[Failure], object], awaited: object = None
) -> None:
    """Run `job`, for whose end nobody waits and which nobody cancels; `failed` is called with its
    error. Half the work of `Deferred.fromCoroutine`: for what is done for every request.

    `awaited`: what the Deferred that it has awaited ends in, where it goes on.
    """
    try:
        waits_for: Deferred[Any] = (
            awaited.throwExceptionIntoGenerator(job)
            if isinstance(awaited, Failure)
            else job.send(None)
        )
    except StopIteration:
        return
    except Exception:
        failed(Failure())
    else:
        waits_for.addBoth(lambda result: start(job, failed, result))


def for_each(items: Iterable[Item], work: Callable[[Item], object]) -> None:
    """`work` for each, whatever becomes of the others: for what nobody asks for again."""
    for item in items:
        try:
            work(item)
        except Exception:
            log.failure("What is done for each was not done for one", event="runtime.one_failed")


class TaskGroup:
    """Coroutines that run beside their owner."""

    def __init__(self) -> None:
        self._running: set[Deferred[None]] = set()

    def run(
        self, job: Coroutine[Any, Any, None], failed: Callable[[Failure], None]
    ) -> Deferred[None]:
        """Run `job` to its end; `failed` is called with an error that is not its cancellation."""
        running: Deferred[None] = Deferred.fromCoroutine(job)
        self._running.add(running)

        def finished(result: Failure | None) -> None:
            self._running.discard(running)
            if isinstance(result, Failure) and not result.check(CancelledError):
                failed(result)

        return running.addBoth(finished)

    def cancel(self) -> None:
        """Cancel all that run now."""
        for job in list(self._running):
            job.cancel()

    async def finished(self) -> None:
        """Wait for all that run now."""
        await DeferredList(list(self._running))


class OwnedTasks(Generic[Owner]):
    """Coroutines, each of one of many owners: `failed(owner, failure)` is called with an error."""

    def __init__(self, failed: Callable[[Owner, Failure], None]) -> None:
        self._failed = failed
        self._running: set[Deferred[None]] = set()

    def run(self, owner: Owner, job: Coroutine[Any, Any, None]) -> None:
        """Run `job` to its end."""
        running: Deferred[None] = Deferred.fromCoroutine(job)
        self._running.add(running)
        running.addBoth(self._finished, owner, running)

    def _finished(self, result: Failure | None, owner: Owner, running: Deferred[None]) -> None:
        self._running.discard(running)
        if isinstance(result, Failure) and not result.check(CancelledError):
            self._failed(owner, result)

    async def finished(self) -> None:
        """Wait for all that run now."""
        await DeferredList(list(self._running))


class Semaphore:
    """At most so many of what runs inside `async with turns:` at a time; the rest waits its turn.

    Twisted's DeferredSemaphore is not used because it calls the next from within the end of the one
    before: with thousands that wait and end at once that is deeper than the interpreter goes.
    """

    def __init__(self, at_a_time: int) -> None:
        self._free = at_a_time
        self._waiting: deque[Deferred[None]] = deque()
        self._giving = False

    async def __aenter__(self) -> None:
        if self._free and not self._waiting:
            self._free -= 1
            return
        turn: Deferred[None] = Deferred(self._waiting.remove)
        self._waiting.append(turn)
        await turn

    async def __aexit__(self, *_: object) -> None:
        self._free += 1
        if self._giving:
            return  # the caller that gives turns sees it
        self._giving = True
        try:
            while self._free and self._waiting:
                self._free -= 1
                self._waiting.popleft().callback(None)
        finally:
            self._giving = False


class Rounds:
    """What runs inside `async with rounds:` begins together. What comes while some of it runs
    waits, and then for `rest` times as long as that took; for `MOST_REST_SECONDS` at most, in all.

    For what makes others wait while it is done: done on end, it would keep them waiting.
    Other ways to wait: architecture, "Who waits for a turn".
    """

    def __init__(self, clock: Clock, rest: float) -> None:
        self._clock = clock
        self._rest = rest
        self._inside = 0
        self._began = self._rests_until = 0.0
        self._waiting: list[Deferred[None]] = []
        self._next = Debounced(clock, 0, self._begin)

    async def __aenter__(self) -> None:
        rests_for = self._rests_until - self._clock.seconds()
        if not self._inside and rests_for <= 0:
            self._inside = 1
            self._began = self._clock.seconds()
            return
        turn: Deferred[None] = Deferred(self._waiting.remove)
        self._waiting.append(turn)
        self._next.request(MOST_REST_SECONDS if self._inside else rests_for)
        await turn

    async def __aexit__(self, *_: object) -> None:
        self._inside -= 1
        if self._inside:
            return
        now = self._clock.seconds()
        rest_seconds = min((now - self._began) * self._rest, MOST_REST_SECONDS)
        self._rests_until = now + rest_seconds
        if self._waiting:
            self._next.request_within(rest_seconds)

    def _begin(self) -> None:
        waiting = list(self._waiting)
        self._waiting.clear()
        self._inside += len(waiting)
        self._began = self._clock.seconds()
        for turn in waiting:
            turn.callback(None)

    def stop(self) -> None:
        """What waits begins: it finds out itself that nothing can be done any more."""
        self._next.cancel()
        self._begin()


def within(
    seconds: float, reactor: Clock, call: Deferred[Result], late: Callable[[], Exception]
) -> Deferred[Result]:
    """Cancel `call` when it has no result after `seconds`; its error is then what `late` returns.

    `addTimeout` alone makes a TimeoutError of nothing but a CancelledError, and what is cancelled
    often fails with another error: several Deferreds that were gathered fail with a FirstError.
    """

    def end(_result: Result | Failure, _seconds: float) -> Result:
        raise late()

    return call.addTimeout(seconds, as_twisted(reactor), end)


def gather_deferreds(waiting: Sequence[Deferred[Any]]) -> Deferred[Any]:
    """Fires when all of them have; fails when the first fails, as that one does. One alone, by far
    the commonest, is handed on as it is."""
    if len(waiting) == 1:
        return waiting[0]
    return gatherResults(waiting, consumeErrors=True).addErrback(_first_error)


def _first_error(failure: Failure) -> Failure:
    if isinstance(failure.value, FirstError):
        return failure.value.subFailure
    return failure


def only(outcomes: list[Result | Exception]) -> Result:
    """The one outcome of a call for several that was made for one; an error is raised."""
    if isinstance(outcomes[0], Exception):
        # Not left in the list: the error knows this frame, and they would hold each other.
        raise cast(Exception, outcomes.pop())
    return outcomes[0]


async def gather(calls: Iterable[Coroutine[Any, Any, Result]]) -> list[Result]:
    """Run `calls` at once and wait for all; their results in order, or the first one's error."""
    started = [Deferred.fromCoroutine(call) for call in calls]
    outcomes = await DeferredList(started, consumeErrors=True)
    try:
        for _, outcome in outcomes:
            if isinstance(outcome, Failure):
                outcome.raiseException()
        return [result for _, result in outcomes]
    finally:
        # The error knows this frame: they would hold each other, and all that the calls were given.
        started = outcomes = outcome = None  # type: ignore[assignment]
