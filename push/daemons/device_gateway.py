"""The gateway of a daemon with the role `connector`, on the domain that all roles share."""

from __future__ import annotations

from collections.abc import Callable

from push.access.jwt import JwtVerifier
from push.connector.gateway import Gateway
from push.connector.sessions.services import GatewayServices, GatewaySettings
from push.daemons.config.settings import Settings
from push.daemons.domain import SECONDS_PER_DAY, Domain
from push.daemons.part_settings import connector_limits, session_limits
from push.daemons.status import DaemonIdentity
from push.devices.sessions import Sessions


def make_gateway(
    settings: Settings,
    identity: DaemonIdentity,
    domain: Domain,
    verifier: JwtVerifier,
    max_connections: int,
    *,
    drain: Callable[[float], None],
    is_short_of_memory: Callable[[], bool],
) -> Gateway:
    """`drain(rate)` sends all clients elsewhere, so many a second, and then stops the daemon."""
    boot = identity.boot
    sessions = Sessions(
        domain.shards,
        domain.devices,
        domain.outbox,
        verifier,
        boot=boot,
        node=identity.node,
        retention_seconds=settings.limits.device_retention * SECONDS_PER_DAY,
        redeliver_after_seconds=settings.connector.redeliver_after,
        groups_of=domain.chat.groups.streams_of,
    )
    services = GatewayServices(
        shards=domain.shards,
        control=domain.control,
        devices=domain.devices,
        sessions=sessions,
        topics=domain.topics,
        chat=domain.chat,
        keyring=domain.keys.keyring,
        failed_keys=domain.failed_keys,
        bans=domain.bans,
        lease=domain.lease,
        snowflake=domain.snowflake,
        session_events=domain.observer.session_events,
        others=lambda carrier, ip: domain.directory.others(carrier, boot, ip),
        drain_ordered=drain,
        is_short_of_memory=is_short_of_memory,
        tracer=domain.tracer,
    )
    return Gateway(domain.reactor, services, _settings_of(settings, identity, max_connections))


def _settings_of(
    settings: Settings, identity: DaemonIdentity, max_connections: int
) -> GatewaySettings:
    return GatewaySettings(
        boot=identity.boot,
        node=identity.node,
        limits=session_limits(settings.connector),
        open_registration=settings.auth.open_registration,
        max_connections=max_connections,
        connector_limits=connector_limits(settings, max_connections),
    )
