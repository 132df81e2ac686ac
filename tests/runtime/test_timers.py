"""Periodic work, work that is put off, and work that runs once at a time."""

from __future__ import annotations

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from push.runtime.timers import Debounced, Periodic, SingleFlight, TimeLimit, sleep


class Runs:
    """A coroutine function of which each run ends when the test says so."""

    def __init__(self) -> None:
        self.gates: list[Deferred[None]] = []
        self.ended = 0
        self.failures: list[str] = []

    @property
    def begun(self) -> int:
        return len(self.gates)

    async def work(self) -> None:
        gate: Deferred[None] = Deferred()
        self.gates.append(gate)
        try:
            await gate
        finally:
            self.ended += 1

    def failed(self, failure: Failure) -> None:
        self.failures.append(failure.getErrorMessage())

    def end(self) -> None:
        self.gates[-1].callback(None)


def test_sleep_takes_its_time_and_can_be_cancelled() -> None:
    clock = Clock()
    sleeping = Deferred.fromCoroutine(sleep(clock, 2))
    clock.advance(1)
    assert not sleeping.called
    clock.advance(1)
    assert sleeping.called
    cancelled = Deferred.fromCoroutine(sleep(clock, 2))
    cancelled.addErrback(lambda failure: failure.trap(CancelledError))
    cancelled.cancel()
    assert cancelled.called
    assert not clock.getDelayedCalls()


class TestTimeLimit:
    def test_what_has_no_result_in_time_is_cancelled_and_no_other(self) -> None:
        clock = Clock()
        limit = TimeLimit(clock, 5)
        outcomes: dict[str, object] = {}

        def watch(name: str) -> Deferred[str]:
            waiting: Deferred[str] = Deferred()
            limit.watch(waiting, lambda: TimeoutError(name)).addBoth(
                lambda result: outcomes.update({name: getattr(result, "value", result)})
            )
            return waiting

        early, late = watch("early"), watch("late")
        clock.advance(3)
        later = watch("later")
        early.callback("in time")
        assert outcomes == {"early": "in time"}
        clock.advance(2)
        assert late.called
        assert isinstance(outcomes["late"], TimeoutError)
        assert "later" not in outcomes
        clock.advance(2)
        later.errback(ValueError("its own"))
        assert isinstance(outcomes["later"], ValueError)
        assert not clock.getDelayedCalls(), "nothing waits"

    def test_what_has_a_result_needs_no_timer(self) -> None:
        clock = Clock()
        waiting: Deferred[int] = Deferred()
        waiting.callback(1)
        assert TimeLimit(clock, 5).watch(waiting, TimeoutError) is waiting
        assert not clock.getDelayedCalls()


class TestPeriodic:
    def test_calls_every_interval_until_it_is_stopped(self) -> None:
        clock, calls = Clock(), []
        periodic = Periodic(clock, 3, lambda: calls.append(clock.seconds()), calls.append)
        assert not periodic.is_started
        periodic.start()
        clock.pump([1] * 7)
        assert calls == [3, 6]
        assert periodic.is_started
        periodic.stop()
        periodic.stop()
        clock.pump([1] * 7)
        assert calls == [3, 6]
        assert not clock.getDelayedCalls()

    def test_the_first_call_can_be_made_at_once(self) -> None:
        clock, calls = Clock(), []
        periodic = Periodic(clock, 3, lambda: calls.append(clock.seconds()), calls.append)
        periodic.start(now=True)
        assert calls == [0]
        periodic.stop()

    def test_is_not_called_while_the_coroutine_before_runs(self) -> None:
        clock, runs = Clock(), Runs()
        periodic = Periodic(clock, 1, runs.work, runs.failed)
        periodic.start()
        clock.pump([1] * 5)
        assert runs.begun == 1
        runs.end()
        clock.advance(1)
        assert runs.begun == 2
        periodic.stop()
        assert runs.ended == 2  # it was cancelled
        assert runs.failures == []

    def test_goes_on_after_an_error_which_is_reported(self) -> None:
        clock, runs = Clock(), Runs()
        periodic = Periodic(clock, 1, runs.work, runs.failed)
        periodic.start()
        clock.advance(1)
        runs.gates[-1].errback(RuntimeError("broken"))
        clock.advance(1)
        assert runs.begun == 2
        assert runs.failures == ["broken"]
        periodic.stop()

    def test_goes_on_after_an_error_of_work_that_is_no_coroutine(self) -> None:
        clock, runs = Clock(), Runs()

        def work() -> None:
            raise RuntimeError(f"broken at {clock.seconds()}")

        periodic = Periodic(clock, 1, work, runs.failed)
        periodic.start()
        clock.pump([1, 1])
        assert runs.failures == ["broken at 1.0", "broken at 2.0"]
        periodic.stop()


