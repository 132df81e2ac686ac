"""Devices and a backend step by step, and a model of what the ledger must say of them.

Sessions are real windows, hand-outs and cursor writers on a real Redis, driven step by step. The
model only knows what devices were handed, what they acknowledged, and which acknowledgements were
on a session whose end may have swallowed them.
"""

from __future__ import annotations

import json
import random
import secrets
from typing import Any

import msgspec

from push.access.jwt import JwtVerifier
from push.daemons.domain import DomainLimits
from push.devices.session_ending import EndedSession
from push.devices.sessions import Sessions
from push.pushing.content import PushContent
from push.pushing.service import Push
from push.pushing.targets import Target
from push.redis.client import RedisClient
from push.redis.connection.errors import StoreUnavailable
from push.redis.shards import Shards
from push.session.delivery_policy import DeliveryPolicy
from push.session.server_answers import SessionLimits
from push.session.subscription import EXPIRED, GONE, LateAcknowledgement, Subscription
from push.session.transitions import State
from push.session.window import Window
from push.streams.cursors.writer import CursorWriter
from push.streams.log import LogReader, WantedPages, has_expired
from push.streams.publisher import Retention
from push.streams.sweeper import Sweeper
from push.wire.bodies import ConnectRequest
from push.wire.codecs.binary import BINARY
from push.wire.errors import RequestError
from tests.domains import make_domain

USERS = ("anna", "ben")
TOPICS = ("news", "sport")
LIMIT = 12  # messages in a log
SMALL_FRAME = 4096

Told = tuple[str, str]  # (message, token)


class Seat:
    """One session of a device."""

    def __init__(
        self, token: str, session_id: str, subscriptions: list[Subscription], max_frame: int
    ) -> None:
        self.token: str | None = token
        self.session_id = session_id
        self.state = State.OPEN
        self.codec = BINARY
        self.max_frame_bytes = max_frame
        self.window: Window | None = Window(6, 1 << 20)
        self.subscriptions = {subscription.stream: subscription for subscription in subscriptions}
        # Acknowledged, and not known to be stored: (stream, offset) by message.
        self.unstored: dict[str, tuple[str, int]] = {}


