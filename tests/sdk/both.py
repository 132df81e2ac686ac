"""Both device clients behind one interface, so that one suite of asyncio tests holds for both.

`PushClient` makes the client of the flavour that runs just now, see `each_client` in conftest.py.
The blocking one runs in threads: nothing of it is replaced, every call is the real, blocking call.
"""

from __future__ import annotations

import asyncio
import inspect
import socket
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any

from push.sdk import aio, nio
from push.sdk.core.actions import ClientState
from push.sdk.errors import ClientClosed, NothingReceived

LOOK_SECONDS = 0.05
_CALLS = ThreadPoolExecutor(128, "blocking-call")
_ITERATIONS = frozenset({"history", "members", "conversations"})
_PARTS = frozenset({"chat", "group", "conversation"})


class _Awaitable:
    """A message of the blocking client whose `ack` can be awaited."""

    __slots__ = ()

    async def ack(self) -> None:
        await _call(partial(nio.Message.ack, self))  # type: ignore[arg-type]


_CLASSES: dict[type, type] = {
    kind: type(kind.__name__, (_Awaitable, kind), {"__slots__": ()})
    for kind in (
        nio.Message,
        nio.ChatMessage,
        nio.Recall,
        nio.Receipt,
        nio.GroupChange,
        nio.Typing,
    )
}


async def _call(function: Callable[[], Any]) -> Any:
    return await asyncio.get_running_loop().run_in_executor(_CALLS, function)


class InThreads:
    """An object of the blocking client: its calls are awaited."""

    def __init__(self, blocking: Any) -> None:
        self._blocking = blocking

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._blocking, name)
        if not callable(found) or name.startswith("_"):
            return found
        if name in _PARTS:
            return lambda *args: InThreads(found(*args))
        if name in _ITERATIONS:
            return lambda *args, **options: self._iterate(found(*args, **options))
        return partial(self._await, found)

    async def _await(self, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        made = await _call(partial(function, *args, **options))
        return InThreads(made) if isinstance(made, nio.Group) else made

    async def _iterate(self, iterator: Iterator[Any]) -> AsyncIterator[Any]:
        end = object()
        while (item := await _call(partial(next, iterator, end))) is not end:
            yield item


class BlockingClient(InThreads):
    """`push.sdk.nio.PushClient`, driven from asyncio."""

    def __init__(self, *args: Any, **options: Any) -> None:
        for name in ("jwt", "on_credentials"):
            if inspect.iscoroutinefunction(options.get(name)):
                options[name] = self._plain(options[name])
        super().__init__(nio.PushClient(*args, **options))
        # One thread reads: what it has in hand is acknowledged when it asks again.
        self._reader = ThreadPoolExecutor(1, "reader")
        self._strays: deque[Any] = deque()

    def _plain(self, function: Callable[..., Any]) -> Callable[..., Any]:
        loop = asyncio.get_running_loop()

        def call(*args: Any) -> Any:
            return asyncio.run_coroutine_threadsafe(function(*args), loop).result()

        return call

    @property
    def network(self) -> str:
        return str(self._blocking.network)

    @network.setter
    def network(self, name: str) -> None:
        self._blocking.network = name

    def start(self) -> None:
        self._blocking.start()

    def check(self) -> asyncio.Future[bool]:
        return asyncio.ensure_future(_call(self._blocking.check))

    async def __aenter__(self) -> BlockingClient:
        self._blocking.__enter__()
        return self

    async def __aexit__(self, *exception: Any) -> None:
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._reader, self._blocking.__exit__, *exception)

    def __aiter__(self) -> BlockingClient:
        return self

    async def __anext__(self) -> Any:
        while True:
            if self._strays:
                return self._strays.popleft()
            asked = self._reader.submit(self._blocking.receive, LOOK_SECONDS)
            try:
                message = await asyncio.wrap_future(asked)
            except asyncio.CancelledError:
                asked.add_done_callback(self._keep)
                raise
            except NothingReceived:
                continue
            except ClientClosed:
                raise StopAsyncIteration from None
            message.__class__ = _CLASSES[type(message)]
            return message

    def _keep(self, asked: Any) -> None:
        """A message that came when nobody waited any more."""
        if not asked.cancelled() and asked.exception() is None:
            message = asked.result()
            message.__class__ = _CLASSES[type(message)]
            self._strays.append(message)


FLAVOURS: dict[str, Callable[..., Any]] = {"aio": aio.PushClient, "nio": BlockingClient}
_current: list[Callable[..., Any]] = [aio.PushClient]


def use(flavour: str) -> None:
    _current[0] = FLAVOURS[flavour]


def PushClient(*args: Any, **options: Any) -> Any:
    return _current[0](*args, **options)


def is_kind(message: object, name: str) -> bool:
    """Whether it is a `ChatMessage` or the like, of either client."""
    return isinstance(message, (getattr(aio, name), getattr(nio, name)))


def cut(client: Any) -> bool:
    """Cut the client's connection, as a network does; whether there was one."""
    wire = None if client._driver is None else client._driver._wire
    if wire is None:
        return False
    if isinstance(client, BlockingClient):
        with suppress(OSError):  # the client closed it meanwhile
            wire._socket.shutdown(socket.SHUT_RDWR)
    else:
        wire.transport.abort()
    return True


__all__ = ["FLAVOURS", "ClientState", "PushClient", "cut", "is_kind", "use"]
