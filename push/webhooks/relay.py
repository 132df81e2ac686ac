"""What a daemon with the role `webhooks` does: it delivers what is in the outboxes."""

from __future__ import annotations

from collections import Counter
from functools import partial

from twisted.logger import Logger
from twisted.python.failure import Failure

from push.redis.connection.errors import StoreUnavailable
from push.redis.shards import Shards
from push.runtime.tasks import gather
from push.runtime.timers import Periodic, SingleFlight
from push.webhooks.endpoints import Endpoints
from push.webhooks.outbox import CHANNEL, ServerOutbox
from push.webhooks.worker import Delivering, EndpointWorker

log = Logger()

LOOK_SECONDS = 1.0
TRIM_SECONDS = 60.0
STOP_SECONDS = 5.0  # for what is on its way at a stop


class WebhookRelay:
    """Has a worker for each endpoint and server. A worker without the lease waits for it."""

    def __init__(self, shared: Delivering, shards: Shards) -> None:
        self.shared = shared
        self._shards = shards
        self._outboxes = [ServerOutbox(server) for server in shards]
        self._workers: dict[tuple[int, str], EndpointWorker] = {}
        self._known = Endpoints(-1, {})
        self._published: dict[int, int] = {}  # version, by server
        self._is_adopted = False
        self._turns = SingleFlight(self._turn, _log_failure)
        self._looks = Periodic(shared.reactor, LOOK_SECONDS, self._turns.request, _log_failure)
        self._trims = Periodic(shared.reactor, TRIM_SECONDS, self._trim, _log_failure)
        shards.on_restored(self._published.clear)

    def start(self) -> None:
        for number, server in enumerate(self._shards):
            subscribing = server.channels.subscribe(CHANNEL, partial(self._notified, number))
            subscribing.addErrback(lambda _: None)  # the look of every second remains
        self._looks.start(now=True)
        self._trims.start()

    async def stop(self) -> None:
        """Ends what is on its way within some seconds, and gives the leases up."""
        self._looks.stop()
        self._trims.stop()
        self._turns.cancel()
        for server in self._shards:
            server.channels.unsubscribe(CHANNEL)
        workers, self._workers = list(self._workers.values()), {}
        await gather(worker.stop(STOP_SECONDS) for worker in workers)
        self.shared.failing_turns.stop()
        await self.shared.sender.stop()

    def waiting(self) -> dict[str, int]:
        """How many events wait, by endpoint, for those for which this process delivers."""
        waiting: Counter[str] = Counter()
        for (_, id), worker in self._workers.items():
            waiting[id] += worker.waiting
        return dict(waiting)

    def _notified(self, number: int, _payload: bytes) -> None:
        """Something is due on a server."""
        for (server, _), worker in self._workers.items():
            if server == number:
                worker.look()

    async def _turn(self) -> None:
        if self._shards.first.problem is not None:
            return
        store = self.shared.store
        try:
            if not self._is_adopted:
                await store.adopt()
                self._is_adopted = True
            self._known = await store.read()
        except StoreUnavailable as error:
            log.debug(
                "Endpoints were not read: {reason}", reason=error.reason, event="webhooks.not_read"
            )
            return
        await gather(self._publish(number) for number in range(len(self._shards)))
        await self._update_workers()

    async def _publish(self, number: int) -> None:
        """A server that missed a change, or is new, gets it now."""
        if self._published.get(number) == self._known.version:
            return
        try:
            await self.shared.store.publish_to(number, self._known)
        except StoreUnavailable as error:
            log.debug(
                "The table of wanted events was not written; tried again: {reason}",
                reason=error.reason,
                event="webhooks.not_published",
            )
        else:
            self._published[number] = self._known.version

    async def _update_workers(self) -> None:
        enabled = {id: one for id, one in self._known.by_id.items() if one.enabled}
        wanted = {(number, id) for number in range(len(self._shards)) for id in enabled}
        ended = [self._workers.pop(key) for key in self._workers.keys() - wanted]
        for number, id in wanted - self._workers.keys():
            outbox = self._outboxes[number]
            self._workers[number, id] = EndpointWorker(self.shared, outbox, enabled[id])
        for (number, id), worker in self._workers.items():
            worker.endpoint = enabled[id]
            if self._shards[number].problem is None:
                worker.look()
        await gather(worker.stop(STOP_SECONDS) for worker in ended)

    async def _trim(self) -> None:
        for outbox in self._outboxes:
            try:
                await outbox.forget_gone()
                await outbox.trim(self._known.by_id, self.shared.settings.max_age_seconds)
            except StoreUnavailable as error:
                log.debug(
                    "Old events were not removed; tried again: {reason}",
                    reason=error.reason,
                    event="webhooks.not_trimmed",
                )


def _log_failure(failure: Failure) -> None:
    log.failure("The outboxes of webhooks could not be served", failure, event="webhooks.failed")
