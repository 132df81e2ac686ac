"""The HTTP client for backends: `PushAPI` blocks, `AsyncPushAPI` is for asyncio."""

from __future__ import annotations

from push.sdk.backend.client import (
    AsyncPushAPI,
    Ban,
    BanPage,
    BatchItem,
    Connection,
    ConnectionPage,
    DeliveryPage,
    DeviceDelivery,
    Kicked,
    MessageLedger,
    PushAPI,
    PushAPIError,
    PushAPIUnreachable,
    PushResult,
    Registration,
    Servers,
    Topic,
    TopicPage,
    push_item,
)

__all__ = [
    "AsyncPushAPI",
    "Ban",
    "BanPage",
    "BatchItem",
    "Connection",
    "ConnectionPage",
    "DeliveryPage",
    "DeviceDelivery",
    "Kicked",
    "MessageLedger",
    "PushAPI",
    "PushAPIError",
    "PushAPIUnreachable",
    "PushResult",
    "Registration",
    "Servers",
    "Topic",
    "TopicPage",
    "push_item",
]
