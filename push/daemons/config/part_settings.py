"""What the parts are asked for: sections of the settings in the words of each part."""

from __future__ import annotations

from push.chat.settings import ChatSettings
from push.daemons.config.settings import ChatSection, Connector, Limits
from push.http.schemas import PushLimits
from push.session.server import SessionLimits


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
        messages_per_minute=chat.messages_per_minute,
        presence=chat.presence,
        direct=chat.direct,
        max_payload_bytes=limits.max_payload,
    )
