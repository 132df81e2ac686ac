"""The collectors of what every daemon has."""

from __future__ import annotations

from prometheus_client.registry import Collector

from push.daemons.config.settings import Settings
from push.daemons.domain import Domain
from push.daemons.metrics.messages import MessageCollector
from push.daemons.metrics.system import (
    BuildCollector,
    ReactorCollector,
    ReadyCollector,
    RedisCollector,
    RegistryCollector,
)
from push.daemons.metrics.webhooks import WebhookCollector
from push.daemons.process.reactor_lag import ReactorLag
from push.daemons.services.webhooks import WebhookService
from push.daemons.status import DaemonStatus


def collectors_of(
    status: DaemonStatus,
    settings: Settings,
    domain: Domain,
    lag: ReactorLag,
    webhooks: WebhookService | None,
) -> list[Collector]:
    return [
        *([] if webhooks is None else [WebhookCollector(webhooks.relay)]),
        BuildCollector(status.identity.node, status.identity.roles),
        ReadyCollector(status.problems, status.notes),
        ReactorCollector(lag),
        RedisCollector(domain.shards),
        RegistryCollector(domain.registry, "zookeeper" if settings.zookeeper.hosts else "redis"),
        MessageCollector(domain.pushing, domain.chat),
    ]
