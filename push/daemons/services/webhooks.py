"""Delivers webhooks, in a daemon that has the role."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from twisted.application.service import Service
from twisted.internet.defer import Deferred

from push.redis.shards import Shards
from push.runtime.ports import Reactor, TrustRoot
from push.webhooks.endpoints import EndpointStore
from push.webhooks.presence import PresenceWatch
from push.webhooks.relay import WebhookRelay
from push.webhooks.sender import EventSender
from push.webhooks.settings import WebhookSettings
from push.webhooks.worker import Delivering


class WebhookService(Service):
    """Starts and stops the delivery of events."""

    def __init__(
        self,
        reactor: Reactor,
        shards: Shards,
        store: EndpointStore,
        settings: WebhookSettings,
        boot: str,
        may_live: Callable[[str], bool],
        trust_root: TrustRoot | None = None,
    ) -> None:
        """`may_live(boot)`: the connector with that boot id may be there."""
        sender = EventSender(
            reactor, settings.timeout_seconds, settings.concurrency, time.time, trust_root
        )
        shared = Delivering(
            reactor, store, sender, settings, boot, time.time, random.SystemRandom()
        )
        self.relay = WebhookRelay(shared, shards)
        self._presence = [PresenceWatch(reactor, server, may_live) for server in shards]

    def startService(self) -> None:
        super().startService()
        self.relay.start()
        for watch in self._presence:
            watch.start()

    def stopService(self) -> Deferred[None]:
        super().stopService()
        for watch in self._presence:
            watch.stop()
        return Deferred.fromCoroutine(self.relay.stop())
