"""What the parts are asked for: sections of the settings in the words of each part."""

from __future__ import annotations

from push.chat.settings import ChatSettings
from push.connector.limits.admission import AdmissionLimits
from push.connector.limits.connector_limits import ConnectorLimitSettings
from push.connector.limits.session_rates import Rates
from push.daemons.config.chat_section import ChatSection
from push.daemons.config.limits import Limits
from push.daemons.config.settings import Connector, Settings
from push.daemons.config.webhooks_section import WebhooksSection
from push.daemons.domain import SECONDS_PER_DAY, DomainLimits
from push.http.checks import PushLimits
from push.session.server_answers import SessionLimits
from push.streams.publisher import Retention
from push.webhooks.settings import ConfiguredEndpoint, WebhookSettings
from push.wire.addresses import Networks


def domain_limits(settings: Settings) -> DomainLimits:
    limits = settings.limits
    return DomainLimits(
        retention=Retention(
            device_max_messages=settings.connector.max_backlog,
            shared_max_messages=limits.shared_max_count,
        ),
        chat=chat_settings(settings.chat, limits),
        push=push_limits(limits),
        registrations_per_minute=limits.registrations_per_minute,
        failed_secrets_per_minute=limits.failed_secrets_per_minute,
        failed_keys_per_minute=limits.failed_keys_per_minute,
        topics_per_device=settings.topics.max_per_device,
        device_retention_seconds=limits.device_retention * SECONDS_PER_DAY,
        shared_max_age_seconds=limits.shared_max_age,
        open_registration=settings.auth.open_registration,
        bans_max=limits.bans_max,
        events_total=limits.events_total,
        webhooks=webhook_settings(settings.webhooks),
    )


def session_limits(connector: Connector) -> SessionLimits:
    return SessionLimits(
        heartbeat_seconds=connector.heartbeat,
        heartbeat_min_seconds=connector.heartbeat_min,
        heartbeat_max_seconds=connector.heartbeat_max,
        heartbeat_grace_seconds=connector.heartbeat_grace,
        handshake_timeout_seconds=connector.handshake_timeout,
        redeliver_after_seconds=connector.redeliver_after,
        window_messages=connector.window,
        max_frame_bytes=connector.max_frame,
    )


def connector_limits(settings: Settings, max_connections: int) -> ConnectorLimitSettings:
    """`max_connections`: as many as there is room for."""
    limits = settings.limits
    return ConnectorLimitSettings(
        rates=Rates(limits.frames_per_second, limits.bytes_per_second),
        admission=AdmissionLimits(
            max_connections=max_connections,
            connections_per_ip=limits.connections_per_ip,
            accepts_per_second=limits.accepts_per_second,
            exempt=Networks((*settings.connector.proxy_protocol, *settings.http.trusted_proxies)),
        ),
        connections_per_user=limits.connections_per_user,
        connects_per_minute=limits.connects_per_minute,
    )


def webhook_settings(webhooks: WebhooksSection) -> WebhookSettings:
    return WebhookSettings(
        endpoints=tuple(
            ConfiguredEndpoint(
                id=str(one.id), url=str(one.url), types=one.types, secret=str(one.secret)
            )
            for one in webhooks.endpoints
        ),
        ca_file=webhooks.ca_file,
        max_waiting=webhooks.max_waiting,
        max_age_seconds=webhooks.max_age,
        offline_after_seconds=webhooks.offline_after,
        retries_seconds=webhooks.retries,
        concurrency=webhooks.concurrency,
    )


def push_limits(limits: Limits) -> PushLimits:
    return PushLimits(
        ttl_default_seconds=limits.ttl_default,
        ttl_max_seconds=limits.ttl_max,
        max_payload_bytes=limits.max_payload,
    )


def chat_settings(chat: ChatSection, limits: Limits) -> ChatSettings:
    return ChatSettings(
        ttl_seconds=chat.ttl,
        history_days=chat.history_days,
        history_count=chat.history_count,
        history_before_join=chat.history_before_join,
        recall_seconds=chat.recall_seconds,
        group_max_members=chat.group_max_members,
        groups_per_user=chat.groups_per_user,
        messages_per_minute=chat.messages_per_minute,
        typing_per_minute=chat.typing_per_minute,
        presence_per_minute=chat.presence_per_minute,
        groups_per_minute=chat.groups_per_minute,
        create_groups=chat.create_groups,
        presence=chat.presence,
        direct=chat.direct,
        max_payload_bytes=limits.max_payload,
    )