class World:
    """Devices, a backend, the server, and the model."""

    def __init__(self, reactor: Any, store: RedisClient, seed: int) -> None:
        self.chance = random.Random(seed)
        self.store = store
        self.secrets: dict[str, str] = {}
        self.users: dict[str, str] = {}
        self.followed: dict[str, set[str]] = {topic: set() for topic in TOPICS}
        self.seats: dict[str, Seat] = {}
        self.ghosts: list[Seat] = []  # sessions that were taken over and do not know it yet
        # The model.
        self.addressed: dict[str, set[str]] = {}
        self.handed: set[Told] = set()
        self.acked: set[Told] = set()
        self.maybe: set[Told] = set()
        # Told of by themselves, and not yet written: in which stream.
        self.late: dict[Told, str] = {}

        self.use(reactor, Shards([store]))
        self.reader = LogReader(store)
        self.delivery_policy = DeliveryPolicy(SessionLimits(max_deliveries=10**9), lambda *_: None)
        self.impatient = DeliveryPolicy(SessionLimits(max_deliveries=1), lambda *_: None)
        self.writer = CursorWriter(reactor, store, self._lost)
        self.sweeper = Sweeper(reactor, store, 10**7)

    def use(self, reactor: Any, shards: Shards, per_minute: int = 0) -> None:
        """What a connector has on these servers. Nobody asks others, or closes a session here: it
        finds out by itself. `per_minute`: registrations and wrong secrets of an address."""
        retention = Retention(device_max_messages=LIMIT, shared_max_messages=LIMIT)
        limits = DomainLimits(
            retention=retention,
            registrations_per_minute=per_minute,
            failed_secrets_per_minute=per_minute,
            topics_per_device=100,
        )
        domain = make_domain(reactor, limits, shards, "boot")
        self.devices, self.topics = domain.devices, domain.topics
        self.pushing, self.outbox = domain.pushing, domain.outbox
        self.observer, self.snowflake = domain.observer, domain.snowflake
        self.sessions = Sessions(
            shards,
            self.devices,
            self.outbox,
            JwtVerifier([], algorithms=["HS256"], audience="push", issuer=None),
            boot="boot",
            node="node",
            retention_seconds=10**7,
            redeliver_after_seconds=0,
        )

    async def stop(self) -> None:
        """Store what waits to be stored."""
        await self.writer.stop()
        await self.observer.store_all()
        self.observer.stop()

    def _lost(self, seat: Seat) -> None:
        self.gone(seat)

    def gone(self, seat: Seat) -> None:
        """A session is over: what it had not stored may be lost."""
        assert seat.token is not None
        self.maybe |= {(id, seat.token) for id in seat.unstored}
        self.maybe |= {told for told in self.late if told[1] == seat.token}
        seat.unstored.clear()
        if seat in self.ghosts:
            self.ghosts.remove(seat)
        if self.seats.get(seat.token) is seat:
            del self.seats[seat.token]

    def some(self, items: Any) -> Any:
        """One of them, or None."""
        listed = sorted(items)
        return self.chance.choice(listed) if listed else None

    async def register(self) -> None:
        if len(self.secrets) < 5:
            pair = await self.devices.register(platform="p", app="a", ip="::1")
            self.secrets[pair.token] = pair.secret

    async def connect(self) -> None:
        token = self.some(self.secrets)
        if token is None:
            return
        before = self.seats.pop(token, None)
        if before is not None:
            self.ghosts.append(before)
        await self.open(token)

    async def open(self, token: str, max_frame: int = 0) -> Seat:
        session_id = secrets.token_hex(4)
        asked = ConnectRequest(token=token, secret=self.secrets[token])
        opened = await self.sessions.opening.open(asked, session_id, "::1")
        frame = max_frame or self.chance.choice([SMALL_FRAME, 1 << 20])
        seat = self.seats[token] = Seat(token, session_id, opened.subscriptions, frame)
        return seat

    async def leave(self) -> None:
        seat = self.seats.get(self.some(self.seats) or "")
        if seat is not None:
            if self.chance.random() < 0.7:
                await self.flush()
                await self.sessions.ending.close([EndedSession(seat.token or "", seat.session_id)])
            self.gone(seat)

    async def bind(self) -> None:
        token = self.some(self.secrets)
        if token is None:
            return
        user = self.chance.choice(USERS)
        if self.users.get(token) == user and self.chance.random() < 0.5:
            await self.devices.unbind(user, token)
            del self.users[token]
        else:
            await self.devices.bind(user, token)
            self.users[token] = user
        await self.refresh_all(token)

    async def subscribe(self) -> None:
        """Or unsubscribe."""
        token, topic = self.some(self.secrets), self.chance.choice(TOPICS)
        if token is None:
            return
        if token in self.followed[topic] and self.chance.random() < 0.5:
            assert (await self.topics.unsubscribe(topic, token)).changed
            self.followed[topic].discard(token)
        else:
            new = await self.topics.subscribe(topic, token)
            assert new.changed == (token not in self.followed[topic])
            self.followed[topic].add(token)
        await self.refresh_all(token)

    async def refresh_all(self, token: str) -> None:
        for seat in [*self.ghosts, *self.seats.values()]:
            if seat.token == token:
                await self.refresh(seat)

    async def refresh(self, seat: Seat) -> None:
        """As the connector does when the record of a device has changed."""
        assert seat.token is not None
        assert seat.window is not None
        record = await self.sessions.records.of_device(seat.token, seat.session_id)
        assert record is not None
        if record.session != seat.session_id:
            return  # taken over: the connector ends such a session
        wanted = {subscription.stream: subscription for subscription in record.subscriptions}
        for stream, subscription in list(seat.subscriptions.items()):
            if stream in wanted and record.since[stream] <= subscription.position:
                continue
            self.maybe |= {
                told for told, of in self.late.items() if told[1] == seat.token and of == stream
            }
            unstored = {id for id, place in seat.unstored.items() if place[0] == stream}
            self.maybe |= {(id, seat.token) for id in unstored}
            for id in unstored:
                del seat.unstored[id]
            seat.window.forget(subscription)
            del seat.subscriptions[stream]
        for stream, subscription in wanted.items():
            seat.subscriptions.setdefault(stream, subscription)

    async def forget(self) -> None:
        token = self.some(self.secrets)
        if token is None or self.chance.random() < 0.6:
            return
        await self.devices.forget(token)
        del self.secrets[token]
        self.users.pop(token, None)
        for devices in self.followed.values():
            devices.discard(token)
        for seat in [*self.ghosts, *self.seats.values()]:
            if seat.token == token:
                self.gone(seat)

    async def push(self) -> None:
        await self.push_to(self.chance.choice(["all", "token", "tokens", "user", "users", "user"]))

    async def push_to_topic(self) -> None:
        await self.push_to("topic")

    async def push_to(self, kind: str) -> None:
        names: tuple[str, ...] = ()
        if kind in ("token", "tokens"):
            known = sorted(self.secrets)
            if not known:
                return
            count = 1 if kind == "token" else min(3, len(known))
            names = tuple(self.chance.sample(known, count))
            addressed = set(names)
        elif kind == "all":
            addressed = set(self.secrets)
        elif kind == "topic":
            names = (self.chance.choice(TOPICS),)
            addressed = set(self.followed[names[0]])
        else:
            names = (self.chance.choice(USERS),) if kind == "user" else (*USERS, "nobody", "anna")
            addressed = {token for token, user in self.users.items() if user in names}
        data = "x" * self.chance.choice([1, 1, 1, 5000])
        receipt = await self.pushing.push(
            Push(
                Target(kind, names),
                PushContent(
                    data=msgspec.Raw(json.dumps(data).encode()),
                    ttl_seconds=self.chance.choice([60, 600, 86_400]),
                    collapse=self.chance.choice([None, None, "k", "l"]),
                ),
            )
        )
        self.addressed[receipt.id] = addressed

    async def read(self) -> None:
        for seat in [*self.ghosts, *self.seats.values()]:
            if self.chance.random() < 0.6:
                await self.read_on(seat)

    async def read_on(self, seat: Seat) -> bool:
        """A turn of catching up in all streams; True if more may be there."""
        assert seat.token is not None
        assert seat.window is not None
        session: Any = seat
        more = False
        for subscription in list(seat.subscriptions.values()):
            reading = await self.reader.read(
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
                data = self.delivery_policy.from_log(session, subscription, entry, 0)
                full = data is None
                if full:
                    break
                if data:
                    self.handed.add((entry.id, seat.token))
            if page.complete and not full:
                subscription.position = max(subscription.position, reading.clock_us)
            if subscription.cursor != cursor:
                self.writer.moved(seat, subscription)
            elif subscription.position != position:
                self.writer.handed(seat, subscription)
            more |= not full and not page.complete
        return more

    async def acknowledge(self) -> None:
        for seat in [*self.ghosts, *self.seats.values()]:
            assert seat.window is not None
            for number in list(seat.window.outstanding):
                if self.chance.random() < 0.4:
                    self.acknowledge_one(seat, number)

    def acknowledge_one(self, seat: Seat, number: int) -> None:
        """As the server session and the gateway do."""
        assert seat.token is not None
        assert seat.window is not None
        delivery = seat.window.outstanding[number]
        forgotten = delivery.subscription is not seat.subscriptions.get(
            delivery.subscription.stream
        )
        moved = seat.window.acknowledge(number, 0.0)
        if forgotten:
            return
        told = (delivery.id, seat.token)
        self.acked.add(told)
        if isinstance(moved, LateAcknowledgement):
            self.late[told] = delivery.subscription.stream
            self.writer.late(seat, moved)
            return
        seat.unstored[delivery.id] = (delivery.subscription.stream, delivery.offset)
        if moved is not None:
            self.writer.moved(seat, moved)

    async def redeliver(self) -> None:
        """All that is outstanding is looked up again."""
        await self.send_again(self.delivery_policy)

    async def give_up(self) -> None:
        """Of what is outstanding, the first of each stream has been sent often enough, and then
        what stands behind it."""
        await self.send_again(self.impatient)

    async def send_again(self, delivery_policy: DeliveryPolicy) -> None:
        for seat in list(self.seats.values()):
            assert seat.window is not None
            session: Any = seat
            for delivery in list(seat.window.outstanding.values()):
                stream = delivery.subscription.stream
                found, expired = await self.reader.get(stream, [delivery.offset])
                entry, gone = found.get(delivery.offset), GONE
                if delivery.offset in expired:
                    entry, gone = None, EXPIRED if stream.startswith("dev:") else GONE
                if delivery_policy is self.impatient and self.chance.random() < 0.5:
                    continue
                _, moved = delivery_policy.redeliver(session, delivery, entry, 0, gone)
                if moved is not None:
                    self.writer.moved(seat, moved)

    async def flush(self) -> None:
        await self.observer.recent.store_all()
        await self.writer.flush()
        self.late.clear()
        for seat in self.seats.values():
            for id, (stream, offset) in list(seat.unstored.items()):
                subscription = seat.subscriptions.get(stream)
                if subscription is None or offset <= subscription.cursor:
                    del seat.unstored[id]

    async def flush_in_vain(self) -> None:
        """Redis does not answer; what was asked of it took effect or did not."""
        run, took_effect = self.store.run, self.chance.random() < 0.5

        async def fail(*arguments: Any, **options: Any) -> Any:
            if took_effect:
                await run(*arguments, **options)
            raise StoreUnavailable("no answer", unknown=True)

        self.maybe |= self.late.keys()  # where there are counters these are not replayed
        self.store.run = fail  # type: ignore[method-assign]
        try:
            await self.writer.flush()
        finally:
            self.store.run = run  # type: ignore[method-assign]

    async def cancel(self) -> None:
        id = self.some(list(self.addressed)[-20:])
        if id is not None:
            cancelled = await self.pushing.cancel(id)
            assert cancelled <= len(self.addressed[id])

    async def pass_time(self) -> None:
        await self.later(self.chance.choice([10, 61, 300]))
        if self.chance.random() < 0.7:
            await self.sweeper.sweep()

    async def later(self, seconds: int) -> None:
        clock = self.store.clock.now_us() + seconds * 1_000_000
        await self.store.command("SET", self.store.key("clock"), clock)
        self.store.clock.observe(clock)

    # What must hold

    async def check(self, *, over: bool = False) -> None:
        for id, addressed in self.addressed.items():
            try:
                funnel = await self.pushing.message(id)
            except RequestError:
                assert over  # longer ago than is kept
                continue
            acked = {token for told, token in self.acked if told == id}
            handed = {token for told, token in self.handed if told == id}
            sure = {token for token in acked if (id, token) not in self.maybe}
            unstored = {s.token for s in [*self.ghosts, *self.seats.values()] if id in s.unstored}
            unstored |= {token for told, token in self.late if told == id}
            dropped = sum(funnel.dropped.values())
            ended = funnel.acknowledged + funnel.expired + funnel.cancelled + dropped
            where = f"{funnel} acknowledged by {acked}, surely by {sure}, handed to {handed}"
            assert funnel.addressed == len(addressed), where
            assert funnel.acknowledged <= funnel.written <= len(handed & addressed), where
            assert len(sure - unstored) <= funnel.acknowledged <= len(acked), where
            assert min(funnel.expired, funnel.cancelled, *funnel.dropped.values(), 0) == 0, where
            assert ended == funnel.addressed if over else ended <= funnel.addressed, where
            for line in (await self.pushing._ledger.devices(id)) or []:
                if line.state == "acknowledged":
                    assert line.token in acked, where
                elif line.token in sure - unstored:
                    raise AssertionError(f"{line.token} is {line.state}: {where}")

    async def end(self) -> None:
        """Everybody comes back, reads and acknowledges; then all that is left expires."""
        await self.flush()
        for token in sorted(self.secrets):
            before = self.seats.get(token)
            if before is not None:
                self.gone(before)
            seat = await self.open(token)
            assert seat.window is not None
            again = True
            while again or seat.window.outstanding:
                again = await self.read_on(seat)
                for number in list(seat.window.outstanding):
                    self.acknowledge_one(seat, number)
            await self.flush()
        for _ in range(2):
            await self.check()
            await self.later(86_401)
            await self.sweeper.sweep()
        await self.check(over=True)
        found = await self.store.command("KEYS", "*")
        kinds = {key.decode().split(":")[1] for key in found}
        kept = {"clock", "devices", "device", "message", "user-devices", "lost"}
        observed = {"recent", "recent-owners", "recent-total"}
        assert kinds <= kept | observed | {"followers", "topics", "ended"}, found
        shared = ["all", *(f"user:{user}" for user in USERS), *(f"topic:{t}" for t in TOPICS)]
        registered = {f"lost:dev:{token}" for token in self.secrets}
        registered |= {f"lost:{stream}" for stream in shared}
        lost = {key.decode().removeprefix("push:") for key in found if b":lost:" in key}
        assert lost <= registered
        listed = {each.topic: each.devices for each in (await self.topics.find_topics()).topics}
        assert listed == {t: len(devices) for t, devices in self.followed.items() if devices}
