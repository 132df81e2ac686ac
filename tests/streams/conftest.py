"""Streams on a real Redis: publishers, one whose announcements get lost, and a hub that hears."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater

from push.redis.client import RedisClient
from push.redis.scripts import load_script
from push.redis.shards import Shards
from push.session.entry import Batch, Entry
from push.session.subscription import Subscription
from push.session.window import Window
from push.streams.channel import Channel
from push.streams.cursors.writer import CursorWriter
from push.streams.hub import Hub
from push.streams.ledger import DeliveryCounts, Ledger
from push.streams.log import LogReader, WantedPages
from push.streams.log_cache import LogCache
from push.streams.publisher import Published, Publisher, Retention, StreamMessage
from tests.publishing import publish

Connect = Callable[..., Awaitable[RedisClient]]


class Sender:
    """Publishes numbered messages; `announced=False`: they are in the log and on no channel."""

    def __init__(self, server: RedisClient, silent: RedisClient) -> None:
        self.server = server
        self._publisher = Publisher(Shards([server]))
        self._silent = Publisher(Shards([silent]))

    async def send(
        self,
        *streams: str,
        n: int = 0,
        announced: bool = True,
        stored: bool = True,
        ttl_seconds: int = 3600,
        guard: str | None = None,
        data: str | None = None,
    ) -> Published:
        publisher = self._publisher if announced else self._silent
        content = f'{{"id":"m{n}","data":{data or n}}}'
        return await publish(
            publisher,
            StreamMessage(
                id=f"m{n}",
                content=content,
                ttl_seconds=ttl_seconds,
                streams=list(streams),
                guard=guard,
                stored=stored,
            ),
        )


@pytest_twisted.async_yield_fixture
async def store(connect: Connect, redis_url: str) -> AsyncIterator[RedisClient]:
    yield await connect(redis_url)


@pytest_twisted.async_yield_fixture
async def sender(connect: Connect, store: RedisClient, redis_url: str) -> AsyncIterator[Sender]:
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

    def wake_followers(self, channel: Channel) -> None:
        self.repairs += 1

    def gap_closed(self, channel: Channel) -> None:
        self.wake_followers(channel)

    def ids(self, stream: str = "all") -> list[str]:
        return [entry.id for entry in self.entries.get(stream, ())]


class Ear:
    """A follower of streams on a hub of its own."""

    def __init__(self, reactor: Any, server: RedisClient, name: str, **options: Any) -> None:
        self.listener = Listener()
        self.server = server
        self.reader = LogReader(server)
        self.log_cache = LogCache()
        self.hub = Hub(reactor, server, self.reader, self.log_cache, self.listener, name, **options)
        self.hub.start()

    async def follow(self, stream: str = "all", *, who: Any = "somebody") -> Channel:
        """Follow from now on: what is published after this returns must come."""
        subscription = Subscription(stream, 0)
        subscription.live = True
        await self.hub.follow(stream, who, subscription)
        channel = self.hub.channels[stream]
        if not channel.known:
            channel.advance(await self.server.last_offset())
        return channel

    def ids(self, stream: str = "all") -> list[str]:
        return self.listener.ids(stream)


@pytest.fixture
def listen() -> Iterator[Callable[..., Ear]]:
    """`listen(server, …)`: an `Ear` whose hub, with these options, is stopped after the test."""
    from twisted.internet import reactor

    ears: list[Ear] = []

    def make(server: RedisClient, **options: Any) -> Ear:
        ear = Ear(reactor, server, f"ear{len(ears)}", **options)
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
def make_sender() -> Callable[[RedisClient], Sender]:
    """`make_sender(server)`: a sender on a server of the test's own."""

    def make(server: RedisClient) -> Sender:
        from twisted.internet import reactor

        silent = RedisClient(reactor, server.address)
        silent._channel_prefix = b"nobody-listens:"
        silent._commands = silent._durable = server._commands
        silent.clock = server.clock
        return Sender(server, silent)

    return make


_cancel = load_script("streams", "cancel")


class Phone:
    """A device with its record in Redis and one session's window over what it follows."""

    def __init__(self, token: str, session_id: str = "s") -> None:
        self.token: str | None = token
        self.session_id = session_id
        self.window = Window(1000, 1 << 24)
        self.subscriptions: dict[str, Subscription] = {}
        self.numbers: dict[str, int] = {}

    def take(self, stream: str, entries: list[Entry]) -> Subscription:
        """Hand out what is behind the session's position."""
        subscription = self.subscriptions[stream]
        for entry in entries:
            if entry.offset > subscription.position:
                number = self.numbers[entry.id] = self.window.next_private_id()
                self.window.add(subscription, entry, number, 0.0)
        return subscription

    def acknowledge(self, *ids: str) -> None:
        for id in ids:
            self.window.acknowledge(self.numbers[id], 0.0)