class TestDebounced:
    def test_many_requests_are_one_call(self) -> None:
        clock, calls = Clock(), []
        debounced = Debounced(clock, 2, lambda: calls.append(clock.seconds()))
        debounced.request()
        clock.advance(1)
        debounced.request()
        assert debounced.is_waiting
        clock.pump([1, 1, 1])
        assert calls == [2]
        assert not debounced.is_waiting
        debounced.request()
        clock.advance(2)
        assert calls == [2, 6]

    def test_a_call_may_be_requested_by_the_call_itself(self) -> None:
        clock, calls = Clock(), []

        def work() -> None:
            calls.append(clock.seconds())
            debounced.request()

        debounced = Debounced(clock, 1, work)
        debounced.request()
        clock.pump([1, 1, 1])
        assert calls == [1, 2, 3]
        debounced.cancel()

    def test_can_be_cancelled_and_requested_anew(self) -> None:
        clock, calls = Clock(), []
        debounced = Debounced(clock, 2, lambda: calls.append(clock.seconds()))
        debounced.cancel()
        debounced.request()
        debounced.cancel()
        assert not debounced.is_waiting
        clock.advance(2)
        assert calls == []
        debounced.request(5)
        clock.pump([2, 3])
        assert calls == [7]

    def test_is_moved_to_an_earlier_time_only(self) -> None:
        clock, calls = Clock(), []
        debounced = Debounced(clock, 5, lambda: calls.append(clock.seconds()))
        debounced.request_within(3)
        debounced.request_within(4)
        debounced.request()
        debounced.request_within(1)
        clock.pump([1, 1, 1, 1, 1])
        assert calls == [1]


class TestSingleFlight:
    def test_requests_while_it_runs_are_one_more_run(self) -> None:
        runs = Runs()
        flight = SingleFlight(runs.work, runs.failed)
        assert not flight.is_running
        for _ in range(3):
            flight.request()
        assert runs.begun == 1
        assert flight.is_running
        assert flight.is_requested
        runs.end()
        assert runs.begun == 2
        assert not flight.is_requested
        runs.end()
        assert runs.begun == 2
        assert not flight.is_running

    def test_a_waiter_gets_a_run_that_began_after_it_asked(self) -> None:
        runs = Runs()
        flight = SingleFlight(runs.work, runs.failed)
        first = Deferred.fromCoroutine(flight.run())
        second = Deferred.fromCoroutine(flight.run())
        third = Deferred.fromCoroutine(flight.run())
        assert runs.begun == 1
        runs.end()
        assert [first.called, second.called, third.called] == [True, False, False]
        runs.end()
        assert [second.called, third.called] == [True, True]
        assert runs.begun == 2

    def test_an_error_goes_to_those_that_wait_for_that_run(self) -> None:
        runs, errors = Runs(), []
        flight = SingleFlight(runs.work, runs.failed)
        first = Deferred.fromCoroutine(flight.run())
        first.addErrback(lambda failure: errors.append(failure.getErrorMessage()))
        second = Deferred.fromCoroutine(flight.run())
        runs.gates[-1].errback(RuntimeError("broken"))
        assert errors == ["broken"]
        assert runs.failures == ["broken"]
        assert runs.begun == 2
        assert not second.called
        runs.end()
        assert second.called

    def test_a_run_that_ends_at_once_may_ask_for_another(self) -> None:
        ran = []

        async def work() -> None:
            ran.append(len(ran))
            if len(ran) < 3:
                flight.request()

        flight = SingleFlight(work, ran.append)
        waiting = Deferred.fromCoroutine(flight.run())
        assert waiting.called
        assert ran == [0, 1, 2]
        assert not flight.is_running

    def test_a_waiter_may_request_the_next_run(self) -> None:
        runs = Runs()
        flight = SingleFlight(runs.work, runs.failed)
        waiting = Deferred.fromCoroutine(flight.run())
        waiting.addCallback(lambda _: flight.request())
        runs.end()
        assert runs.begun == 2
        runs.end()
        assert not flight.is_running

    def test_one_that_gives_up_waiting_does_not_end_the_run(self) -> None:
        runs, errors = Runs(), []
        flight = SingleFlight(runs.work, runs.failed)
        waiting = [Deferred.fromCoroutine(flight.run()) for _ in range(2)]
        for each in waiting:
            each.addErrback(lambda failure: errors.append(failure.type))
            each.cancel()
        assert errors == [CancelledError, CancelledError]
        assert runs.ended == 0
        runs.end()
        assert runs.begun == 2
        runs.end()
        assert runs.failures == []

    def test_cancel_ends_the_run_and_what_was_requested(self) -> None:
        runs, errors = Runs(), []
        flight = SingleFlight(runs.work, runs.failed)
        for _ in range(2):
            waiting = Deferred.fromCoroutine(flight.run())
            waiting.addErrback(lambda failure: errors.append(failure.type))
        flight.cancel()
        assert (runs.begun, runs.ended) == (1, 1)
        assert errors == [CancelledError, CancelledError]
        assert runs.failures == []
        assert not flight.is_running
        flight.request()
        assert runs.begun == 2
        runs.end()

    def test_finished_waits_for_what_runs_and_what_is_requested(self) -> None:
        runs = Runs()
        flight = SingleFlight(runs.work, runs.failed)
        assert Deferred.fromCoroutine(flight.finished()).called
        flight.request()
        flight.request()
        finished = Deferred.fromCoroutine(flight.finished())
        runs.gates[-1].errback(RuntimeError("broken"))
        assert not finished.called
        runs.end()
        assert finished.called

    def test_a_cancelled_finished_says_so(self) -> None:
        runs = Runs()
        flight = SingleFlight(runs.work, runs.failed)
        flight.request()
        finished = Deferred.fromCoroutine(flight.finished())
        finished.cancel()
        with pytest.raises(CancelledError):
            finished.result.raiseException()
        finished.addErrback(lambda _: None)
        runs.end()
        assert runs.ended == 1
