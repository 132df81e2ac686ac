"""The metrics of what is sent: pushes and messages of chats, by their targets."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from push.chat.service import ChatService
from push.daemons.metrics.families import counters
from push.pushing.service import PushService


class MessageCollector(Collector):
    """What this process accepted."""

    def __init__(self, pushing: PushService, chat: ChatService) -> None:
        self._pushing = pushing
        self._chat = chat

    def collect(self) -> Iterator[Metric]:
        yield counters(
            "push_pushes",
            "pushes that were accepted, by their target; an item of a batch is one",
            ["to"],
            self._pushing.accepted,
        )
        yield counters(
            "push_chat_messages",
            "messages of chats that were accepted, by conversation and by sender",
            ["to", "by"],
            self._chat.messages.accepted,
        )