class Desk:
    """What a backend and a connector do with stored messages, step by step."""

    def __init__(self, reactor: Any, store: RedisClient, retention: Retention) -> None:
        self.store = store
        self.publisher = Publisher(Shards([store]), retention)
        self.ledger = Ledger(Shards([store]))
        self.reader = LogReader(store)
        self.writer = CursorWriter(reactor, store, lambda holder: None)
        self._sent = 0

    async def phone(self, token: str, *, user: str = "", session_id: str = "s") -> Phone:
        """A registered device, online, that follows from now on."""
        phone = Phone(token, session_id)
        clock = await self.store.last_offset()
        streams = [f"dev:{token}", "all", *([f"user:{user}"] if user else [])]
        fields: list[str | int] = ["s", session_id]
        for stream in streams:
            phone.subscriptions[stream] = Subscription(stream, clock)
            fields += [f"c:{stream}", clock]
        await self.store.command("HSET", self.store.key(f"device:{token}"), *fields)
        await self.store.command("ZADD", self.store.key("devices"), 1, token)
        if user:
            await self.store.command("SADD", self.store.key(f"user-devices:{user}"), token)
        return phone

    async def push(self, *streams: str, ttl_seconds: int = 3600, **more: Any) -> Published:
        self._sent += 1
        id = f"m{self._sent}"
        return await publish(
            self.publisher,
            StreamMessage(
                id=id,
                content=f'{{"id":"{id}","data":0}}',
                ttl_seconds=ttl_seconds,
                streams=list(streams),
                **{"stored": True, "to": '{"all":true}', **more},
            ),
        )

    async def log(self, stream: str) -> list[Entry]:
        return (await self.reader.read([WantedPages(stream, 0, 1000)])).pages[0].entries

    async def hand_out(self, stream: str, *phones: Phone) -> None:
        """Each phone is handed all of the log that it has not yet."""
        entries = await self.log(stream)
        for phone in phones:
            self.writer.handed(phone, phone.take(stream, entries))

    def acknowledge(self, stream: str, phone: Phone, *ids: str) -> None:
        phone.acknowledge(*ids)
        self.writer.moved(phone, phone.subscriptions[stream])

    async def cancel(self, id: str, *streams: str) -> list[int]:
        reply: list[int] = await self.store.run(_cancel, [], [id, *streams])
        return reply

    async def funnel(self, id: str) -> DeliveryCounts:
        await self.writer.flush()
        funnel = await self.ledger.counts_of(id)
        assert funnel is not None
        ends = funnel.acknowledged + funnel.expired + funnel.cancelled
        assert ends + sum(funnel.dropped.values()) <= funnel.addressed
        assert funnel.acknowledged <= funnel.written <= funnel.addressed
        return funnel

    async def states(self, id: str) -> dict[str, str]:
        """State by token, with the reason of what was dropped."""
        await self.writer.flush()
        lines = await self.ledger.devices(id) or []
        return {line.token: line.reason or line.state for line in lines}

    async def keys(self) -> set[str]:
        """All keys there are, without the prefix and the server's clock."""
        found = await self.store.command("KEYS", "*")
        return {key.decode().removeprefix("push:") for key in found} - {"clock"}

    async def pass_time(self, seconds: float) -> None:
        """The server's clock moves on."""
        clock = self.store.clock.now_us() + int(seconds * 1_000_000)
        await self.store.command("SET", self.store.key("clock"), clock)
        self.store.clock.observe(clock)


@pytest_twisted.async_yield_fixture
async def make_desk(store: RedisClient) -> AsyncIterator[Callable[..., Desk]]:
    """`make_desk(device_max_messages=3)`: a desk with such a retention."""
    from twisted.internet import reactor

    desks: list[Desk] = []

    def make(**retention: int) -> Desk:
        desks.append(Desk(reactor, store, Retention(**retention)))
        return desks[-1]

    yield make
    for desk in desks:
        await desk.writer.stop()


@pytest.fixture
def desk(make_desk: Callable[..., Desk]) -> Desk:
    return make_desk()


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
