"""The parts of a process that observe, joined."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from push.cluster.survey import Survey, SurveyHandler
from push.observe.ack_latency import AckLatency
from push.observe.audit import AuditTrail
from push.observe.event_relay import EventRelay
from push.observe.events import Events
from push.observe.recent import PushEvents, RecentMessages
from push.observe.series import Figures, SeriesQueries, SeriesRecorder
from push.observe.server_times import ServerTimes
from push.observe.session_events import SessionEvents
from push.observe.timelines import Timelines
from push.redis.shards import Shards
from push.runtime.ports import Clock


class Observer:
    """What one process observes; it works by itself between `start` and `stop`.

    `boot` and `node` name the process, `processes()` all of them. `events_total`: entries of the
    timelines of all devices together.
    """

    def __init__(
        self,
        reactor: Clock,
        shards: Shards,
        survey: Survey,
        survey_handler: SurveyHandler,
        processes: Callable[[], Mapping[str, str]],
        *,
        boot: str,
        node: str,
        events_total: int,
    ) -> None:
        self.wall_clock = wall_clock = shards.first.clock
        self.node = node
        self.times = ServerTimes(reactor, shards)
        self.events = Events(reactor, wall_clock, node)
        self.relay = EventRelay(reactor, shards.first, survey, survey_handler, self.events, boot)
        self.timelines = Timelines(reactor, shards, survey, survey_handler, node, events_total)
        self.audit = AuditTrail(reactor, shards.first, wall_clock)
        self.session_events = SessionEvents(
            self.events, self.timelines, AckLatency(self.times), self.audit
        )
        self.recent = RecentMessages(reactor, shards)
        self.push_events = PushEvents(self.events, self.recent)
        self.recorder = SeriesRecorder(reactor, wall_clock, survey_handler)
        self.series = SeriesQueries(reactor, wall_clock, survey, processes)
        self.recorder.watch(Figures(gauges={"redis_ms": self._redis_ms}))

    def _redis_ms(self) -> float | None:
        """How long the slowest server took to answer last."""
        known = [each for each in self.times.answer_ms if each is not None]
        return max(known, default=None)

    def start(self) -> None:
        self.times.start()
        self.timelines.start()
        self.recent.start()
        self.recorder.start()

    def stop(self) -> None:
        self.times.stop()
        self.relay.stop()
        self.timelines.stop()
        self.recent.stop()
        self.audit.stop()
        self.recorder.stop()
        self.series.stop()

    async def store_all(self) -> None:
        """Store what waits, for the last time: nothing is noted after this."""
        await self.timelines.store_all()
        await self.recent.store_all()
        await self.audit.store_all()
