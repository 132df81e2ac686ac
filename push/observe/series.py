"""Figures over time: each process keeps its own, and answers for the cluster are put together.

Once a second a process reads its counters and gauges. Nothing is stored: a process that starts
again begins with none, and the time when it was not there has no values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import get_args

import msgspec
from twisted.logger import Logger
from twisted.python.failure import Failure

from push.cluster.survey import ALL_PROCESSES, Audience, Boots, Survey, SurveyHandler
from push.observe.ack_latency import BOUNDS_US, AckLatency, quantile_ms
from push.observe.rings import HistogramRing, Ring, added, sparse
from push.redis.connection.errors import StoreUnavailable
from push.runtime.ports import Clock, TimeOfDay
from push.runtime.timers import Periodic, SingleFlight, sleep
from push.wire.api.operate.series import SLOTS_OF_STEP, Series, SeriesName
from push.wire.errors import RequestError

log = Logger()

QUESTION = "series"
FILLED_SECONDS = 3  # a second without a reading is one in which nothing happened, up to so many
QUANTILES: dict[SeriesName, float] = {"ack_p50_ms": 0.5, "ack_p99_ms": 0.99}
MERGED_AT_ONCE = 25  # histograms of so many slots of all processes, without a break
SILENT_KEPT_SECONDS = 1.0  # how long an answer is kept in which a node is missing
# Of all processes the highest; the other figures are added up.
HIGHEST: frozenset[SeriesName] = frozenset(("redis_ms",))


class Figures(msgspec.Struct, frozen=True):
    """What a process reads once a second. `counters` only go up; `gauges` None: not known now."""

    counters: Mapping[SeriesName, Callable[[], int]] = {}
    gauges: Mapping[SeriesName, Callable[[], float | None]] = {}
    ack_latency: AckLatency | None = None


class AskedSeries(msgspec.Struct, frozen=True):
    """All figures, in the slots from `first` to `last`."""

    step: int
    first: int
    last: int


class OwnSeries(msgspec.Struct, frozen=True):
    """What one process has: figures by name, and the histograms of the quantiles as pairs of a
    bucket and a count."""

    values: dict[SeriesName, list[float | None]] = {}
    histograms: list[tuple[int, ...]] = []


_decode_asked = msgspec.json.Decoder(AskedSeries).decode
_decode_own = msgspec.json.Decoder(OwnSeries).decode


class SeriesRecorder:
    """The figures of this process. `watch` says what is read."""

    def __init__(
        self, reactor: Clock, wall_clock: TimeOfDay, survey_handler: SurveyHandler
    ) -> None:
        self._wall_clock = wall_clock
        self._figures: list[Figures] = []
        self._rings: dict[SeriesName, Ring] = {}
        self._latency = HistogramRing()
        self._before: dict[tuple[int, SeriesName], int] = {}
        self._latency_before: dict[int, list[int]] = {}
        self._last_second = 0
        self._reading = Periodic(reactor, 1.0, self._read, _log_failure)
        survey_handler.handle(QUESTION, self._answer)

    def start(self) -> None:
        self._reading.start()

    def stop(self) -> None:
        self._reading.stop()

    def watch(self, figures: Figures) -> None:
        """Read these as well, each second from now on."""
        place = len(self._figures)
        self._figures.append(figures)
        for name, read in figures.counters.items():
            self._rings.setdefault(name, Ring(sums=True))
            self._before[place, name] = read()
        for name in figures.gauges:
            self._rings.setdefault(name, Ring(sums=False, highest=name in HIGHEST))
        if figures.ack_latency is not None:
            self._latency_before[place] = list(figures.ack_latency.counts)

    def _read(self) -> None:
        second = self._wall_clock.now_ms() // 1000
        if not second:
            return  # no server has told the time yet
        missed = range(self._last_second + 1, second)
        fill = missed if 0 < len(missed) <= FILLED_SECONDS else ()
        self._last_second = second
        counted: dict[SeriesName, int] = {}
        gauges: dict[SeriesName, float] = {}
        for place, figures in enumerate(self._figures):
            for name, read in figures.counters.items():
                now = read()
                counted[name] = counted.get(name, 0) + now - self._before[place, name]
                self._before[place, name] = now
            for name, gauge in figures.gauges.items():
                value = gauge()
                if value is not None:
                    gauges[name] = gauges.get(name, 0) + value
            if figures.ack_latency is not None:
                counts = list(figures.ack_latency.counts)
                self._latency.put(second, sparse(counts, self._latency_before[place]))
                self._latency_before[place] = counts
        for name, count in counted.items():
            for each in fill:
                self._rings[name].put(each, 0)
            self._rings[name].put(second, count)
        for name, value in gauges.items():
            for each in (*fill, second):
                self._rings[name].put(each, value)

    async def _answer(self, raw: bytes) -> OwnSeries:
        asked = _decode_asked(raw)
        slots = asked.step, asked.first, asked.last
        values = {name: ring.values(*slots) for name, ring in self._rings.items()}
        return OwnSeries(values, self._latency.values(*slots))


_Values = list[float | int | None]


class _Answer:
    """What processes were asked together, for everybody who wants to know any of it now: a page
    asks for all figures again and again, and so may many pages. To all that is one question."""

    def __init__(self, queries: SeriesQueries, asked: AskedSeries, audience: Audience) -> None:
        self._queries = queries
        self._asked = asked
        self._audience = audience
        self._until = 0.0
        self._work = SingleFlight(self._ask, _log_unanswered)
        self.values: dict[SeriesName, _Values] = {}
        self.silent: list[str] = []

    @property
    def is_over(self) -> bool:
        return self._queries.seconds() >= self._until and not self._work.is_running

    async def get(self) -> None:
        """Return when it is there. Raises `StoreUnavailable`."""
        if self._queries.seconds() >= self._until:
            await self._work.run()

    async def _ask(self) -> None:
        if self._queries.seconds() < self._until:
            return
        self.values, self.silent = await self._queries.ask(self._asked, self._audience)
        kept_seconds = SILENT_KEPT_SECONDS if self.silent else self._asked.step / 2
        self._until = self._queries.seconds() + kept_seconds

    def cancel(self) -> None:
        self._work.cancel()


class SeriesQueries:
    """Figures of one node, or of all. An answer of the processes stands for half a step, if that
    is not over before."""

    def __init__(
        self,
        reactor: Clock,
        wall_clock: TimeOfDay,
        survey: Survey,
        processes: Callable[[], Mapping[str, str]],
    ) -> None:
        self.seconds = reactor.seconds
        self._reactor = reactor
        self._wall_clock = wall_clock
        self._survey = survey
        self._processes = processes
        self._answers: dict[tuple[Audience, AskedSeries], _Answer] = {}

    def stop(self) -> None:
        for answer in self._answers.values():
            answer.cancel()

    async def read(self, name: SeriesName, node: str | None, step: int) -> Series:
        """Up to the last step that is over. Raises `StoreUnavailable`; `RequestError` `not_found`
        for a node that is not registered."""
        last = self._wall_clock.now_ms() // 1000 // step - 1
        first = last - SLOTS_OF_STEP[step] + 1
        audience = self._audience(node)
        asked = AskedSeries(step, first, last)
        self._answers = {key: each for key, each in self._answers.items() if not each.is_over}
        answer = self._answers.get((audience, asked))
        if answer is None:
            answer = self._answers[audience, asked] = _Answer(self, asked, audience)
        await answer.get()
        return Series(name, step, first * step * 1000, answer.values[name], answer.silent)

    async def ask(
        self, asked: AskedSeries, audience: Audience
    ) -> tuple[dict[SeriesName, _Values], list[str]]:
        """The values by name, and the nodes that did not answer. Raises `StoreUnavailable`."""
        found = await self._survey.ask(QUESTION, asked, audience)
        parts: list[OwnSeries] = []
        for _, raw in found.answers:
            parts.append(_decode_own(raw))
            await sleep(self._reactor, 0)
        size = SLOTS_OF_STEP[asked.step]
        values = await self._quantiles(parts, size)
        for name in get_args(SeriesName):
            if name not in QUANTILES:
                rows = [part.values[name] for part in parts if name in part.values]
                values[name] = _together(rows, max if name in HIGHEST else sum, size)
                await sleep(self._reactor, 0)
        return values, found.silent

    async def _quantiles(self, parts: list[OwnSeries], size: int) -> dict[SeriesName, _Values]:
        rows = [part.histograms for part in parts if part.histograms]
        found: dict[SeriesName, _Values] = {name: [] for name in QUANTILES}
        for place in range(size):
            if place % MERGED_AT_ONCE == 0:
                await sleep(self._reactor, 0)
            pairs = added(row[place] for row in rows)
            counts = [0] * (len(BOUNDS_US) + 1)
            for bucket, count in zip(pairs[::2], pairs[1::2], strict=True):
                counts[bucket] = count
            for name, share in QUANTILES.items():
                found[name].append(quantile_ms(counts, share) if pairs else None)
        return found

    def _audience(self, node: str | None) -> Audience:
        if node is None:
            return ALL_PROCESSES
        return Boots(self._boots_of(node))

    def check_node(self, node: str) -> None:
        """Raises `RequestError` `not_found` for a node that is not registered."""
        self._boots_of(node)

    def _boots_of(self, node: str) -> list[str]:
        boots = [boot for boot, name in self._processes().items() if name == node]
        if not boots:
            raise RequestError("not_found", "no node has this name", field="node")
        return boots


def _together(
    rows: list[list[float | None]], join: Callable[[list[float]], float], size: int
) -> _Values:
    """The values of all processes as one."""
    joined: _Values = []
    for place in range(size):
        known = [value for row in rows if (value := row[place]) is not None]
        value = join(known) if known else None
        joined.append(int(value) if value is not None and value == int(value) else value)
    return joined


def _log_unanswered(failure: Failure) -> None:
    """The caller gets the error."""
    if not failure.check(StoreUnavailable):
        log.failure("Figures could not be read", failure=failure, event="observe.series_failed")


def _log_failure(failure: Failure) -> None:
    log.failure(
        "The figures of a second could not be read", failure=failure, event="observe.figures_failed"
    )
