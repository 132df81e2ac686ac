"""The HTTP client for backends: `PushAPI` blocks, `AsyncPushAPI` is for asyncio.

Both have the same methods, built from `push.sdk.calls` and `push.sdk.cluster_calls`. Connections
are kept alive: make one and keep it. A call that may be sent twice is retried on 503, on 409
`in_progress` and on connection errors, after the server's `Retry-After` or a random part of a
growing delay.
"""

from __future__ import annotations

import asyncio
import inspect
import random
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import wraps
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

import httpx
import msgspec

from push.sdk import calls, cluster_calls
from push.sdk.calls import (
    BatchItem,
    Call,
    DeliveryPage,
    DeviceDelivery,
    MessageLedger,
    PushResult,
    Registration,
    Servers,
    push_item,
)
from push.sdk.cluster_calls import Connection, ConnectionPage, Kicked
from push.sdk.errors import ConfigurationError, PushAPIError, PushAPIUnreachable
from push.sdk.tls import client_context, trusting_nobody

__all__ = [
    "AsyncPushAPI",
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
    "push_item",
]

RETRIES = 2
TIMEOUT_SECONDS = 10.0
FIRST_RETRY_SECONDS = 0.2
MAX_RETRY_SECONDS = 5.0

P = ParamSpec("P")
T = TypeVar("T")


class _Problem(msgspec.Struct):
    """RFC 9457 with our members; everything may be missing when a proxy answered."""

    code: str | None = None
    detail: str | None = None
    title: str | None = None
    field: str | None = None


class _Base:
    """What both clients share: the arguments, the request, and the judgement of its outcome."""

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        ca_file: str | None = None,
        timeout: float = TIMEOUT_SECONDS,
        retries: int = RETRIES,
    ) -> None:
        """`url`: where the API is, `http://127.0.0.1:8080`. `timeout`: seconds for each attempt."""
        try:
            parsed = httpx.URL(url)
        except httpx.InvalidURL as error:
            raise ConfigurationError(f"url {url!r}: {error}") from None
        if parsed.scheme not in ("http", "https") or not parsed.host:
            raise ConfigurationError(f"url {url!r}: must be http://host:port or https://host:port")
        if key is not None and not (key.isascii() and key.isprintable()):
            raise ConfigurationError("key: must be printable ASCII")
        self._url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._timeout = timeout
        self._retries = retries
        secure = parsed.scheme == "https"
        self._verify = client_context(ca_file) if secure else trusting_nobody()

    def _request(self, call: Call[Any]) -> dict[str, Any]:
        headers = dict(call.headers or {})
        content = None
        if call.json is not None:
            content = msgspec.json.encode(call.json)
            headers["Content-Type"] = "application/json"
        return {
            "method": call.method,
            "url": self._url + call.path,
            "params": call.params,
            "headers": headers,
            "content": content,
        }

    def _retry_delay(
        self, call: Call[Any], attempt: int, outcome: httpx.Response | httpx.HTTPError
    ) -> float | None:
        """Seconds to wait before trying again, or None when the outcome stands."""
        if not call.idempotent or attempt >= self._retries:
            return None
        delay = random.random() * FIRST_RETRY_SECONDS * 2.0**attempt
        if isinstance(outcome, httpx.Response):
            if not _passing(call, outcome):
                return None
            delay = max(delay, float(_retry_after(outcome) or 0))
        elif not isinstance(outcome, httpx.TransportError):
            return None
        return min(delay, MAX_RETRY_SECONDS)

    def _judge(self, call: Call[T], outcome: httpx.Response | httpx.HTTPError) -> T:
        if isinstance(outcome, httpx.HTTPError):
            why = re.sub(r"^\[Errno -?\d+\] ", "", str(outcome)) or type(outcome).__name__
            raise PushAPIUnreachable(f"{call.method} {self._url}{call.path}: {why}") from None
        if not outcome.is_success:
            raise _error(outcome)
        try:
            return call.read(outcome.content)
        except msgspec.DecodeError as error:
            raise PushAPIError(
                outcome.status_code, "malformed", f"the answer is not what was expected: {error}"
            ) from None


def _passing(call: Call[Any], response: httpx.Response) -> bool:
    """Whether the same request may be answered otherwise in a moment."""
    if response.status_code == 503:
        return True
    if response.status_code == 409:
        return _error(response).code == calls.IN_PROGRESS
    if not response.is_success or call.unfinished is None:
        return False
    try:
        return call.unfinished(call.read(response.content))
    except msgspec.DecodeError:
        return False


def _retry_after(response: httpx.Response) -> int | None:
    value = response.headers.get("Retry-After", "")
    return int(value) if value.isdecimal() else None


def _error(response: httpx.Response) -> PushAPIError:
    try:
        problem = msgspec.json.decode(response.content, type=_Problem)
    except msgspec.DecodeError:
        problem = _Problem(detail=response.reason_phrase)
    return PushAPIError(
        response.status_code,
        problem.code or f"http_{response.status_code}",
        problem.detail or problem.title or "",
        field=problem.field,
        retry_after=_retry_after(response),
    )


