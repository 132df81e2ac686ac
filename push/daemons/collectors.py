"""The collectors of what every daemon has."""

from __future__ import annotations

from prometheus_client.registry import Collector

from push.daemons.config.settings import Settings
from push.daemons.domain import Domain
from push.daemons.metrics.connector import BacklogCollector
from push.daemons.metrics.figures import Unacknowledged
from push.daemons.metrics.messages import MessageCollector
from push.daemons.metrics.observe import ObserverCollector
from push.daemons.metrics.system import (
    BuildCollector,
    ReactorCollector,
    ReadyCollector,
    RedisCollector,
    RegistryCollector,
)
from push.daemons.metrics.webhooks import OutboxCollector, WebhookCollector
from push.daemons.process.reactor_lag import ReactorLag
from push.daemons.services.webhooks import WebhookService
from push.daemons.status import DaemonIdentity, DaemonStatus


def collectors_of(
    identity: DaemonIdentity,
    settings: Settings,
    domain: Domain,
    status: DaemonStatus,
    lag: ReactorLag,
    backlog: Unacknowledged | None,
    webhooks: WebhookService | None,
    outboxes: OutboxCollector | None,
) -> list[Collector]:
    """`backlog`: of a connector."""
    found: list[Collector] = [
        *([] if backlog is None else [BacklogCollector(lambda: backlog.count)]),
        BuildCollector(identity.node, identity.roles),
        ReadyCollector(status.problems, status.notes),
        ReactorCollector(lag),
        RedisCollector(domain.shards),
        RegistryCollector(domain.registry, "zookeeper" if settings.zookeeper.hosts else "redis"),
        MessageCollector(domain.pushing, domain.chat),
        ObserverCollector(domain.observer),
    ]
    if webhooks is not None:
        found.append(WebhookCollector(webhooks.relay))
    if outboxes is not None:
        found.append(outboxes)
    return found
