"""What a connector has for each Redis server: hub, logs, cursors and counts.

The `Subscription` of a session says which server has the stream.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from push.connector.sessions.device_session import DeviceSession
from push.redis.client import RedisClient
from push.redis.shards import Shards
from push.runtime.ports import Clock
from push.runtime.tasks import gather
from push.runtime.turn_share import TurnShare, TurnTime
from push.session.subscription import Subscription
from push.streams.channel import Channel
from push.streams.cursors.writer import CursorWriter
from push.streams.hub import Hub, Receiver
from push.streams.ledger import EphemeralCounts
from push.streams.log import LogReader
from push.streams.log_cache import LogCache
from push.streams.shared_reader import SharedLogReader

# Of a turn of the reactor, for sessions that read on in logs: what comes live, acknowledgements and
# requests do not wait for them, however many they are.
STEPS_PER_TURN = 64  # each at most a window for one session


class Gate(Protocol):
    """Whether what comes on channels may be handed to sessions."""

    def may_hand_on(self, server: RedisClient) -> bool:
        """What comes on the channels of `server`, now."""

    def is_late(self) -> bool:
        """Whether changes may have been answered before this connector has received them."""


class ServerStreams:
    """One server, as far as a connector reads from it and tells it what became of messages."""

    def __init__(
        self,
        reactor: Clock,
        server: RedisClient,
        receiver: Receiver,
        name: str,
        on_lost: Callable[[Any], None],
        gate: Gate,
        steps: TurnShare,
    ) -> None:
        self.server = server
        self.reader = LogReader(server)
        self.log_cache = LogCache()
        self.hub = Hub(
            reactor,
            server,
            self.reader,
            self.log_cache,
            receiver,
            name,
            may_hand_on=gate.may_hand_on,
            is_late=gate.is_late,
        )
        self.pages = SharedLogReader(server, self.reader, self.log_cache, steps)
        self.cursors = CursorWriter(reactor, server, on_lost)
        self.counts = EphemeralCounts(reactor, server)


class ShardedStreams:
    """All servers. `name` is the connector's own; `on_lost(device)`: see `CursorWriter`."""

    def __init__(
        self,
        reactor: Clock,
        shards: Shards,
        receiver: Receiver,
        name: str,
        on_lost: Callable[[Any], None],
        gate: Gate,
        turn_time: TurnTime,
    ) -> None:
        self._shards = shards
        self.steps = steps = TurnShare(turn_time, STEPS_PER_TURN)
        # By the `shard` of subscriptions.
        self.servers = [
            ServerStreams(reactor, server, receiver, name, on_lost, gate, steps)
            for server in shards
        ]
        self.cursors = ShardedCursors(server.cursors for server in self.servers)
        self.counts = ShardedCounts(shards, [server.counts for server in self.servers])

    def __iter__(self) -> Iterator[ServerStreams]:
        return iter(self.servers)

    def unfollow(self, device: DeviceSession, subscription: Subscription) -> None:
        self.servers[subscription.shard].hub.unfollow(subscription.stream, device)

    def channel(self, subscription: Subscription) -> Channel | None:
        return self.servers[subscription.shard].hub.channels.get(subscription.stream)

    def followers_of(self, stream: str) -> list[DeviceSession]:
        """The connections that follow `stream`."""
        channel = self.servers[self._shards.number_of(stream)].hub.channels.get(stream)
        if channel is None:
            return []
        return [each for each in channel.followers if isinstance(each, DeviceSession)]

    def start(self) -> None:
        for server in self.servers:
            server.hub.start()

    async def store_all(self) -> None:
        """Store what is not stored yet, for the last time."""
        await self.cursors.stop()
        await self.counts.stop()

    def stop(self) -> None:
        for server in self.servers:
            server.hub.stop()


class ShardedCursors(tuple[CursorWriter, ...]):
    """The cursor writers of all servers, by the `shard` of subscriptions."""

    __slots__ = ()

    def write_now(self) -> None:
        for writer in self:
            writer.write_now()

    async def flush(self) -> None:
        await gather(writer.flush() for writer in self)

    async def stop(self) -> None:
        await gather(writer.stop() for writer in self)


class ShardedCounts:
    """What became of messages that are in no log, told to the server of their stream."""

    def __init__(self, shards: Shards, counts: Sequence[EphemeralCounts]) -> None:
        self._shards = shards
        self._counts = counts

    def count(self, stream: str, token: str | None, id: str, code: str) -> None:
        self._counts[self._shards.number_of(stream)].count(stream, token, id, code)

    def happened(
        self, stream: str, ids: Sequence[str], connections: Sequence[DeviceSession], code: str
    ) -> None:
        self._counts[self._shards.number_of(stream)].happened(stream, ids, connections, code)

    async def stop(self) -> None:
        await gather(counts.stop() for counts in self._counts)
