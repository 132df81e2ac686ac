"""The HTTP client for backends: `PushAPI` blocks, `AsyncPushAPI` is for asyncio."""

from __future__ import annotations

from push.sdk.backend.calls.base import push_item
from push.sdk.backend.client import AsyncPushAPI, PushAPI
from push.sdk.errors import PushAPIError, PushAPIUnreachable
from push.wire.api.bans import Ban, BanPage
from push.wire.api.connections import Connection, ConnectionPage, KickResult
from push.wire.api.devices import Registration, Servers
from push.wire.api.messages import DeliveryPage, DeviceDelivery, MessageLedger
from push.wire.api.operate.audit import AuditEntry, AuditPage
from push.wire.api.operate.config import Configuration
from push.wire.api.operate.events import DeviceEvent, DeviceEventPage, Event
from push.wire.api.operate.keys import Key, KeyPage, NewKey
from push.wire.api.operate.messages import RecentPage, WaitingMessage, WaitingPage
from push.wire.api.operate.series import Series
from push.wire.api.operate.webhooks import (
    Replayed,
    Webhook,
    WebhookAttempt,
    WebhookAttemptPage,
    WebhookChanged,
    WebhookMade,
    WebhookPage,
    WebhookTested,
)
from push.wire.api.operate.whoami import KeyOwner
from push.wire.api.push import BatchItem, PushResult
from push.wire.api.topics import Topic, TopicPage

__all__ = [
    "AsyncPushAPI",
    "AuditEntry",
    "AuditPage",
    "Ban",
    "BanPage",
    "BatchItem",
    "Configuration",
    "Connection",
    "ConnectionPage",
    "DeliveryPage",
    "DeviceDelivery",
    "DeviceEvent",
    "DeviceEventPage",
    "Event",
    "Key",
    "KeyOwner",
    "KeyPage",
    "KickResult",
    "MessageLedger",
    "NewKey",
    "PushAPI",
    "PushAPIError",
    "PushAPIUnreachable",
    "PushResult",
    "RecentPage",
    "Registration",
    "Replayed",
    "Series",
    "Servers",
    "Topic",
    "TopicPage",
    "WaitingMessage",
    "WaitingPage",
    "Webhook",
    "WebhookAttempt",
    "WebhookAttemptPage",
    "WebhookChanged",
    "WebhookMade",
    "WebhookPage",
    "WebhookTested",
    "push_item",
]