def _like_method(build: Callable[..., Any], method: Callable[..., Any]) -> None:
    """Name, documentation and signature of `build`, with a `self`, for help() and editors."""
    wraps(build)(method)
    signature = inspect.signature(build)
    own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    method.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[own, *signature.parameters.values()]
    )


def _blocking(build: Callable[P, Call[T]]) -> Callable[Concatenate[PushAPI, P], T]:
    def method(self: PushAPI, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.send(build(*args, **kwargs))

    _like_method(build, method)
    return method


def _awaited(build: Callable[P, Call[T]]) -> Callable[Concatenate[AsyncPushAPI, P], Awaitable[T]]:
    async def method(self: AsyncPushAPI, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.send(build(*args, **kwargs))

    _like_method(build, method)
    return method


class PushAPI(_Base):
    """The blocking client; may be shared by threads.

    Raises `PushAPIError` for what the API answers, `PushAPIUnreachable` when nothing came.
    """

    def __init__(self, url: str, key: str | None = None, **options: Any) -> None:
        """`options`: `ca_file`, `timeout` (seconds an attempt), `retries`."""
        super().__init__(url, key, **options)
        self._client = httpx.Client(
            headers=self._headers, timeout=self._timeout, verify=self._verify
        )

    def send(self, call: Call[T]) -> T:
        """Run one call."""
        attempt = 0
        while True:
            outcome: httpx.Response | httpx.HTTPError
            try:
                outcome = self._client.request(**self._request(call))
            except httpx.HTTPError as error:
                outcome = error
            delay = self._retry_delay(call, attempt, outcome)
            if delay is None:
                return self._judge(call, outcome)
            time.sleep(delay)
            attempt += 1

    def each_message_device(self, message_id: str) -> Iterator[DeviceDelivery]:
        """What became of a message at each device, all pages; a request for each 200."""
        cursor: str | None = None
        while True:
            page = self.message_devices(message_id, cursor=cursor, limit=calls.MAX_PAGE)
            yield from page.devices
            cursor = page.cursor
            if cursor is None:
                return

    def each_connection(self, **filters: str) -> Iterator[Connection]:
        """Live sessions, all pages, see `connections`. What silent nodes have is not among them."""
        cursor: str | None = None
        while True:
            page = self.connections(cursor=cursor, limit=calls.MAX_PAGE, **filters)
            yield from page.connections
            cursor = page.cursor
            if cursor is None:
                return

    def close(self) -> None:
        self._client.close()

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
    drain = _blocking(cluster_calls.drain)
    connections = _blocking(cluster_calls.connections)
    kick_session = _blocking(cluster_calls.kick_session)
    kick_device = _blocking(cluster_calls.kick_device)
    kick_user = _blocking(cluster_calls.kick_user)
    kick_ip = _blocking(cluster_calls.kick_ip)
    user = _blocking(cluster_calls.user)
    erase_user = _blocking(cluster_calls.erase_user)
    nodes = _blocking(cluster_calls.nodes)
    servers = _blocking(calls.servers)
    register_device = _blocking(calls.register_device)


class AsyncPushAPI(_Base):
    """The same for asyncio; use it in one loop."""

    def __init__(self, url: str, key: str | None = None, **options: Any) -> None:
        """`options`: `ca_file`, `timeout` (seconds an attempt), `retries`."""
        super().__init__(url, key, **options)
        self._client = httpx.AsyncClient(
            headers=self._headers, timeout=self._timeout, verify=self._verify
        )

    async def send(self, call: Call[T]) -> T:
        """Run one call."""
        attempt = 0
        while True:
            outcome: httpx.Response | httpx.HTTPError
            try:
                outcome = await self._client.request(**self._request(call))
            except httpx.HTTPError as error:
                outcome = error
            delay = self._retry_delay(call, attempt, outcome)
            if delay is None:
                return self._judge(call, outcome)
            await asyncio.sleep(delay)
            attempt += 1

    async def each_message_device(self, message_id: str) -> AsyncIterator[DeviceDelivery]:
        """What became of a message at each device, all pages; a request for each 200."""
        cursor: str | None = None
        while True:
            page = await self.message_devices(message_id, cursor=cursor, limit=calls.MAX_PAGE)
            for device in page.devices:
                yield device
            cursor = page.cursor
            if cursor is None:
                return

    async def each_connection(self, **filters: str) -> AsyncIterator[Connection]:
        """Live sessions, all pages, see `connections`. What silent nodes have is not among them."""
        cursor: str | None = None
        while True:
            page = await self.connections(cursor=cursor, limit=calls.MAX_PAGE, **filters)
            for connection in page.connections:
                yield connection
            cursor = page.cursor
            if cursor is None:
                return

    async def close(self) -> None:
        await self._client.aclose()

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
    drain = _awaited(cluster_calls.drain)
    connections = _awaited(cluster_calls.connections)
    kick_session = _awaited(cluster_calls.kick_session)
    kick_device = _awaited(cluster_calls.kick_device)
    kick_user = _awaited(cluster_calls.kick_user)
    kick_ip = _awaited(cluster_calls.kick_ip)
    user = _awaited(cluster_calls.user)
    erase_user = _awaited(cluster_calls.erase_user)
    nodes = _awaited(cluster_calls.nodes)
    servers = _awaited(calls.servers)
    register_device = _awaited(calls.register_device)
