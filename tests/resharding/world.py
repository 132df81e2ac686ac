"""The ledger's model (tests/connector/ledger_world.py) on several real Redis servers, between which
everything is moved."""

from __future__ import annotations

import json
import random
import secrets
from collections.abc import Sequence
from typing import Any

import msgspec

from push.devices.outbox import OutboxRelay
from push.devices.session_ending import EndedSession
from push.devices.session_opening import Opened
from push.pushing.content import PushContent
from push.pushing.service import Push
from push.pushing.targets import Target
from push.redis.client import RedisClient
from push.redis.connection.url import parse_store_url
from push.redis.identity import Deployment
from push.redis.shards import Shards
from push.session.delivery_policy import DeliveryPolicy
from push.session.server_answers import SessionLimits
from push.session.subscription import EXPIRED, GONE, LateAcknowledgement, Subscription
from push.streams.cursors.writer import CursorWriter
from push.streams.log import LogReader, WantedPages, has_expired
from push.streams.sweeper import Sweeper
from push.wire.api.push import PushResult
from push.wire.bodies import ConnectRequest
from tests.connector.ledger_world import TOPICS, Seat, World

Waiting = dict[str, list[str]]  # by stream


class Writers:
    """A writer of cursors for each server."""

    def __init__(self, writers: Sequence[CursorWriter]) -> None:
        self._writers = writers

    def moved(self, holder: Any, subscription: Subscription) -> None:
        self._writers[subscription.shard].moved(holder, subscription)

    def handed(self, holder: Any, subscription: Subscription) -> None:
        self._writers[subscription.shard].handed(holder, subscription)

    def late(self, holder: Any, late: LateAcknowledgement) -> None:
        self._writers[late.delivery.subscription.shard].late(holder, late)

    async def flush(self) -> None:
        for writer in self._writers:
            await writer.flush()

    async def stop(self) -> None:
        for writer in self._writers:
            await writer.stop()


