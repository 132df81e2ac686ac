"""What a connector has for each Redis server: hub, logs, cursors and counts.

Which server has a stream for a session stands in its `Follow`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from twisted.internet.defer import Deferred

from push.connector.transport.connection import DeviceConnection
from push.redis.client import RedisServer
from push.redis.shards import Shards
from push.runtime.tasks import all_of
from push.session.window import Follow, LateDelivery
from push.streams.channel import Channel
from push.streams.cursors import CursorWriter
from push.streams.hub import Hub, Receiver
from push.streams.ledger import FleetingCounts
from push.streams.log import LogReader
from push.streams.log_cache import LogMemory
from push.streams.shared_reader import PageReader


class Gate(Protocol):
    """Whether what comes on channels may be handed to sessions."""

    def may_hand_on(self, server: RedisServer) -> bool:
        """What comes on the channels of `server`, now."""

    @property
    def is_late(self) -> bool:
        """Whether changes may have been answered before this connector has heard of them."""


class Source:
    """One server, as far as a connector reads from it and tells it what became of messages."""

    def __init__(
        self,
        reactor: Any,
        server: RedisServer,
        receiver: Receiver,
        name: str,
        on_lost: Callable[[Any], None],
        gate: Gate,
    ) -> None:
        self.server = server
        self.reader = LogReader(server)
        self.memory = LogMemory()
        self.hub = Hub(
            reactor,
            server,
            self.reader,
            self.memory,
            receiver,
            name,
            may_hand_on=lambda: gate.may_hand_on(server),
            is_late=lambda: gate.is_late,
        )
        self.pages = PageReader(server, self.reader, self.memory)
        self.cursors = CursorWriter(reactor, server, on_lost)
        self.counts = FleetingCounts(reactor, server)


class Sources:
    """All servers. `name` is the connector's own; `on_lost(connection)`: see `CursorWriter`."""

    def __init__(
        self,
        reactor: Any,
        shards: Shards,
        receiver: Receiver,
        name: str,
        on_lost: Callable[[Any], None],
        gate: Gate,
    ) -> None:
        self._shards = shards
        self._sources = [
            Source(reactor, server, receiver, name, on_lost, gate) for server in shards
        ]
        self.cursors = Cursors([source.cursors for source in self._sources])
        self.counts = Counts(shards, [source.counts for source in self._sources])

    def __iter__(self) -> Iterator[Source]:
        return iter(self._sources)

    def of(self, follow: Follow) -> Source:
        return self._sources[follow.shard]

    def follow(self, connection: DeviceConnection, follow: Follow) -> Deferred[None]:
        """Fires once the channel is heard: see `Hub.follow`."""
        return self.of(follow).hub.follow(follow.stream, connection, follow)

    def unfollow(self, connection: DeviceConnection, follow: Follow) -> None:
        self.of(follow).hub.unfollow(follow.stream, connection)

    def channel(self, follow: Follow) -> Channel | None:
        return self.of(follow).hub.channels.get(follow.stream)

    def followers_of(self, stream: str) -> list[DeviceConnection]:
        """The connections that follow `stream`."""
        channel = self._sources[self._shards.number_of(stream)].hub.channels.get(stream)
        if channel is None:
            return []
        return [each for each in channel.followers if isinstance(each, DeviceConnection)]

    def start(self) -> None:
        for source in self._sources:
            source.hub.start()

    async def store_all(self) -> None:
        """Store what is not stored yet, for the last time."""
        await self.cursors.stop()
        await self.counts.stop()

    def stop(self) -> None:
        for source in self._sources:
            source.hub.stop()


class Cursors:
    """The cursor writers of all servers as one."""

    def __init__(self, writers: Sequence[CursorWriter]) -> None:
        self._writers = writers

    def moved(self, connection: DeviceConnection, follow: Follow) -> None:
        self._writers[follow.shard].moved(connection, follow)

    def late(self, connection: DeviceConnection, late: LateDelivery) -> None:
        self._writers[late.delivery.follow.shard].late(connection, late)

    def handed(self, connection: DeviceConnection, follow: Follow) -> None:
        self._writers[follow.shard].handed(connection, follow)

    def ends(self, connection: DeviceConnection, follow: Follow) -> None:
        self._writers[follow.shard].ends(connection, follow)

    async def flush(self) -> None:
        await all_of(writer.flush() for writer in self._writers)

    async def stop(self) -> None:
        await all_of(writer.stop() for writer in self._writers)


class Counts:
    """What became of messages that are in no log, told to the server of their stream."""

    def __init__(self, shards: Shards, counts: Sequence[FleetingCounts]) -> None:
        self._shards = shards
        self._counts = counts

    def count(self, stream: str, token: str | None, id: str, code: str) -> None:
        self._counts[self._shards.number_of(stream)].count(stream, token, id, code)

    def written_to(self, stream: str, id: str, connections: Sequence[DeviceConnection]) -> None:
        self._counts[self._shards.number_of(stream)].written_to(stream, id, connections)

    async def stop(self) -> None:
        await all_of(counts.stop() for counts in self._counts)
