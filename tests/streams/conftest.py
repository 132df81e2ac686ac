"""Streams on a real Redis: publishers, one whose announcements get lost, and a hub that hears."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater

from push.session.entry import Batch, Entry
from push.session.window import Follow
from push.store.server import RedisServer
from push.streams.channel import Channel
from push.streams.hub import Hub
from push.streams.log import LogReader
from push.streams.memory import LogMemory
from push.streams.publish import Address, Published, Publisher

Connect = Callable[..., Awaitable[RedisServer]]


class Sender:
    """Publishes numbered messages; `announced=False`: they are in the log and on no channel."""

    def __init__(self, server: RedisServer, silent: RedisServer) -> None:
        self.server = server
        self._publisher = Publisher(server)
        self._silent = Publisher(silent)

    async def send(
        self,
        *streams: str,
        n: int = 0,
        announced: bool = True,
        stored: bool = True,
        ttl_seconds: int = 3600,
        guard: str = "",
        data: str | None = None,
    ) -> Published:
        publisher = self._publisher if announced else self._silent
        content = b'{"id":"m%d","data":%b}' % (n, (data or str(n)).encode())
        return await publisher.publish(
            [Address(stream, guard) for stream in streams],
            f"m{n}",
            content,
            ttl_seconds=ttl_seconds,
            stored=stored,
        )


@pytest_twisted.async_yield_fixture
async def store(connect: Connect, redis_url: str) -> AsyncIterator[RedisServer]:
    yield await connect(redis_url)


@pytest_twisted.async_yield_fixture
async def sender(connect: Connect, store: RedisServer, redis_url: str) -> AsyncIterator[Sender]:
    silent = await connect(redis_url)
    silent._channel_prefix = b"nobody-listens:"
    yield Sender(store, silent)


class Listener:
    """What a hub hands on, per stream, and how often it says that a gap is repaired."""

    def __init__(self) -> None:
        self.entries: dict[str, list[Entry]] = {}
        self.repairs = 0
        self.turns = 0

    def batch(self, channel: Channel, batch: Batch) -> None:
        self.entries.setdefault(channel.stream, []).extend(batch.entries)

    def end_turn(self) -> None:
        self.turns += 1

    def repaired(self, channel: Channel) -> None:
        self.repairs += 1

    def ids(self, stream: str = "all") -> list[str]:
        return [entry.id for entry in self.entries.get(stream, ())]


class Ear:
    """A follower of streams on a hub of its own."""

    def __init__(self, reactor: Any, server: RedisServer, name: str) -> None:
        self.listener = Listener()
        self.server = server
        self.reader = LogReader(server)
        self.memory = LogMemory()
        self.hub = Hub(reactor, server, self.reader, self.memory, self.listener, name)
        self.hub.start()

    async def follow(self, stream: str = "all", *, who: Any = "somebody") -> Channel:
        """Follow from now on: what is published after this returns must come."""
        follow = Follow(stream, 0)
        follow.live = True
        await self.hub.follow(stream, who, follow)
        channel = self.hub.channels[stream]
        if not channel.known:
            channel.advance(await self.server.last_offset())
        return channel

    def ids(self, stream: str = "all") -> list[str]:
        return self.listener.ids(stream)


@pytest.fixture
def listen() -> Iterator[Callable[[RedisServer], Ear]]:
    """`listen(server)`: an `Ear` whose hub is stopped when the test is over."""
    from twisted.internet import reactor

    ears: list[Ear] = []

    def make(server: RedisServer) -> Ear:
        ear = Ear(reactor, server, f"ear{len(ears)}")
        ears.append(ear)
        return ear

    yield make
    for ear in ears:
        ear.hub.stop()


@pytest.fixture
def ids() -> Callable[[int, int], list[str]]:
    """`ids(first, last)`: the ids of the messages with these numbers."""
    return lambda first, last: [f"m{n}" for n in range(first, last + 1)]


@pytest.fixture
def make_sender() -> Callable[[RedisServer], Sender]:
    """`make_sender(server)`: a sender on a server of the test's own."""

    def make(server: RedisServer) -> Sender:
        from twisted.internet import reactor

        silent = RedisServer(reactor, server.address)
        silent._channel_prefix = b"nobody-listens:"
        silent._commands = server._commands
        silent.clock = server.clock
        return Sender(server, silent)

    return make


class _Upstream(Protocol):
    """The proxy's side towards Redis."""

    def __init__(self, downstream: _Downstream) -> None:
        self._downstream = downstream

    def connectionMade(self) -> None:
        self._downstream.opened(self.transport)

    def dataReceived(self, data: bytes) -> None:
        self._downstream.from_redis(data)

    def connectionLost(self, reason: Any = None) -> None:
        self._downstream.transport.loseConnection()


class _Downstream(Protocol):
    """The proxy's side towards us. Deaf: it drops what was published, and answers the rest."""

    def __init__(self, path: str, proxy: Proxy) -> None:
        self._path = path
        self._proxy = proxy
        self._upstream: Any = None
        self._waiting = b""
        self.subscribes = False
        self.deaf = False

    def connectionMade(self) -> None:
        from twisted.internet import reactor

        self._proxy.connections.add(self)
        endpoint = UNIXClientEndpoint(reactor, self._path)
        factory = Factory.forProtocol(lambda: _Upstream(self))
        endpoint.connect(factory).addErrback(lambda _: self.transport.loseConnection())

    def opened(self, transport: Any) -> None:
        self._upstream = transport
        transport.write(self._waiting)

    def dataReceived(self, data: bytes) -> None:
        self.subscribes |= b"SUBSCRIBE" in data
        if self._upstream is None:
            self._waiting += data
        else:
            self._upstream.write(data)

    def from_redis(self, data: bytes) -> None:
        if not (self.deaf and data.startswith(b"*3\r\n$7\r\nmessage")):
            self.transport.write(data)

    def connectionLost(self, reason: Any = None) -> None:
        self._proxy.connections.discard(self)
        if self._upstream is not None:
            self._upstream.loseConnection()


class Proxy(Factory):
    """A TCP port in front of a Redis on a unix socket, which can lose what Redis publishes."""

    noisy = False

    def __init__(self, path: str) -> None:
        self._path = path
        self.connections: set[_Downstream] = set()
        self.port: Any = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port.getHost().port}"

    def buildProtocol(self, addr: Any) -> _Downstream:
        return _Downstream(self._path, self)

    def deafen_subscribers(self) -> None:
        """From now on the subscribers of this moment hear nothing; new ones hear again."""
        for connection in self.connections:
            connection.deaf = connection.subscribes


@pytest_twisted.async_yield_fixture
async def make_proxy() -> AsyncIterator[Callable[[str], Awaitable[Proxy]]]:
    from twisted.internet import reactor

    proxies: list[Proxy] = []

    async def make(url: str) -> Proxy:
        proxy = Proxy(url.removeprefix("unix://"))
        proxy.port = reactor.listenTCP(0, proxy, interface="127.0.0.1")
        proxies.append(proxy)
        return proxy

    yield make
    for proxy in proxies:
        await proxy.port.stopListening()
        for connection in list(proxy.connections):
            connection.transport.abortConnection()
    await deferLater(reactor, 0.01)
