"""Coroutines with an owner, and those that take turns."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import CancelledError, Deferred, gatherResults, succeed
from twisted.internet.task import Clock

from push.runtime.tasks import MOST_REST_SECONDS, Rounds, Semaphore, gather_deferreds, start, within


class Work:
    """Runs jobs that take turns; each waits for its Deferred in `gates`, if it has one."""

    def __init__(self, at_a_time: int) -> None:
        self.turns = Semaphore(at_a_time)
        self.running = 0
        self.most = 0
        self.done: list[int] = []

    def start(self, number: int, gate: Deferred[None] | None = None) -> Deferred[None]:
        return Deferred.fromCoroutine(self._job(number, gate))

    async def _job(self, number: int, gate: Deferred[None] | None) -> None:
        async with self.turns:
            self.running += 1
            self.most = max(self.most, self.running)
            try:
                if gate is not None:
                    await gate
                self.done.append(number)
            finally:
                self.running -= 1


def test_no_more_run_than_may_and_the_rest_comes_in_its_order() -> None:
    work = Work(2)
    gates: list[Deferred[None]] = [Deferred() for _ in range(5)]
    jobs = [work.start(number, gate) for number, gate in enumerate(gates)]
    assert work.running == 2
    for gate in gates:
        gate.callback(None)
    assert all(job.called for job in jobs)
    assert work.done == list(range(5))
    assert (work.most, work.running) == (2, 0)


def test_any_number_that_waits_and_ends_at_once_is_no_deeper_than_one() -> None:
    work = Work(2)
    gates: list[Deferred[None]] = [Deferred(), Deferred()]
    for number, gate in enumerate(gates):
        work.start(number, gate)
    waiting = 20 * sys.getrecursionlimit()
    jobs = [work.start(number) for number in range(2, waiting)]
    gates[0].callback(None)
    assert all(job.called for job in jobs)
    gates[1].callback(None)
    assert sorted(work.done) == list(range(waiting))


@pytest_twisted.ensureDeferred
async def test_one_that_fails_or_is_cancelled_gives_its_turn_on() -> None:
    work = Work(1)
    first: Deferred[None] = Deferred()
    failing = work.start(0, first)
    waiting, last = work.start(1), work.start(2)
    waiting.cancel()
    first.errback(ValueError("no"))
    with pytest.raises(ValueError, match="no"):
        await failing
    with pytest.raises(CancelledError):
        await waiting
    await last
    assert work.done == [2]
    assert work.running == 0


class Late(Exception):
    """What `within` is asked to say."""


async def swallows_its_cancellation(waiting: Deferred[int]) -> int:
    try:
        return await waiting
    except CancelledError:
        return 7


async def fails_with_another_error(waiting: Deferred[int]) -> int:
    try:
        return await waiting
    except CancelledError:
        raise KeyError("the connection was closed") from None


@pytest.mark.parametrize(
    "make",
    [
        lambda waiting: waiting,
        lambda waiting: gatherResults([waiting, Deferred()], consumeErrors=True),
        lambda waiting: Deferred.fromCoroutine(swallows_its_cancellation(waiting)),
        lambda waiting: Deferred.fromCoroutine(fails_with_another_error(waiting)),
    ],
    ids=["one", "gathered", "swallows", "fails"],
)
@pytest_twisted.ensureDeferred
async def test_what_is_late_ends_with_the_error_that_was_asked_for(make: Any) -> None:
    """However what is cancelled takes it."""
    clock = Clock()
    call = within(2.0, clock, make(Deferred()), Late)
    clock.advance(1.9)
    assert not call.called
    clock.advance(0.2)
    with pytest.raises(Late):
        await call
    assert clock.getDelayedCalls() == []


@pytest_twisted.ensureDeferred
async def test_what_is_in_time_ends_with_its_own_result() -> None:
    clock = Clock()
    assert await within(2.0, clock, succeed(3), Late) == 3
    failing: Deferred[int] = Deferred()
    call = within(2.0, clock, failing, Late)
    failing.errback(KeyError("its own"))
    with pytest.raises(KeyError, match="its own"):
        await call
    cancelled = within(2.0, clock, Deferred(), Late)
    cancelled.cancel()  # by its owner
    with pytest.raises(CancelledError):
        await cancelled
    assert clock.getDelayedCalls() == []


def test_all_of_some_fires_with_the_last_and_one_alone_is_itself() -> None:
    waiting: list[Deferred[int]] = [Deferred(), Deferred()]
    together = gather_deferreds(waiting)
    waiting[1].callback(2)
    assert not together.called
    waiting[0].callback(1)
    assert together.result == [1, 2]
    alone: Deferred[int] = Deferred()
    assert gather_deferreds([alone]) is alone
    assert gather_deferreds([]).called


def test_all_of_some_fails_as_the_first_that_fails() -> None:
    waiting: list[Deferred[int]] = [Deferred(), Deferred()]
    failures: list[Any] = []
    gather_deferreds(waiting).addErrback(failures.append)
    waiting[1].errback(KeyError("second"))
    waiting[0].errback(ValueError("first"))  # nobody is told of it, and it is not logged
    (failure,) = failures
    assert failure.type is KeyError


class Steps:
    """A job that awaits one Deferred after the other, and what became of it."""

    def __init__(self, *gates: Deferred[int]) -> None:
        self.got: list[Any] = []
        self.errors: list[Any] = []
        start(self._job(gates), self.errors.append)

    async def _job(self, gates: tuple[Deferred[int], ...]) -> None:
        for gate in gates:
            try:
                self.got.append(await gate)
            except KeyError as error:
                self.got.append(error)
        self.got.append("end")


def test_a_job_that_is_started_gets_what_it_awaits_in_order() -> None:
    gates: list[Deferred[int]] = [Deferred() for _ in range(4)]
    steps = Steps(*gates)
    gates[1].callback(1)
    assert steps.got == []
    gates[0].callback(0)
    assert steps.got == [0, 1]
    gates[2].errback(KeyError("a failure"))
    assert [str(got) for got in steps.got] == ["0", "1", "'a failure'"]
    gates[3].callback(3)
    assert steps.got[2:] == [steps.got[2], 3, "end"]
    assert steps.errors == []
    assert Steps(succeed(1)).got == [1, "end"]


@pytest.mark.parametrize("fails_later", [False, True])
def test_the_error_of_a_job_that_was_started_is_reported_once(fails_later: bool) -> None:
    gate: Deferred[int] = Deferred()
    if not fails_later:
        gate.errback(ValueError("ours"))
    steps = Steps(gate)
    if fails_later:
        assert steps.errors == []
        gate.errback(ValueError("ours"))
    (failure,) = steps.errors
    assert failure.type is ValueError
    assert steps.got == []


def test_what_a_job_awaits_may_wait_for_another_deferred() -> None:
    inner: Deferred[int] = Deferred()
    steps = Steps(succeed(None).addCallback(lambda _: inner))
    assert steps.got == []
    inner.callback(7)
    assert steps.got == [7, "end"]


class RoundsOfJobs:
    """Jobs that run until they are ended, and when each began."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.rounds = Rounds(self.clock, rest=3.0)
        self.begun: list[tuple[str, float]] = []
        self.gates: dict[str, Deferred[None]] = {}

    def start(self, name: str) -> None:
        self.gates[name] = Deferred()
        Deferred.fromCoroutine(self._job(name))

    def start_and_cancel(self, name: str) -> None:
        job = Deferred.fromCoroutine(self._job(name))
        job.cancel()
        job.addErrback(lambda failure: failure.trap(CancelledError))

    async def _job(self, name: str) -> None:
        async with self.rounds:
            self.begun.append((name, self.clock.seconds()))
            await self.gates[name]

    def end(self, name: str) -> None:
        self.gates[name].callback(None)


