"""The HTTP client for backends: `PushAPI` blocks, `AsyncPushAPI` is for asyncio.

Both have the same methods, built from `push.sdk.backend.calls.base` and the other modules of calls.
Connections are kept alive: make one and keep it. A call that may be sent twice is retried, see
`push.sdk.backend.exchange`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from push.sdk.backend.calls import bans as ban_calls
from push.sdk.backend.calls import base as calls
from push.sdk.backend.calls import chat as chat_calls
from push.sdk.backend.calls import cluster as cluster_calls
from push.sdk.backend.calls import keys as key_calls
from push.sdk.backend.calls import observe as observe_calls
from push.sdk.backend.calls import topics as topic_calls
from push.sdk.backend.calls import webhooks as webhook_calls
from push.sdk.backend.calls.base import ApiCall
from push.sdk.backend.event_stream import follow, follow_async
from push.sdk.backend.exchange import (
    REFUSED_BY_HTTPX,
    RETRIES,
    TIMEOUT_SECONDS,
    BaseAPI,
    Outcome,
)
from push.sdk.backend.lines import AsyncLines, Lines
from push.sdk.backend.methods import awaited, blocking
from push.sdk.chat_types import Conversation, Member
from push.wire.api.bans import Ban
from push.wire.api.common import MAX_PAGE
from push.wire.api.connections import Connection
from push.wire.api.messages import DeviceDelivery
from push.wire.api.operate.events import Event
from push.wire.api.operate.keys import Key
from push.wire.api.operate.webhooks import Webhook, WebhookAttempt
from push.wire.api.topics import Topic

T = TypeVar("T")


class PushAPI(BaseAPI):
    """The blocking client; may be shared by threads, and used on both sides of a `fork()`.

    Raises `PushAPIError` for what the API answers, `PushAPIUnreachable` when nothing came,
    `InvalidData` for what cannot be sent, `ClientClosed` after `close()`.
    """

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        ca_file: str | None = None,
        timeout: float | None = TIMEOUT_SECONDS,
        retries: int = RETRIES,
    ) -> None:
        """`timeout`: seconds for each step of an attempt."""
        super().__init__(url, key, ca_file=ca_file, timeout=timeout, retries=retries)
        self._lines = Lines(lambda: httpx.Client(**self._line_options))

    def send(self, call: ApiCall[T]) -> T:
        """Run one call."""
        request = self._request(call)
        attempt = 0
        while True:
            outcome: Outcome
            try:
                with self._lines.lend() as line:
                    outcome = line.request(**request)
            except httpx.HTTPError as error:
                outcome = error
            except REFUSED_BY_HTTPX as error:
                raise self._unsendable(call, error) from None
            delay = self._retry_delay(call, attempt, outcome)
            if delay is None:
                return self._result_of(call, outcome)
            time.sleep(delay)
            attempt += 1

    def _rows(
        self, ask: Callable[..., Any], rows: str, *names: str, **filters: str
    ) -> Iterator[Any]:
        """What a list has, page by page."""
        cursor: str | None = None
        while True:
            page = ask(*names, cursor=cursor, limit=MAX_PAGE, **filters)
            yield from getattr(page, rows)
            cursor = page.cursor
            if cursor is None:
                return

    def each_message_device(self, message_id: str) -> Iterator[DeviceDelivery]:
        """What became of a message at each device, all pages; a request for each 200."""
        return self._rows(self.message_devices, "devices", message_id)

    def each_connection(self, **filters: str) -> Iterator[Connection]:
        """Live sessions, all pages, see `connections`. What silent nodes have is not among them."""
        return self._rows(self.connections, "connections", **filters)

    def each_ban(self) -> Iterator[Ban]:
        """The bans that hold, all pages."""
        return self._rows(self.bans, "bans")

    def each_key(self) -> Iterator[Key]:
        """The API keys that are valid, all pages."""
        return self._rows(self.keys, "keys")

    def each_topic(self) -> Iterator[Topic]:
        """The topics that devices follow, all pages."""
        return self._rows(self.topics, "topics")

    def each_member(self, group: str) -> Iterator[Member]:
        """The members of a group, all pages."""
        return self._rows(self.members, "members", group)

    def each_conversation(self, user: str) -> Iterator[Conversation]:
        """The conversations of a user, all pages."""
        return self._rows(self.conversations, "conversations", user)

    def events(self, *, kinds: Sequence[str] = (), **filters: str) -> Generator[Event, None, None]:
        """What happens from now on, as it happens; `kinds`, `user`, `token`, `node`: only these.
        It goes on until it is closed; raises `PushAPIUnreachable` when the connection is lost."""
        return follow(self, observe_calls.event_params(kinds, **filters))

    def each_webhook(self) -> Iterator[Webhook]:
        """The endpoints to which events are sent, all pages."""
        return self._rows(self.webhooks, "webhooks")

    def each_webhook_attempt(self, id: str) -> Iterator[WebhookAttempt]:
        """What became of attempts to send events to an endpoint, all pages."""
        return self._rows(self.webhook_attempts, "attempts", id)

    def close(self) -> None:
        self._lines.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    push = blocking(calls.push)
    push_batch = blocking(calls.push_batch)
    message = blocking(calls.message)
    message_devices = blocking(calls.message_devices)
    cancel = blocking(calls.cancel)
    device = blocking(calls.device)
    forget = blocking(calls.forget)
    bind = blocking(calls.bind)
    unbind = blocking(calls.unbind)
    stats = blocking(calls.stats)
    series = blocking(observe_calls.series)
    device_events = blocking(observe_calls.device_events)
    waiting_messages = blocking(observe_calls.waiting_messages)
    recent_messages = blocking(observe_calls.recent_messages)
    audit = blocking(observe_calls.audit)
    configuration = blocking(observe_calls.configuration)
    drain = blocking(cluster_calls.drain)
    connections = blocking(cluster_calls.connections)
    kick_session = blocking(cluster_calls.kick_session)
    kick_device = blocking(cluster_calls.kick_device)
    kick_user = blocking(cluster_calls.kick_user)
    kick_ip = blocking(cluster_calls.kick_ip)
    user = blocking(cluster_calls.user)
    erase_user = blocking(cluster_calls.erase_user)
    nodes = blocking(cluster_calls.nodes)
    subscribe = blocking(topic_calls.subscribe)
    unsubscribe = blocking(topic_calls.unsubscribe)
    topic = blocking(topic_calls.topic)
    topics = blocking(topic_calls.topics)
    ban = blocking(ban_calls.ban)
    unban = blocking(ban_calls.unban)
    bans = blocking(ban_calls.bans)
    whoami = blocking(key_calls.whoami)
    keys = blocking(key_calls.keys)
    make_key = blocking(key_calls.make_key)
    revoke_key = blocking(key_calls.revoke_key)
    create_group = blocking(chat_calls.create_group)
    group = blocking(chat_calls.group)
    change_group = blocking(chat_calls.change_group)
    dismiss_group = blocking(chat_calls.dismiss_group)
    members = blocking(chat_calls.members)
    add_members = blocking(chat_calls.add_members)
    change_member = blocking(chat_calls.change_member)
    remove_member = blocking(chat_calls.remove_member)
    send_to_group = blocking(chat_calls.send_to_group)
    send_to_user = blocking(chat_calls.send_to_user)
    group_history = blocking(chat_calls.group_history)
    conversations = blocking(chat_calls.conversations)
    history = blocking(chat_calls.history)
    set_positions = blocking(chat_calls.set_positions)
    recall = blocking(chat_calls.recall)
    servers = blocking(calls.servers)
    register_device = blocking(calls.register_device)
    webhooks = blocking(webhook_calls.webhooks)
    create_webhook = blocking(webhook_calls.create_webhook)
    webhook = blocking(webhook_calls.webhook)
    change_webhook = blocking(webhook_calls.change_webhook)
    delete_webhook = blocking(webhook_calls.delete_webhook)
    webhook_attempts = blocking(webhook_calls.webhook_attempts)
    replay_webhook = blocking(webhook_calls.replay_webhook)
    test_webhook = blocking(webhook_calls.test_webhook)


class AsyncPushAPI(BaseAPI):
    """The same for asyncio."""

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        ca_file: str | None = None,
        timeout: float | None = TIMEOUT_SECONDS,
        retries: int = RETRIES,
    ) -> None:
        """`timeout`: seconds for each step of an attempt."""
        super().__init__(url, key, ca_file=ca_file, timeout=timeout, retries=retries)
        self._lines = AsyncLines(lambda: httpx.AsyncClient(**self._line_options))

    async def send(self, call: ApiCall[T]) -> T:
        """Run one call."""
        request = self._request(call)
        attempt = 0
        while True:
            outcome: Outcome
            try:
                async with self._lines.lend() as line:
                    outcome = await line.request(**request)
            except httpx.HTTPError as error:
                outcome = error
            except REFUSED_BY_HTTPX as error:
                raise self._unsendable(call, error) from None
            delay = self._retry_delay(call, attempt, outcome)
            if delay is None:
                return self._result_of(call, outcome)
            await asyncio.sleep(delay)
            attempt += 1

    async def _rows(
        self, ask: Callable[..., Any], rows: str, *names: str, **filters: str
    ) -> AsyncIterator[Any]:
        """What a list has, page by page."""
        cursor: str | None = None
        while True:
            page = await ask(*names, cursor=cursor, limit=MAX_PAGE, **filters)
            for row in getattr(page, rows):
                yield row
            cursor = page.cursor
            if cursor is None:
                return

    def each_message_device(self, message_id: str) -> AsyncIterator[DeviceDelivery]:
        """What became of a message at each device, all pages; a request for each 200."""
        return self._rows(self.message_devices, "devices", message_id)

    def each_connection(self, **filters: str) -> AsyncIterator[Connection]:
        """Live sessions, all pages, see `connections`. What silent nodes have is not among them."""
        return self._rows(self.connections, "connections", **filters)

    def each_ban(self) -> AsyncIterator[Ban]:
        """The bans that hold, all pages."""
        return self._rows(self.bans, "bans")

    def each_key(self) -> AsyncIterator[Key]:
        """The API keys that are valid, all pages."""
        return self._rows(self.keys, "keys")

    def each_topic(self) -> AsyncIterator[Topic]:
        """The topics that devices follow, all pages."""
        return self._rows(self.topics, "topics")

    def each_member(self, group: str) -> AsyncIterator[Member]:
        """The members of a group, all pages."""
        return self._rows(self.members, "members", group)

    def each_conversation(self, user: str) -> AsyncIterator[Conversation]:
        """The conversations of a user, all pages."""
        return self._rows(self.conversations, "conversations", user)

    def events(self, *, kinds: Sequence[str] = (), **filters: str) -> AsyncGenerator[Event, None]:
        """What happens from now on, as it happens; `kinds`, `user`, `token`, `node`: only these.
        It goes on until it is closed; raises `PushAPIUnreachable` when the connection is lost."""
        return follow_async(self, observe_calls.event_params(kinds, **filters))

    def each_webhook(self) -> AsyncIterator[Webhook]:
        """The endpoints to which events are sent, all pages."""
        return self._rows(self.webhooks, "webhooks")

    def each_webhook_attempt(self, id: str) -> AsyncIterator[WebhookAttempt]:
        """What became of attempts to send events to an endpoint, all pages."""
        return self._rows(self.webhook_attempts, "attempts", id)

    async def close(self) -> None:
        await self._lines.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    push = awaited(calls.push)
    push_batch = awaited(calls.push_batch)
    message = awaited(calls.message)
    message_devices = awaited(calls.message_devices)
    cancel = awaited(calls.cancel)
    device = awaited(calls.device)
    forget = awaited(calls.forget)
    bind = awaited(calls.bind)
    unbind = awaited(calls.unbind)
    stats = awaited(calls.stats)
    series = awaited(observe_calls.series)
    device_events = awaited(observe_calls.device_events)
    waiting_messages = awaited(observe_calls.waiting_messages)
    recent_messages = awaited(observe_calls.recent_messages)
    audit = awaited(observe_calls.audit)
    configuration = awaited(observe_calls.configuration)
    drain = awaited(cluster_calls.drain)
    connections = awaited(cluster_calls.connections)
    kick_session = awaited(cluster_calls.kick_session)
    kick_device = awaited(cluster_calls.kick_device)
    kick_user = awaited(cluster_calls.kick_user)
    kick_ip = awaited(cluster_calls.kick_ip)
    user = awaited(cluster_calls.user)
    erase_user = awaited(cluster_calls.erase_user)
    nodes = awaited(cluster_calls.nodes)
    subscribe = awaited(topic_calls.subscribe)
    unsubscribe = awaited(topic_calls.unsubscribe)
    topic = awaited(topic_calls.topic)
    topics = awaited(topic_calls.topics)
    ban = awaited(ban_calls.ban)
    unban = awaited(ban_calls.unban)
    bans = awaited(ban_calls.bans)
    whoami = awaited(key_calls.whoami)
    keys = awaited(key_calls.keys)
    make_key = awaited(key_calls.make_key)
    revoke_key = awaited(key_calls.revoke_key)
    create_group = awaited(chat_calls.create_group)
    group = awaited(chat_calls.group)
    change_group = awaited(chat_calls.change_group)
    dismiss_group = awaited(chat_calls.dismiss_group)
    members = awaited(chat_calls.members)
    add_members = awaited(chat_calls.add_members)
    change_member = awaited(chat_calls.change_member)
    remove_member = awaited(chat_calls.remove_member)
    send_to_group = awaited(chat_calls.send_to_group)
    send_to_user = awaited(chat_calls.send_to_user)
    group_history = awaited(chat_calls.group_history)
    conversations = awaited(chat_calls.conversations)
    history = awaited(chat_calls.history)
    set_positions = awaited(chat_calls.set_positions)
    recall = awaited(chat_calls.recall)
    servers = awaited(calls.servers)
    register_device = awaited(calls.register_device)
    webhooks = awaited(webhook_calls.webhooks)
    create_webhook = awaited(webhook_calls.create_webhook)
    webhook = awaited(webhook_calls.webhook)
    change_webhook = awaited(webhook_calls.change_webhook)
    delete_webhook = awaited(webhook_calls.delete_webhook)
    webhook_attempts = awaited(webhook_calls.webhook_attempts)
    replay_webhook = awaited(webhook_calls.replay_webhook)
    test_webhook = awaited(webhook_calls.test_webhook)
