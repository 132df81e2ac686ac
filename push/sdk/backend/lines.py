"""The HTTP connections of a backend's client: lent to one call at a time, kept between calls.

Each line is an httpx client of one connection. One client of many connections looks through all of
them for every call that waits, and closes what is idle as soon as there are more than it wants to
keep, busy ones counted: 600 calls at once then cost several times as much each. Here a call takes
the line that was used last, or waits in turn.

Connections belong to a process, and in asyncio to a loop. The child of a `fork()` has copies of its
parent's sockets; if it wrote to them, both would read each other's answers. So it makes new ones.
"""

from __future__ import annotations

import asyncio
import codecs
import os
import ssl
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import httpx

from push.sdk.errors import ClientClosed

MAX_LINES = 32  # calls at once; more wait for their turn
LIMITS = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=5.0)
# httpx loads most of its modules with its first client, and a socket the codec of names with its
# first host. In the child of a `fork()` at that moment nobody could call: a module that another
# thread was loading stays locked in it.
httpx.HTTPTransport(verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)).close()
codecs.lookup("idna")


class Lines:
    """For threads. `make` gives an httpx client with `LIMITS`."""

    def __init__(self, make: Callable[[], httpx.Client]) -> None:
        self._make = make
        self._places: dict[int, _ThreadPlace] = {}  # by process
        self._closed = False

    @contextmanager
    def lend(self) -> Iterator[httpx.Client]:
        """Raises `ClientClosed`."""
        place = self._place()
        with place.free:
            if self._closed:
                raise ClientClosed("closed")
            line = place.idle.pop() if place.idle else self._make()
            try:
                yield line
            finally:
                self._take_back(line, place)

    def _take_back(self, line: httpx.Client, place: _ThreadPlace) -> None:
        if self._closed:
            line.close()
        else:
            place.idle.append(line)

    def _place(self) -> _ThreadPlace:
        process = os.getpid()
        place = self._places.get(process)
        if place is None:
            place = self._places.setdefault(process, _ThreadPlace())
            # Of the parent's only those that were unused at the fork: closing takes a lock of
            # httpx.
            for other in list(self._places):
                if other != process:
                    _close_all(self._places.pop(other, place).idle)
        return place

    def close(self) -> None:
        self._closed = True
        _close_all(self._place().idle)


class _ThreadPlace:
    def __init__(self) -> None:
        self.free = threading.Semaphore(MAX_LINES)
        self.idle: deque[httpx.Client] = deque()


def _close_all(idle: deque[httpx.Client]) -> None:
    while idle:
        idle.pop().close()


class AsyncLines:
    """For asyncio. `make` gives an httpx client with `LIMITS`."""

    def __init__(self, make: Callable[[], httpx.AsyncClient]) -> None:
        self._make = make
        self._places: dict[tuple[int, asyncio.AbstractEventLoop], _TaskPlace] = {}
        self._closed = False

    @asynccontextmanager
    async def lend(self) -> AsyncIterator[httpx.AsyncClient]:
        """Raises `ClientClosed`."""
        place = self._place()
        async with place.free:
            if self._closed:
                raise ClientClosed("closed")
            line = place.idle.pop() if place.idle else self._make()
            try:
                yield line
            finally:
                await self._take_back(line, place)

    async def _take_back(self, line: httpx.AsyncClient, place: _TaskPlace) -> None:
        if self._closed:
            await line.aclose()
        else:
            place.idle.append(line)

    def _place(self) -> _TaskPlace:
        process, loop = os.getpid(), asyncio.get_running_loop()
        place = self._places.get((process, loop))
        if place is None:
            # What belongs to a loop that ended, or to the parent's, is only let go: closing would
            # take part in that loop (and, after a fork, in the parent's epoll).
            for key in list(self._places):
                if key[0] != process or key[1].is_closed():
                    self._places.pop(key, None)
            place = self._places[process, loop] = _TaskPlace()
        return place

    async def close(self) -> None:
        self._closed = True
        idle = self._place().idle
        while idle:
            await idle.pop().aclose()


class _TaskPlace:
    def __init__(self) -> None:
        self.free = asyncio.Semaphore(MAX_LINES)
        self.idle: deque[httpx.AsyncClient] = deque()
