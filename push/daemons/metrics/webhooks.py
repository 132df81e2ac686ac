"""What a daemon with the role `webhooks` delivers, and what Redis counts of all of them."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from twisted.logger import Logger
from twisted.python.failure import Failure

from push.daemons.metrics.families import counters, gauges
from push.redis.connection.errors import StoreUnavailable
from push.redis.shards import Shards
from push.runtime.ports import Clock
from push.runtime.tasks import gather
from push.runtime.timers import Periodic
from push.webhooks.endpoints import EndpointStore
from push.webhooks.outbox import ServerOutbox
from push.webhooks.relay import WebhookRelay

log = Logger()

READ_SECONDS = 30.0
RESULTS = ("done", "again", "lost", "superseded")


class WebhookCollector(Collector):
    """Attempts of this process to send events, and what waits where it delivers."""

    def __init__(self, relay: WebhookRelay) -> None:
        self._relay = relay

    def collect(self) -> Iterator[Metric]:
        attempts = CounterMetricFamily(
            "push_webhook_events",
            "attempts to send an event, by how they ended: done, again (it is tried once more), "
            "lost (it is given up) or superseded (a later state is sent)",
            labels=["result"],
        )
        counts = {**dict.fromkeys(RESULTS, 0), **self._relay.shared.counts}
        for result, count in sorted(counts.items()):
            attempts.add_metric([result], count)
        yield attempts
        waiting = GaugeMetricFamily(
            "push_webhook_events_waiting",
            "events that wait for an endpoint for which this process delivers",
            labels=["endpoint"],
        )
        for endpoint, count in sorted(self._relay.waiting().items()):
            waiting.add_metric([endpoint], count)
        yield waiting


class OutboxCollector(Collector):
    """What Redis counts for the deployment: also where no daemon delivers. Read now and then."""

    def __init__(self, reactor: Clock, shards: Shards, store: EndpointStore) -> None:
        self._shards = shards
        self._store = store
        self._outboxes = [ServerOutbox(server) for server in shards]
        self._lost: dict[str, int] = {}  # by endpoint
        self._in_inbox: int | None = None  # None: not read yet
        self._reads = Periodic(reactor, READ_SECONDS, self._read, _log_failure)

    def start(self) -> None:
        self._reads.start(now=True)

    def stop(self) -> None:
        self._reads.stop()

    async def _read(self) -> None:
        if any(server.problem is not None for server in self._shards):
            return
        try:
            await self.read()
        except StoreUnavailable as error:
            log.debug(
                "Losses of webhooks were not read: {reason}",
                reason=error.reason,
                event="webhooks.losses_not_read",
            )

    async def read(self) -> None:
        """Raises `StoreUnavailable`."""
        ids = list((await self._store.read()).by_id)
        lost = await gather(outbox.lost(ids) for outbox in self._outboxes)
        in_inbox = await gather(outbox.in_inbox() for outbox in self._outboxes)
        self._lost = {id: sum(counts[index] for counts in lost) for index, id in enumerate(ids)}
        self._in_inbox = sum(in_inbox)

    def collect(self) -> Iterator[Metric]:
        yield counters(
            "push_webhook_lost",
            "events that an endpoint will not get, in all: given up, too old, or too many",
            ["endpoint"],
            self._lost,
        )
        yield gauges(
            "push_webhook_inbox_events",
            "events that were decided and that no daemon has put into an outbox yet",
            [],
            {} if self._in_inbox is None else {(): self._in_inbox},
        )


def _log_failure(failure: Failure) -> None:
    log.failure(
        "Losses of webhooks could not be read", failure, event="webhooks.reading_losses_failed"
    )
