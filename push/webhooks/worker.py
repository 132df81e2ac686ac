"""Delivers the outbox of one Redis server to one endpoint.

One process does this at a time, which has the lease. Events of one source go one after the other,
those of several sources beside each other. What is on its way stays due in the outbox: a process
that is killed leaves nothing behind, and the next begins with the same, in the same order.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Callable

from twisted.logger import Logger
from twisted.python.failure import Failure

from push.redis.connection.errors import StoreUnavailable
from push.runtime.owner_queue import PacedTurns
from push.runtime.ports import Clock
from push.runtime.tasks import Semaphore, TaskGroup
from push.runtime.timers import Debounced, SingleFlight, sleep
from push.webhooks.endpoints import GONE, EndpointStore, WebhookEndpoint
from push.webhooks.events import OutboxEvent
from push.webhooks.outbox import AttemptOutcome, Claimed, ServerOutbox
from push.webhooks.sender import Answer, EventSender
from push.webhooks.settings import WebhookSettings
from push.webhooks.signing import signed_headers

log = Logger()

LEASE_SECONDS = 10.0
# Before the lease ends nothing new is begun: another process may begin then.
LEASE_MARGIN_SECONDS = 2.0
EVENTS_PER_LOOK = 100
LONGEST_WAIT_SECONDS = 60.0
JITTER = 0.2  # a retry comes up to so much later
FINISH_TRIES = 5
# Attempts of all endpoints that fail: where nobody answers each costs a new connection, and there
# may be a thousand events a second. An endpoint that succeeds has no limit.
FAILING_PER_SECOND = 20
FAILING_AT_ONCE = 50

_GONE = 410


class Delivering:
    """What all workers of a process share. `now_s()`: seconds since 1970 UTC."""

    def __init__(
        self,
        reactor: Clock,
        store: EndpointStore,
        sender: EventSender,
        settings: WebhookSettings,
        boot: str,
        now_s: Callable[[], float],
        random: random.Random,
    ) -> None:
        self.reactor = reactor
        self.store = store
        self.sender = sender
        self.settings = settings
        self.boot = boot
        self.now_s = now_s
        self.random = random
        # Attempts of endpoints whose last one failed; each worker has one in turn.
        self.failing_turns = PacedTurns(reactor, FAILING_PER_SECOND, FAILING_AT_ONCE)
        self.counts: Counter[str] = Counter()  # attempts and losses, by how they ended


class EndpointWorker:
    """`endpoint` is replaced when it changes; `look()` when something may be due."""

    def __init__(self, shared: Delivering, outbox: ServerOutbox, endpoint: WebhookEndpoint) -> None:
        self.endpoint = endpoint
        self.waiting = 0  # as of the last look; 0 where another process delivers
        self._shared = shared
        self._outbox = outbox
        self._sources: dict[str, deque[OutboxEvent]] = {}
        self._active: set[str] = set()
        self._turns = Semaphore(shared.settings.concurrency)
        self._tasks = TaskGroup()
        self._looks = SingleFlight(self._look, self._failed)
        self._next = Debounced(shared.reactor, 0.0, self.look)
        self._begins_until = 0.0
        self._paused_until = 0.0  # as the endpoint has asked; Redis knows it a little later
        self._has_more = False  # than the last look has found
        self._stopped = False

    def look(self) -> None:
        if not self._stopped:
            self._looks.request()

    async def stop(self, patience_seconds: float) -> None:
        """What is on its way may end; then another process may begin."""
        self._stopped = True
        self._next.cancel()
        self._forget_waiting()
        self._shared.failing_turns.end_waiting(self)
        ended = self._tasks.finished()
        late = self._shared.reactor.callLater(patience_seconds, self._tasks.cancel)
        await ended
        if late.active():
            late.cancel()
        self._looks.cancel()
        try:
            await self._outbox.release(self.endpoint.id, self._shared.boot)
        except StoreUnavailable as error:
            log.debug(
                "A lease was not released and expires by itself: {reason}",
                reason=error.reason,
                event="webhook.lease_kept",
            )

    async def _look(self) -> None:
        shared = self._shared
        asked = shared.reactor.seconds()
        limit = EVENTS_PER_LOOK + len(self._active)
        found = await self._outbox.claim(
            self.endpoint.id,
            shared.boot,
            int(LEASE_SECONDS * 1000),
            limit,
            shared.settings.max_age_seconds,
        )
        if self._stopped:
            return
        if found is None:
            self._begins_until, self.waiting = 0.0, 0
            return
        self._begins_until = asked + LEASE_SECONDS - LEASE_MARGIN_SECONDS
        self.waiting = found.waiting
        self._has_more = len(found.events) == limit
        shared.counts["lost"] += found.expired
        self._take(found)

    def _take(self, found: Claimed) -> None:
        for event in found.events:
            if event.id in self._active:
                continue
            self._active.add(event.id)
            if event.source in self._sources:
                self._sources[event.source].append(event)
            else:
                self._sources[event.source] = deque([event])
                self._tasks.run(self._deliver_all(event.source), self._failed)
        if found.next_ms is not None:
            after_seconds = max(0.0, (found.next_ms - self._outbox.now_ms()) / 1000)
            self._next.request_within(min(after_seconds + 0.001, LONGEST_WAIT_SECONDS))

    def _may_begin(self) -> bool:
        may = self._paused_until <= self._shared.reactor.seconds() < self._begins_until
        return may and not self._stopped and self.endpoint.enabled

    async def _deliver_all(self, source: str) -> None:
        """The events of one source, in their order."""
        queue = self._sources[source]
        try:
            while queue:
                async with self._turns:
                    if queue and self._may_begin() and self.endpoint.failing_since is not None:
                        await self._shared.failing_turns.turn(self)
                    if queue and self._may_begin():
                        await self._deliver(queue[0])
                    else:
                        self._forget_waiting(source)
                if queue:
                    self._active.discard(queue.popleft().id)
        finally:
            self._active.difference_update(event.id for event in queue)
            del self._sources[source]
        if self._has_more and self._may_begin() and len(self._active) < EVENTS_PER_LOOK // 2:
            self.look()

    def _forget_waiting(self, source: str | None = None) -> None:
        """What was not begun stays in the outbox. (The first of each source may be on its way.)"""
        for name, queue in self._sources.items():
            keep = 0 if name == source else 1
            while len(queue) > keep:
                self._active.discard(queue.pop().id)

    async def _deliver(self, event: OutboxEvent) -> None:
        shared, endpoint = self._shared, self.endpoint
        body = event.body()
        now_s = int(shared.now_s())
        headers = signed_headers(event.id, now_s, body, endpoint.valid_secrets(now_s * 1000))
        if event.trace:
            headers["traceparent"] = event.trace
        began = shared.reactor.seconds()
        answer = await shared.sender.send(
            endpoint.url, headers, body, public=not endpoint.is_configured
        )
        took_ms = round((shared.reactor.seconds() - began) * 1000)
        outcome = self._outcome_of(event, answer, took_ms)
        if outcome.pause_ms:
            until = shared.reactor.seconds() + outcome.pause_ms / 1000
            self._paused_until = max(self._paused_until, until)
        ended, is_replayed = await self._finish(event, outcome)
        shared.counts[ended] += 1
        if is_replayed:
            self._has_more = True  # a look during the attempt has passed it over
        await self._note(answer)

    def _outcome_of(self, event: OutboxEvent, answer: Answer, took_ms: int) -> AttemptOutcome:
        if answer.is_success:
            return AttemptOutcome("done", answer.status, "", took_ms)
        if event.failed >= len(self._shared.settings.retries_seconds) and answer.status != _GONE:
            return AttemptOutcome("lost", answer.status, answer.error, took_ms)
        pause_seconds = answer.retry_after_seconds or 0  # of the endpoint, for all its events
        seconds = max(self._seconds_to_next_try(event), pause_seconds)
        due_ms = self._outbox.now_ms() + round(seconds * 1000)
        return AttemptOutcome(
            "again", answer.status, answer.error, took_ms, due_ms, pause_seconds * 1000
        )

    def _seconds_to_next_try(self, event: OutboxEvent) -> float:
        """By how often it failed; a little more, so that not all events come at once."""
        retries = self._shared.settings.retries_seconds
        delay = retries[min(event.failed, len(retries) - 1)] if retries else 0
        return delay * (1 + self._shared.random.random() * JITTER)

    async def _finish(self, event: OutboxEvent, outcome: AttemptOutcome) -> tuple[str, bool]:
        """Tried for a while: what is not stored would be sent again."""
        for _ in range(FINISH_TRIES):
            try:
                return await self._outbox.finish(self.endpoint.id, event, outcome)
            except StoreUnavailable as error:
                log.debug(
                    "An attempt was not stored: {reason}",
                    reason=error.reason,
                    event="webhook.attempt_not_stored",
                )
                await sleep(self._shared.reactor, 1.0)
        return "unknown", False

    async def _note(self, answer: Answer) -> None:
        """What the attempt says of the endpoint."""
        store, id = self._shared.store, self.endpoint.id
        try:
            if answer.is_success:
                if self.endpoint.failing_since is None:
                    return
                changed = await store.note_success(id)
            elif answer.status == _GONE:
                changed = await store.disable(id, GONE)
            else:
                changed = await store.note_failure(id)
        except StoreUnavailable as error:
            log.debug(
                "An endpoint was not changed: {reason}",
                reason=error.reason,
                event="webhook.not_changed",
            )
            return
        if changed is None:
            return
        if self.endpoint.enabled and not changed.enabled:
            reason = changed.disabled
            log.warn(
                "Webhook {id} is disabled: {reason}", id=id, reason=reason, event="webhook.disabled"
            )
        elif self.endpoint.failing_since is None and changed.failing_since is not None:
            said = answer.error or f"status {answer.status}"
            log.warn("Webhook {id} fails: {reason}", id=id, reason=said, event="webhook.fails")
        elif self.endpoint.failing_since is not None and changed.failing_since is None:
            log.info("Webhook {id} succeeds again", id=id, event="webhook.succeeds")
            self._shared.failing_turns.end_waiting(self)
        self.endpoint = changed

    def _failed(self, failure: Failure) -> None:
        error = failure.value
        if isinstance(error, StoreUnavailable):
            log.debug(
                "Events are not delivered yet; tried again: {reason}",
                reason=error.reason,
                event="webhook.waits",
            )
        else:
            log.failure("Events could not be delivered", failure, event="webhook.delivery_failed")
