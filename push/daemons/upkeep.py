"""What every daemon does by itself, and the services that start and stop what is no service."""

from __future__ import annotations

from typing import Protocol

from twisted.application.service import Service
from twisted.internet.defer import Deferred

from push.connector.gateway import Gateway
from push.daemons.domain import Domain
from push.daemons.services.redis import load_trust_root
from push.daemons.services.webhooks import WebhookService
from push.devices.expiry import DeviceExpiry
from push.devices.outbox import OutboxRelay
from push.observe.observer import Observer
from push.redis.client import RedisClient
from push.streams.sweeper import Sweeper


class Background(Protocol):
    """Something that works by itself between a start and a stop."""

    def start(self) -> object: ...

    def stop(self) -> None: ...


def upkeep_of(domain: Domain) -> list[Background]:
    """What every daemon does by itself: for its copies of shared state, and for every server."""
    work: list[Background] = [
        domain.survey,
        domain.survey_handler,
        domain.lease,
        domain.bans,
        domain.keys,
        domain.observer,
    ]
    for server in domain.shards:
        work += _upkeep_of_server(domain, server)
    return work


def _upkeep_of_server(domain: Domain, server: RedisClient) -> list[Background]:
    limits = domain.limits
    work: list[Background] = [
        Sweeper(domain.reactor, server, limits.shared_max_age_seconds),
        DeviceExpiry(
            domain.reactor,
            server,
            domain.devices,
            domain.may_live,
            limits.device_retention_seconds,
        ),
    ]
    if len(domain.shards) > 1:
        work.append(OutboxRelay(domain.reactor, server, domain.outbox))
    return [*work, *domain.chat.upkeep(domain.reactor, server, domain.erasure)]


def make_webhooks(domain: Domain, boot: str) -> WebhookService:
    """What delivers events, in a daemon with that role."""
    webhooks = domain.limits.webhooks
    trust_root = load_trust_root(webhooks.ca_file, "webhooks")
    return WebhookService(
        domain.reactor,
        domain.shards,
        domain.webhooks.store,
        webhooks,
        boot,
        domain.may_live,
        trust_root,
    )


class BackgroundService(Service):
    """Starts and stops something that works by itself."""

    def __init__(self, work: Background) -> None:
        self._work = work

    def startService(self) -> None:
        super().startService()
        self._work.start()

    def stopService(self) -> None:
        super().stopService()
        self._work.stop()


class ObserverService(Service):
    """Stores what is observed and not stored yet, when nothing more comes."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer

    def stopService(self) -> Deferred[None]:
        super().stopService()
        return Deferred.fromCoroutine(self._observer.store_all())


class GatewayService(Service):
    """Starts and stops a connector."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def startService(self) -> None:
        super().startService()
        self._gateway.start()

    def stopService(self) -> Deferred[None]:
        super().stopService()
        return Deferred.fromCoroutine(self._gateway.stop())
