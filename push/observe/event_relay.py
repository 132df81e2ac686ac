"""Events of all processes for those who look at one of them.

A process that somebody looks at asks all processes for events, by the cluster's survey, again every
five seconds. They send what is wanted in batches, five a second, on a channel of that process, and
stop when they have not been asked for fifteen seconds. So nobody sends anything that nobody wants,
and what a process sends for one listener is bounded where it happens.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable

import msgspec
from twisted.logger import Logger
from twisted.python.failure import Failure

from push.cluster.survey import ALL_PROCESSES, Survey, SurveyHandler
from push.observe.events import EventFilter, EventListener, Events, Sample, SampledEvent
from push.redis.client import RedisClient
from push.redis.connection.errors import StoreUnavailable
from push.redis.connection.subscribed_channels import subscribed_in_time
from push.runtime.ports import Clock
from push.runtime.tasks import TaskGroup
from push.runtime.timers import Debounced, Periodic, SingleFlight
from push.wire.errors import RequestError

log = Logger()

QUESTION = "listen-for-events"
ASK_AGAIN_SECONDS = 5.0
FORGOTTEN_AFTER_SECONDS = 15.0
BATCH_SECONDS = 0.2
MAX_FOLLOWERS = 32  # on one process
MAX_REMOTE_LISTENERS = 256  # of all other processes

_encode = msgspec.json.Encoder().encode


class WantedEvents(msgspec.Struct, frozen=True):
    """All that process `boot` wants, by the name that it gives each follower."""

    boot: str
    wanted: dict[str, EventFilter]


class EventBatch(msgspec.Struct):
    """What happened on one node: for each follower its events, and how many were left out."""

    node: str
    events: dict[str, list[SampledEvent]] = {}
    skipped: dict[str, int] = {}


_decode_wanted = msgspec.json.Decoder(WantedEvents).decode
_decode_batch = msgspec.json.Decoder(EventBatch).decode


class EventFollower:
    """Somebody who looks at this process. `take` gets events as they come, at most as many a second
    as one client may."""

    def __init__(self, wanted: EventFilter, take: Callable[[SampledEvent], None]) -> None:
        self.id = secrets.token_hex(4)
        self.wanted = wanted
        self.silent: list[str] = []  # nodes whose events do not come
        self.sample = Sample()
        self.listener = EventListener(wanted, take)
        self._take = take

    def take_skipped(self) -> int:
        """How many events were left out since this was called last."""
        skipped = self.sample.skipped + self.listener.sample.skipped
        self.sample.skipped = self.listener.sample.skipped = 0
        return skipped

    def offer(self, sampled: SampledEvent, now: float) -> None:
        if self.sample.takes(sampled.kind, now):
            self._take(sampled)


class _Remote:
    """A listener of another process, and what waits to be sent to it."""

    def __init__(self, boot: str, wanted: EventFilter) -> None:
        self.boot = boot
        self.waiting: list[SampledEvent] = []
        self.listener = EventListener(wanted, self.waiting.append)
        self.asked_at = 0.0


class EventRelay:
    """`boot`: this process."""

    def __init__(
        self,
        reactor: Clock,
        server: RedisClient,
        survey: Survey,
        survey_handler: SurveyHandler,
        events: Events,
        boot: str,
    ) -> None:
        self._reactor = reactor
        self._server = server
        self._survey = survey
        self._events = events
        self._boot = boot
        self._followers: dict[str, EventFollower] = {}
        self._remotes: dict[tuple[str, str], _Remote] = {}
        self._jobs = TaskGroup()
        self._asking = Periodic(reactor, ASK_AGAIN_SECONDS, self._ask, _log_failure)
        self._told = SingleFlight(self._ask, _log_failure)
        self._sending = Debounced(reactor, BATCH_SECONDS, self._send_all)
        survey_handler.handle(QUESTION, self._listen)

    def stop(self) -> None:
        if self._asking.is_started:
            self._asking.stop()
        self._told.cancel()
        self._sending.cancel()
        self._jobs.cancel()

    # For those who look at this process

    async def follow(self, follower: EventFollower) -> None:
        """Events come from now on. Raises `StoreUnavailable`; `RequestError` `unavailable` when too
        many follow already."""
        if len(self._followers) >= MAX_FOLLOWERS:
            what = f"{MAX_FOLLOWERS} clients follow the events of this process already"
            raise RequestError("unavailable", what, after_seconds=10)
        self._followers[follower.id] = follower
        follower.listener.take = lambda sampled: follower.offer(sampled, self._reactor.seconds())
        self._events.add(follower.listener)
        try:
            subscribed = self._server.channels.subscribe(
                self._channel_of(self._boot), self._receive
            )
            await subscribed_in_time(subscribed, self._server.timeout_seconds, self._reactor)
            await self._told.run()
        except BaseException:
            self.unfollow(follower)
            raise
        if self._followers and not self._asking.is_started:
            self._asking.start()

    def unfollow(self, follower: EventFollower) -> None:
        """May be called twice."""
        if self._followers.pop(follower.id, None) is None:
            return
        self._events.remove(follower.listener)
        if not self._followers:
            if self._asking.is_started:
                self._asking.stop()
            self._server.channels.unsubscribe(self._channel_of(self._boot))
        self._told.request()

    async def _ask(self) -> None:
        wanted = {id: follower.wanted for id, follower in self._followers.items()}
        asked = await self._survey.ask(QUESTION, WantedEvents(self._boot, wanted), ALL_PROCESSES)
        for follower in self._followers.values():
            node = follower.wanted.node
            follower.silent = [each for each in asked.silent if node in ("", each)]

    def _receive(self, payload: bytes) -> None:
        try:
            batch = _decode_batch(payload)
        except (msgspec.DecodeError, RecursionError):
            log.warn(
                "A batch of events could not be read: {payload!r}",
                payload=payload[:200],
                event="observe.batch_unreadable",
            )
            return
        now = self._reactor.seconds()
        for id, events in batch.events.items():
            follower = self._followers.get(id)
            if follower is not None:
                for sampled in events:
                    follower.offer(sampled, now)
        for id, count in batch.skipped.items():
            if id in self._followers:
                self._followers[id].sample.skipped += count

    # For the others

    async def _listen(self, raw: bytes) -> None:
        asked = _decode_wanted(raw)
        if asked.boot == self._boot:
            return  # its own listeners are asked directly
        for key in [key for key in self._remotes if key[0] == asked.boot]:
            if key[1] not in asked.wanted:
                self._forget(key)
        now = self._reactor.seconds()
        for id, wanted in asked.wanted.items():
            key = asked.boot, id
            if key not in self._remotes:
                if len(self._remotes) >= MAX_REMOTE_LISTENERS:
                    raise RuntimeError("too many listen for events")
                remote = self._remotes[key] = _Remote(asked.boot, wanted)
                self._events.add(remote.listener)
            self._remotes[key].asked_at = now
        if self._remotes:
            self._sending.request()

    def _forget(self, key: tuple[str, str]) -> None:
        remote = self._remotes.pop(key)
        self._events.remove(remote.listener)

    def _send_all(self) -> None:
        forgotten = self._reactor.seconds() - FORGOTTEN_AFTER_SECONDS
        for key in [key for key, each in self._remotes.items() if each.asked_at < forgotten]:
            self._forget(key)
        batches: dict[str, EventBatch] = {}
        for (boot, id), remote in self._remotes.items():
            sample = remote.listener.sample
            if not remote.waiting and not sample.skipped:
                continue
            batch = batches.setdefault(boot, EventBatch(self._events.node, {}, {}))
            if remote.waiting:
                batch.events[id] = list(remote.waiting)
                remote.waiting.clear()
            if sample.skipped:
                batch.skipped[id], sample.skipped = sample.skipped, 0
        for boot, batch in batches.items():
            self._jobs.run(self._send(boot, batch), _log_failure)
        if self._remotes:
            self._sending.request()

    async def _send(self, boot: str, batch: EventBatch) -> None:
        channel = self._server.channel(self._channel_of(boot))
        try:
            await self._server.command("PUBLISH", channel, _encode(batch))
        except StoreUnavailable as error:
            log.debug(
                "Events were not sent: {reason}",
                reason=error.reason,
                event="observe.events_not_sent",
            )

    @staticmethod
    def _channel_of(boot: str) -> str:
        return f"events:{boot}"


def _log_failure(failure: Failure) -> None:
    if not failure.check(StoreUnavailable):
        log.failure(
            "Events of other processes could not be asked for",
            failure=failure,
            event="observe.listening_failed",
        )
