"""Figures of the cluster: one question for everybody who wants to know the same."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, get_args

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, gatherResults

from push.cluster.survey import Survey, SurveyHandler
from push.observe.ack_latency import AckLatency
from push.observe.series import Figures, SeriesQueries, SeriesRecorder
from push.redis.client import RedisClient
from push.redis.connection.errors import StoreUnavailable
from push.wire.api.operate.series import Series, SeriesName

NOW_MS = 1_800_000_000_000  # where a minute begins
PROCESSES = {"boot": "n1"}


class FixedClock:
    """A wall clock that a test sets."""

    ms = NOW_MS

    def now_ms(self) -> int:
        return self.ms


class Times:
    """Of an acknowledgement after 20 ms."""

    def seconds(self) -> float:
        return 0.02

    def ahead_us(self, number: int) -> int:
        return 0


class Cluster:
    """One process that records and asks; `asked`: how often it has asked."""

    def __init__(self, store: RedisClient, processes: dict[str, str]) -> None:
        from twisted.internet import reactor

        clock: Any = reactor
        self.asked = 0
        self.survey = Survey(clock, store, dict, "boot", processes=lambda: processes)
        self.survey.ask = self._counted(self.survey.ask)  # type: ignore[method-assign]
        self.survey_handler = SurveyHandler(store, "boot", "n1")
        self.wall_clock = FixedClock()
        self.recorder = SeriesRecorder(clock, self.wall_clock, self.survey_handler)
        self.queries = SeriesQueries(clock, self.wall_clock, self.survey, lambda: processes)

    def _counted(self, ask: Any) -> Any:
        async def counted(*question: Any) -> Any:
            self.asked += 1
            return await ask(*question)

        return counted

    async def read(self, *names: SeriesName, step: int = 10) -> list[Series]:
        reads = [Deferred.fromCoroutine(self.queries.read(name, None, step)) for name in names]
        found: list[Series] = await gatherResults(reads, consumeErrors=True)
        return found


@pytest_twisted.async_yield_fixture
async def cluster(store: RedisClient) -> AsyncIterator[Cluster]:
    made = Cluster(store, PROCESSES)
    await made.survey_handler.start()
    yield made
    made.queries.stop()
    made.survey.stop()
    made.survey_handler.stop()


@pytest_twisted.ensureDeferred
async def test_everybody_who_asks_has_the_answer_of_one_question(cluster: Cluster) -> None:
    latency, pushes = AckLatency(Times()), 0
    cluster.recorder.watch(Figures({"pushes": lambda: pushes}, ack_latency=latency))
    cluster.recorder._read()
    latency.note(0, 0)
    pushes = 3
    cluster.wall_clock.ms += 1_000
    cluster.recorder._read()
    cluster.wall_clock.ms += 10_000

    found = await cluster.read(*["ack_p50_ms", "ack_p99_ms", "pushes"] * 5)

    assert cluster.asked == 1
    last = [(each.name, each.values[-1]) for each in found[:3]]
    assert last == [("ack_p50_ms", 18.0), ("ack_p99_ms", 19.96), ("pushes", 3)]
    assert [each.values for each in found[3:6]] == [each.values for each in found[:3]]
    await cluster.read("pushes", "ack_p99_ms", *get_args(SeriesName))
    assert cluster.asked == 1
    # When the next step is over there is more to be known; and not all is known at its end at once.
    cluster.wall_clock.ms += 10_000
    (next_step,) = await cluster.read("pushes")
    assert next_step.values[-2:] == [3, None]
    assert cluster.asked == 2
    now = cluster.queries.seconds() + 6
    cluster.queries.seconds = lambda: now
    await cluster.read("pushes")
    assert cluster.asked == 3
    assert len(cluster.queries._answers) == 1, "what is over is forgotten"


@pytest_twisted.ensureDeferred
async def test_all_are_told_of_a_failure_and_the_next_ask_again(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered = cluster.survey.ask

    async def unavailable(*_question: Any) -> Any:
        raise StoreUnavailable("it is gone")

    monkeypatch.setattr(cluster.survey, "ask", unavailable)
    reads = [Deferred.fromCoroutine(cluster.queries.read("pushes", None, 10)) for _ in range(3)]
    for read in reads:
        with pytest.raises(StoreUnavailable):
            await read
    monkeypatch.setattr(cluster.survey, "ask", answered)
    (found,) = await cluster.read("pushes")
    assert found.silent == []