def test_what_comes_in_a_round_goes_together_in_the_next_one_after_a_rest() -> None:
    jobs = RoundsOfJobs()
    for name in ("a", "b", "c"):
        jobs.start(name)
    jobs.clock.advance(0.01)
    jobs.end("a")
    jobs.start("d")
    jobs.clock.advance(0.02)
    assert jobs.begun == [("a", 0.0)]
    jobs.clock.advance(0.01)
    assert jobs.begun[1:] == [(name, pytest.approx(0.04)) for name in ("b", "c", "d")]
    for name in ("b", "c"):
        jobs.end(name)
    jobs.start("e")
    jobs.clock.advance(MOST_REST_SECONDS * 0.9)
    assert len(jobs.begun) == 4, "one is not done yet"
    jobs.clock.advance(MOST_REST_SECONDS * 0.1)
    assert jobs.begun[-1][0] == "e", "however long the round takes"
    jobs.end("d")
    jobs.end("e")
    assert jobs.clock.getDelayedCalls() == []


def test_one_that_is_cancelled_while_it_waits_holds_up_nobody() -> None:
    jobs = RoundsOfJobs()
    jobs.start("a")
    jobs.start_and_cancel("b")
    jobs.end("a")
    jobs.clock.advance(MOST_REST_SECONDS)
    jobs.start("c")
    assert [name for name, _ in jobs.begun] == ["a", "c"]
    jobs.end("c")


def test_one_alone_does_not_wait_and_none_waits_after_the_end() -> None:
    jobs = RoundsOfJobs()
    jobs.start("a")
    jobs.clock.advance(1)
    jobs.end("a")
    jobs.clock.advance(MOST_REST_SECONDS)
    jobs.start("b")
    jobs.start("c")
    assert [name for name, _ in jobs.begun] == ["a", "b"]
    jobs.end("b")
    jobs.rounds.stop()
    assert [name for name, _ in jobs.begun] == ["a", "b", "c"]
    assert jobs.clock.getDelayedCalls() == []
