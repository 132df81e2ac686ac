"""The HTTP client for backends: `PushAPI` blocks, `AsyncPushAPI` is for asyncio.

Both have the same methods, built from `push.sdk.backend.calls.base` and the other modules of calls.
Connections are kept alive: make one and keep it. A call that may be sent twice is retried, see
`push.sdk.backend.exchange`.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from functools import wraps
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

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
from push.sdk.chat_types import Conversation, Member
from push.wire.api.bans import Ban
from push.wire.api.common import MAX_PAGE
from push.wire.api.connections import Connection
from push.wire.api.messages import DeviceDelivery
from push.wire.api.operate.events import Event
from push.wire.api.operate.keys import Key
from push.wire.api.operate.webhooks import Webhook, WebhookAttempt
from push.wire.api.topics import Topic

P = ParamSpec("P")
T = TypeVar("T")


def _like_method(build: Callable[..., Any], method: Callable[..., Any]) -> None:
    """Name, documentation and signature of `build`, with a `self`, for help() and editors."""
    wraps(build)(method)
    signature = inspect.signature(build)
    own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    method.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[own, *signature.parameters.values()]
    )


def _blocking(build: Callable[P, ApiCall[T]]) -> Callable[Concatenate[PushAPI, P], T]:
    def method(self: PushAPI, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.send(build(*args, **kwargs))

    _like_method(build, method)
    return method


def _awaited(
    build: Callable[P, ApiCall[T]],
) -> Callable[Concatenate[AsyncPushAPI, P], Awaitable[T]]:
    async def method(self: AsyncPushAPI, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.send(build(*args, **kwargs))

    _like_method(build, method)
    return method


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
                return self._judge(call, outcome)
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

    def events(self, *, kinds: Sequence[str] = (), **filters: str) -> Iterator[Event]:
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

    push = _blocking(calls.push)
    push_batch = _blocking(calls.push_batch)
    message = _blocking(calls.message)
    message_devices = _blocking(calls.message_devices)
    cancel = _blocking(calls.cancel)
    device = _blocking(calls.device)
    forget = _blocking(calls.forget)
    bind = _blocking(calls.bind)
    unbind = _blocking(calls.unbind)
    stats = _blocking(calls.stats)
    series = _blocking(observe_calls.series)
    device_events = _blocking(observe_calls.device_events)
    waiting_messages = _blocking(observe_calls.waiting_messages)
    recent_messages = _blocking(observe_calls.recent_messages)
    audit = _blocking(observe_calls.audit)
    configuration = _blocking(observe_calls.configuration)
    drain = _blocking(cluster_calls.drain)
    connections = _blocking(cluster_calls.connections)
    kick_session = _blocking(cluster_calls.kick_session)
    kick_device = _blocking(cluster_calls.kick_device)
    kick_user = _blocking(cluster_calls.kick_user)
    kick_ip = _blocking(cluster_calls.kick_ip)
    user = _blocking(cluster_calls.user)
    erase_user = _blocking(cluster_calls.erase_user)
    nodes = _blocking(cluster_calls.nodes)
    subscribe = _blocking(topic_calls.subscribe)
    unsubscribe = _blocking(topic_calls.unsubscribe)
    topic = _blocking(topic_calls.topic)
    topics = _blocking(topic_calls.topics)
    ban = _blocking(ban_calls.ban)
    unban = _blocking(ban_calls.unban)
    bans = _blocking(ban_calls.bans)
    keys = _blocking(key_calls.keys)
    make_key = _blocking(key_calls.make_key)
    revoke_key = _blocking(key_calls.revoke_key)
    create_group = _blocking(chat_calls.create_group)
    group = _blocking(chat_calls.group)
    change_group = _blocking(chat_calls.change_group)
    dismiss_group = _blocking(chat_calls.dismiss_group)
    members = _blocking(chat_calls.members)
    add_members = _blocking(chat_calls.add_members)
    change_member = _blocking(chat_calls.change_member)
    remove_member = _blocking(chat_calls.remove_member)
    send_to_group = _blocking(chat_calls.send_to_group)
    send_to_user = _blocking(chat_calls.send_to_user)
    group_history = _blocking(chat_calls.group_history)
    conversations = _blocking(chat_calls.conversations)
    history = _blocking(chat_calls.history)
    set_positions = _blocking(chat_calls.set_positions)
    recall = _blocking(chat_calls.recall)
    servers = _blocking(calls.servers)
    register_device = _blocking(calls.register_device)
    webhooks = _blocking(webhook_calls.webhooks)
    create_webhook = _blocking(webhook_calls.create_webhook)
    webhook = _blocking(webhook_calls.webhook)
    change_webhook = _blocking(webhook_calls.change_webhook)
    delete_webhook = _blocking(webhook_calls.delete_webhook)
    webhook_attempts = _blocking(webhook_calls.webhook_attempts)
    replay_webhook = _blocking(webhook_calls.replay_webhook)
    test_webhook = _blocking(webhook_calls.test_webhook)


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
                return self._judge(call, outcome)
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

    def events(self, *, kinds: Sequence[str] = (), **filters: str) -> AsyncIterator[Event]:
        """As `PushAPI.events`, to go through with `async for`."""
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

    push = _awaited(calls.push)
    push_batch = _awaited(calls.push_batch)
    message = _awaited(calls.message)
    message_devices = _awaited(calls.message_devices)
    cancel = _awaited(calls.cancel)
    device = _awaited(calls.device)
    forget = _awaited(calls.forget)
    bind = _awaited(calls.bind)
    unbind = _awaited(calls.unbind)
    stats = _awaited(calls.stats)
    series = _awaited(observe_calls.series)
    device_events = _awaited(observe_calls.device_events)
    waiting_messages = _awaited(observe_calls.waiting_messages)
    recent_messages = _awaited(observe_calls.recent_messages)
    audit = _awaited(observe_calls.audit)
    configuration = _awaited(observe_calls.configuration)
    drain = _awaited(cluster_calls.drain)
    connections = _awaited(cluster_calls.connections)
    kick_session = _awaited(cluster_calls.kick_session)
    kick_device = _awaited(cluster_calls.kick_device)
    kick_user = _awaited(cluster_calls.kick_user)
    kick_ip = _awaited(cluster_calls.kick_ip)
    user = _awaited(cluster_calls.user)
    erase_user = _awaited(cluster_calls.erase_user)
    nodes = _awaited(cluster_calls.nodes)
    subscribe = _awaited(topic_calls.subscribe)
    unsubscribe = _awaited(topic_calls.unsubscribe)
    topic = _awaited(topic_calls.topic)
    topics = _awaited(topic_calls.topics)
    ban = _awaited(ban_calls.ban)
    unban = _awaited(ban_calls.unban)
    bans = _awaited(ban_calls.bans)
    keys = _awaited(key_calls.keys)
    make_key = _awaited(key_calls.make_key)
    revoke_key = _awaited(key_calls.revoke_key)
    create_group = _awaited(chat_calls.create_group)
    group = _awaited(chat_calls.group)
    change_group = _awaited(chat_calls.change_group)
    dismiss_group = _awaited(chat_calls.dismiss_group)
    members = _awaited(chat_calls.members)
    add_members = _awaited(chat_calls.add_members)
    change_member = _awaited(chat_calls.change_member)
    remove_member = _awaited(chat_calls.remove_member)
    send_to_group = _awaited(chat_calls.send_to_group)
    send_to_user = _awaited(chat_calls.send_to_user)
    group_history = _awaited(chat_calls.group_history)
    conversations = _awaited(chat_calls.conversations)
    history = _awaited(chat_calls.history)
    set_positions = _awaited(chat_calls.set_positions)
    recall = _awaited(chat_calls.recall)
    servers = _awaited(calls.servers)
    register_device = _awaited(calls.register_device)
    webhooks = _awaited(webhook_calls.webhooks)
    create_webhook = _awaited(webhook_calls.create_webhook)
    webhook = _awaited(webhook_calls.webhook)
    change_webhook = _awaited(webhook_calls.change_webhook)
    delete_webhook = _awaited(webhook_calls.delete_webhook)
    webhook_attempts = _awaited(webhook_calls.webhook_attempts)
    replay_webhook = _awaited(webhook_calls.replay_webhook)
    test_webhook = _awaited(webhook_calls.test_webhook)