class Worlds(World):
    """As `World`; `settle` takes it to another list of servers, with all that it knows."""

    def __init__(self, reactor: Any, seed: int) -> None:
        self.reactor = reactor
        self.chance = random.Random(seed)
        self.secrets = {}
        self.users = {}
        self.followed = {topic: set() for topic in TOPICS}
        self.seats = {}
        self.ghosts = []
        self.addressed = {}
        self.handed = set()
        self.acked = set()
        self.maybe = set()
        self.late = {}
        self.servers: list[RedisClient] = []
        self.delivery_policy = DeliveryPolicy(SessionLimits(max_deliveries=10**9), lambda *_: None)

    async def settle(self, urls: Sequence[str], wait_until: Any) -> None:
        deployment = Deployment(len(urls))
        self.servers = [
            RedisClient(self.reactor, parse_store_url(url), deployment=deployment, number=number)
            for number, url in enumerate(urls)
        ]
        shards = Shards(self.servers)
        shards.start()
        await wait_until(lambda: not shards.problems)
        self.shards = shards
        self.store = shards.first
        self.use(self.reactor, shards, per_minute=100_000)
        self.readers = [LogReader(server) for server in shards]
        self.writer: Any = Writers(
            [CursorWriter(self.reactor, server, self._lost) for server in shards]
        )
        self.sweepers = [Sweeper(self.reactor, server, 10**7) for server in shards]
        self.runners = [OutboxRelay(self.reactor, server, self.outbox) for server in shards]

    async def unsettle(self) -> None:
        """All daemons end: sessions are closed, connections too."""
        if not self.servers:
            return
        await self.flush()
        for seat in list(self.seats.values()):
            assert seat.window is not None
            left = seat.window.failed_attempts(seat.subscriptions.values(), 0.0)
            await self.sessions.ending.close(
                [EndedSession(seat.token or "", seat.session_id, left)]
            )
            self.gone(seat)
        for seat in list(self.ghosts):
            self.gone(seat)
        await self.stop()
        await self.shards.stop()
        self.servers = []

    # As in World, by the server of each stream

    async def read_on(self, seat: Seat) -> bool:
        assert seat.window is not None
        more = False
        for subscription in list(seat.subscriptions.values()):
            reading = await self.readers[subscription.shard].read(
                [WantedPages(subscription.stream, subscription.position, 4)]
            )
            (page,) = reading.pages
            cursor, position = subscription.cursor, subscription.position
            if page.lost > subscription.position:
                seat.window.add_done(subscription, page.lost)
            full = False
            for entry in page.entries:
                if has_expired(entry, reading.now_us):
                    if entry.offset > subscription.position:
                        seat.window.skip(subscription, entry, EXPIRED)
                    continue
                data = self.delivery_policy.from_log(seat, subscription, entry, 0)  # type: ignore[arg-type]
                full = data is None
                if full:
                    break
                if data:
                    self.handed.add((entry.id, seat.token or ""))
            if page.complete and not full:
                subscription.position = max(subscription.position, reading.clock_us)
            if subscription.cursor != cursor:
                self.writer.moved(seat, subscription)
            elif subscription.position != position:
                self.writer.handed(seat, subscription)
            more |= not full and not page.complete
        return more

    async def redeliver(self) -> None:
        for seat in list(self.seats.values()):
            assert seat.window is not None
            for delivery in list(seat.window.outstanding.values()):
                stream = delivery.subscription.stream
                reader = self.readers[delivery.subscription.shard]
                found, expired = await reader.get(stream, [delivery.offset])
                entry, gone = found.get(delivery.offset), GONE
                if delivery.offset in expired:
                    entry, gone = None, EXPIRED if stream.startswith("dev:") else GONE
                _, moved = self.delivery_policy.redeliver(seat, delivery, entry, 0, gone)  # type: ignore
                if moved is not None:
                    self.writer.moved(seat, moved)

    async def later(self, seconds: int) -> None:
        """Each server's clock goes its own way."""
        for server in self.servers:
            drift_us = self.chance.randrange(2_000_000)
            clock = server.clock.now_us() + seconds * 1_000_000 + drift_us
            await server.command("SET", server.key("clock"), clock)
            server.clock.observe(clock)

    async def pass_time(self) -> None:
        await self.later(self.chance.choice([10, 61, 300]))
        for sweeper in self.sweepers:
            if self.chance.random() < 0.7:
                await sweeper.sweep()

    async def sweep_all(self) -> None:
        """All servers agree on what has expired: what only one has swept, a move ends for all."""
        clock = max(server.clock.now_us() for server in self.servers)
        for server, sweeper in zip(self.servers, self.sweepers, strict=True):
            await server.command("SET", server.key("clock"), clock)
            server.clock.observe(clock)
            await sweeper.sweep()

    # To compare

    async def say(self, kind: str, *names: str, data: Any = 1, **more: Any) -> PushResult:
        once = more.pop("once", None)
        content = PushContent(data=msgspec.Raw(json.dumps(data).encode()), **more)
        receipt = await self.pushing.push(Push(Target(kind, names), content, once))
        return receipt

    async def waiting(self) -> dict[str, Waiting]:
        """By device: what waits for it and has not expired, in order, as its record says."""
        found = {}
        for token in sorted(self.secrets):
            home = self.shards.number_of(f"dev:{token}")
            key = self.shards[home].key(f"device:{token}")
            session = await self.shards[home].command("HGET", key, "s") or b""
            record = await self.sessions.records.of_device(token, session.decode())
            assert record is not None
            parts = {subscription.stream: subscription for subscription in record.subscriptions}
            server = self.shards[home]
            fields = await server.command("HKEYS", server.key(f"device:{token}"))
            for name in fields:
                if name.startswith(b"x:"):
                    subscription = await self._follow(token, name[2:].decode())
                    if subscription is not None:
                        parts[subscription.stream] = subscription
            found[token] = {
                stream: ids
                for stream, subscription in parts.items()
                if (ids := await self._behind(subscription))
            }
        return found

    async def _follow(self, token: str, stream: str) -> Subscription | None:
        number = self.shards.number_of(stream)
        server = self.shards[number]
        cursor = await server.command("HGET", server.key(f"device:{token}"), f"c:{stream}")
        return Subscription(stream, int(cursor), number) if cursor else None

    async def _behind(self, subscription: Subscription) -> list[str]:
        reading = await self.readers[subscription.shard].read(
            [WantedPages(subscription.stream, subscription.position, 1000)], 1 << 30
        )
        return [
            entry.id
            for entry in reading.pages[0].entries
            if entry.control is None and not has_expired(entry, reading.now_us)
        ]

    async def funnels(self) -> dict[str, Any]:
        found = {}
        for id in self.addressed:
            funnel = await self.pushing._ledger.counts_of(id)
            if funnel is not None:
                rest = {"offset": 0, "ts": 0, "expires": 0}
                found[id] = msgspec.structs.replace(funnel, **rest)
        return found

    async def lines(self) -> dict[str, Any]:
        return {id: await self.pushing._ledger.devices(id) for id in self.addressed}

    async def check_empty_at_end(self) -> None:
        """Everybody comes back, reads and acknowledges; then all that is left expires."""
        await self.flush()
        for token in sorted(self.secrets):
            before = self.seats.get(token)
            if before is not None:
                self.gone(before)
            await self.take_all(token)
        for _ in range(2):
            await self.check()
            await self.later(86_401)
            for sweeper in self.sweepers:
                await sweeper.sweep()
        await self.check(over=True)

    async def take_all(self, token: str) -> Waiting:
        """A session that reads and acknowledges all there is; what it was handed, in order."""
        seat = await self.open(token, 1 << 20)
        got: Waiting = {}
        assert seat.window is not None
        while await self.read_on(seat) or seat.window.outstanding:
            for number, delivery in sorted(
                seat.window.outstanding.items(), key=lambda item: item[1].offset
            ):
                got.setdefault(delivery.subscription.stream, []).append(delivery.id)
                self.acknowledge_one(seat, number)
        await self.flush()
        return got

    async def leave_now(self, token: str) -> None:
        """The device's session ends in order."""
        await self.flush()
        seat = self.seats.pop(token)
        assert seat.window is not None
        left = seat.window.failed_attempts(seat.subscriptions.values(), 0.0)
        await self.sessions.ending.close([EndedSession(token, seat.session_id, left)])

    async def opened(self, token: str) -> Opened:
        """What a device that connects is told."""
        asked = ConnectRequest(token=token, secret=self.secrets[token])
        return await self.sessions.opening.open(asked, secrets.token_hex(4), "::1")
