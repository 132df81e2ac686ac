"""The owner of a connector's connections: it carries out what their sessions ask for.

What needs Redis runs as a coroutine, one a request, owned by its connection: an error of ours is
logged once and ends that connection with `internal`; no other connection notices.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from push.access.api_keys import Keyring
from push.access.bans import Bans
from push.cluster.commands import ControlChannel
from push.cluster.survey import SurveyHandler
from push.connector.applying import Applying
from push.connector.currency import Currency
from push.connector.delivery.catch_up import CatchUp
from push.connector.delivery.fanout import FanOut
from push.connector.delivery.redelivery import Redelivery
from push.connector.delivery.sharded_streams import ShardedStreams
from push.connector.delivery.subscriptions import SessionSubscriptions
from push.connector.drain import Drain
from push.connector.remote_commands import RemoteCommands
from push.connector.requests.dispatch import Handler, RequestDispatcher
from push.connector.requests.handshake import Handshake
from push.connector.requests.topics import TopicRequests
from push.connector.transport.connection import LINGER_SECONDS, DeviceConnection
from push.connector.transport.counters import Counters
from push.connector.transport.timing_wheel import TimingWheel
from push.devices.registration import Devices
from push.devices.sessions import Sessions
from push.devices.topics import Topics
from push.redis.errors import StoreUnavailable
from push.redis.shards import Shards
from push.redis.shared_copy import Lease
from push.runtime.tasks import TaskGroup
from push.session.delivery_policy import DeliveryPolicy
from push.session.entry import Batch, Entry
from push.session.events import (
    ConnectRequested,
    Ended,
    Event,
    HeartbeatRequested,
    LateAcknowledged,
    OnlineAcknowledged,
    Progress,
    PublishRequested,
    RedeliveryDue,
    RegisterRequested,
    RenewRequested,
)
from push.session.server import ServerSession, SessionLimits
from push.session.window import ACKNOWLEDGED, TOO_LARGE, Subscription
from push.streams.channel import Channel
from push.wire.errors import RequestError, shortened
from push.wire.idents import Snowflake
from push.wire.signals import DisconnectCode

log = Logger()

RESTART_AFTER_SECONDS = 5
CLOSE_AGAIN_SECONDS = 1.0


class GatewaySettings(msgspec.Struct, frozen=True):
    """How a connector behaves. `max_connections` 0 = no limit of ours."""

    boot: str
    node: str
    limits: SessionLimits
    open_registration: bool = False
    max_connections: int = 0


class Gateway:
    """All connections of one connector."""

    def __init__(
        self,
        reactor: Any,
        shards: Shards,
        control: ControlChannel,
        devices: Devices,
        sessions: Sessions,
        topics: Topics,
        keyring: Keyring,
        bans: Bans,
        lease: Lease,
        snowflake: Snowflake,
        settings: GatewaySettings,
        others: Callable[[str, str], Sequence[str]] = lambda carrier, ip: (),
        drain_ordered: Callable[[float], None] = lambda rate_per_second: None,
        handlers: Mapping[int, Handler] = MappingProxyType({}),
    ) -> None:
        """`others(carrier, ip)`: URLs of other connectors for a device on that carrier, at that
        address; `drain_ordered(rate_per_second)`: an operator wants this connector to leave;
        `handlers`: who answers a PUBLISH, by its sub-signal, beside those for topics."""
        self.counters = Counters()
        self.connections: set[DeviceConnection] = set()
        self.sessions: dict[str, DeviceConnection] = {}
        self._reactor = reactor
        self._clock = shards.first.clock
        self._opener = sessions
        self._bans = bans
        self._settings = settings
        self._limits = settings.limits
        self._stopping = False
        self._all_gone: Deferred[None] | None = None
        self._jobs = TaskGroup()
        self._listening: Deferred[None] | None = None
        self._orders = RemoteCommands(
            reactor,
            control,
            sessions,
            settings.boot,
            self.sessions,
            self._disconnect,
            drain_ordered,
        )
        opening: dict[str, DeviceConnection] = {}
        self._currency = Currency(
            reactor,
            shards,
            lease,
            self.sessions,
            opening,
            lambda connection: self._following.refreshed(connection),
            self._wake,
        )
        self.sources = ShardedStreams(
            reactor,
            shards,
            self,
            settings.boot,
            self._orders.lost,
            self._currency,
        )
        self._cursors, self._counts = self.sources.cursors, self.sources.counts
        shards.on_restored(self._restored)
        self.drain = Drain(reactor, self.sessions, self._cursors, others, self._leave)
        self._wheel = TimingWheel(reactor, self._due)
        self.delivery_policy = DeliveryPolicy(self._limits, self._dropped)
        self._following = SessionSubscriptions(
            reactor,
            self.sources,
            sessions,
            snowflake,
            own=self.own,
            now_ms=self.now_ms,
            wake=self._wake,
            gone=self._forgotten,
            lost=self._orders.lost,
            judge=self.judge,
        )
        subscribing = TopicRequests(shards, topics, self._following, self.sessions)
        self._requests = RequestDispatcher(
            {**subscribing.handlers, **handlers}, self.own, self._is_current, self._make_current
        )
        self._catchup = CatchUp(
            reactor,
            self.sources,
            self.delivery_policy,
            self._wheel,
            own=self._own,
            apply_control=self._apply_control,
            truncated=self._following.truncated,
            is_current=self._currency.is_current,
            make_current=self._currency.make_current,
        )
        self._redelivery = Redelivery(
            reactor,
            self.sources,
            self.delivery_policy,
            self.counters,
            self._wake,
        )
        self.fanout = FanOut(
            reactor,
            self.delivery_policy,
            self._wheel,
            self._cursors,
            self._counts,
            self._wake,
            self._apply_control,
            self._limits.redeliver_after_seconds,
        )
        self._handshake = Handshake(
            reactor,
            devices,
            sessions,
            self._following,
            subscribing,
            keyring,
            self.counters,
            node=settings.node,
            open_registration=settings.open_registration,
            timeout_seconds=shards.first.timeout_seconds,
            now_ms=self.now_ms,
            admit=self._admit,
            others=self.drain.servers,
            take_over=self._orders.end_session,
            opened=self._opened,
            make_current=self._currency.make_current,
            opening=opening,
        )

    # Life

    def start(self) -> None:
        self._wheel.start()
        self.sources.start()
        self._listening = self._own(self._orders.listen())

    def _restored(self) -> None:
        """Orders may have been missed."""
        if not self._stopping:
            self._own(self._orders.verify())

    async def stop(self) -> None:
        """End all sessions, store what they acknowledged, and wait until that is done."""
        self._stopping = True
        for connection in list(self.connections):
            self._disconnect(
                connection,
                DisconnectCode.DRAINING,
                "the server stops",
                RESTART_AFTER_SECONDS,
                self.drain.servers(connection),
            )
        await self.sources.store_all()
        await self._until_all_are_gone(LINGER_SECONDS)
        self.fanout.stop()
        self.sources.stop()
        self._wheel.stop()
        if self._listening is not None:
            self._listening.cancel()
        await self._jobs.finished()
        self._catchup.stop()
        self._currency.stop()

    async def _until_all_are_gone(self, patience_seconds: float) -> None:
        """Peers get time to read why; then their connections are cut."""
        if not self.connections:
            return
        self._all_gone = Deferred()
        patience = self._reactor.callLater(patience_seconds, self._cut_all)
        await self._all_gone
        if patience.active():
            patience.cancel()

    def _cut_all(self) -> None:
        for connection in list(self.connections):
            connection.abort()

    def now_ms(self) -> int:
        """The time of the day in milliseconds, by the first Redis server's clock."""
        return self._clock.now_us() // 1000

    @property
    def capacity(self) -> int:
        """Sessions at most; 0 = no limit."""
        return self._settings.max_connections

    @property
    def written(self) -> int:
        """Messages handed out since the start."""
        return self.delivery_policy.written

    def new_session(self) -> ServerSession:
        return ServerSession(self._limits, self._reactor.seconds())

    # What connections tell (push.connector.transport.connection.Owner)

    def made(self, connection: DeviceConnection) -> None:
        self.counters.accepted += 1
        self.connections.add(connection)
        self._watch(connection)

    def received(self, connection: DeviceConnection, data: bytes) -> None:
        events = connection.session.receive_data(data, self._reactor.seconds())
        if events:
            self._handle(connection, events)
        connection.flush()

    def drained(self, connection: DeviceConnection) -> None:
        self._wake(connection)

    def lost(self, connection: DeviceConnection) -> None:
        self.connections.discard(connection)
        if not self.connections and self._all_gone is not None and not self._all_gone.called:
            self._all_gone.callback(None)
        self._wheel.remove(connection)
        self._following.end(connection)
        if self.sessions.get(connection.session_id) is connection:
            del self.sessions[connection.session_id]
            if connection.token is not None:
                self._own(self._close(connection, connection.token))

    def linger(self, connection: DeviceConnection, seconds: float) -> None:
        self._wheel.remove(connection)
        self._wheel.at(connection, self._reactor.seconds() + seconds)

    async def _close(self, connection: DeviceConnection, token: str) -> None:
        subscriptions = [*connection.subscriptions.values()]
        window = connection.session.window
        while True:
            try:
                await self._cursors.flush()
                left = window.tried(subscriptions, self._reactor.seconds()) if window else []
                await self._opener.close(token, connection.session_id, left)
                return
            except StoreUnavailable as error:
                if self._stopping:
                    log.debug("A session's end was not stored: {reason}", reason=error.reason)
                    return
            # Else the device would be online for as long as this connector is.
            await deferLater(self._reactor, CLOSE_AGAIN_SECONDS)

    # What sessions tell

    def _handle(self, connection: DeviceConnection, events: list[Event]) -> None:
        progress = False
        for event in events:
            if isinstance(event, Progress):
                progress = True
                self.counters.acknowledged += 1
                self._cursors.moved(connection, event.subscription)
            elif isinstance(event, LateAcknowledged):
                self._cursors.late(connection, event.late)
            elif isinstance(event, OnlineAcknowledged):
                self.counters.acknowledged += 1
                self._counts.count(event.stream, connection.token, event.id, ACKNOWLEDGED)
            elif isinstance(event, HeartbeatRequested):
                connection.session.pong(event.message_id, event.sub_signal, self.now_ms())
                self._watch(connection)
            elif isinstance(event, RedeliveryDue):
                self.own(connection, self._redelivery.send(connection, event.deliveries))
            elif isinstance(event, PublishRequested):
                self._requests.take(connection, event)
            elif isinstance(event, ConnectRequested):
                self.own(connection, self._connect(connection, event))
            elif isinstance(event, RegisterRequested):
                self.own(connection, self._handshake.register(connection, event))
            elif isinstance(event, RenewRequested):
                self.own(connection, self._handshake.renew(connection, event))
            else:
                self._ended(connection, event)
        if progress:
            self._wake(connection)

    async def _connect(self, connection: DeviceConnection, wanted: ConnectRequested) -> None:
        for event in await self._handshake.connect(connection, wanted):
            self._ended(connection, event)
        if not connection.session.closing:
            self._watch(connection)
            self._wake(connection)

    def _ended(self, connection: DeviceConnection, event: Ended) -> None:
        if event.code in (DisconnectCode.BAD_FRAME, DisconnectCode.FRAME_TOO_LARGE):
            self.counters.bad_frames += 1
        log.debug(
            "{ip} {session} ended: {code} {reason}",
            ip=connection.ip,
            session=connection.session_id,
            code=event.code,
            reason=shortened(event.reason),
        )
        connection.end(by_peer=event.by_peer)

    # What streams tell (push.streams.hub.Receiver)

    def batch(self, channel: Channel, batch: Batch) -> None:
        self.fanout.batch(channel, batch)

    def end_turn(self) -> None:
        self.fanout.end_turn()

    def repaired(self, channel: Channel) -> None:
        for follower, subscription in list(channel.followers.items()):
            if not subscription.live and isinstance(follower, DeviceConnection):
                self._wake(follower)

    def _apply_control(self, connection: DeviceConnection, entry: Entry) -> None:
        self._following.changed(connection, entry)

    def _dropped(self, _follow: Subscription, _entry: Entry, outcome: str) -> None:
        if outcome == TOO_LARGE:
            self.counters.dropped_too_large += 1
        else:
            self.counters.dropped_unacknowledged += 1

    # Sessions that end for a reason elsewhere

    def _leave(self, connection: DeviceConnection, servers: list[str], after_seconds: int) -> None:
        reason = "this connector is being emptied"
        self._disconnect(connection, DisconnectCode.DRAINING, reason, after_seconds, servers)

    def kick(self, connection: DeviceConnection, reason: str) -> None:
        """End a session for good: its client does not come back by itself."""
        self._disconnect(connection, DisconnectCode.KICKED, reason)

    def end_banned(self) -> None:
        """The bans may have changed."""
        self._orders.end_banned(self._bans)

    def judge(self, connection: DeviceConnection) -> None:
        """A session is another user's now: it ends if that user is banned."""
        self._orders.judge(connection, self._bans)

    async def ended_are_settled(self) -> None:
        """Return when nothing is being done any more that sessions asked for which have ended."""
        await self._requests.ended_are_settled()

    def apply_for(self, answerer: SurveyHandler) -> None:
        """Apply what was written elsewhere, when `answerer` is asked to."""
        Applying(
            answerer,
            self.sessions,
            self._handshake.opening,
            self.sources,
            self._following,
            self._currency,
            self._requests.settled,
        )

    def _is_current(self, connection: DeviceConnection) -> bool:
        return self._bans.is_current and self._currency.is_current(connection)

    async def _make_current(self, connection: DeviceConnection) -> None:
        """What a session asks for is judged by every change that was answered."""
        await self._currency.make_current(connection)
        await self._bans.wait_until_current()

    def _forgotten(self, connection: DeviceConnection) -> None:
        self.kick(connection, "this device was deleted")

    def _disconnect(
        self,
        connection: DeviceConnection,
        code: DisconnectCode,
        reason: str,
        after_seconds: int | None = None,
        servers: list[str] | None = None,
    ) -> None:
        events = connection.session.disconnect(
            code, reason, after_seconds=after_seconds, servers=servers
        )
        if events and code is DisconnectCode.TAKEN_OVER:
            self.counters.taken_over += 1
        self._handle(connection, events)

    # Small parts

    def _admit(self) -> RequestError | None:
        limit = self._settings.max_connections
        if self._stopping or self.drain.draining or (limit and len(self.sessions) >= limit):
            return RequestError(
                "unavailable", "this connector takes no more sessions", after_seconds=10
            )
        return None

    def _opened(self, connection: DeviceConnection) -> None:
        connection.connected_ms = self.now_ms()
        self.sessions[connection.session_id] = connection
        self._orders.opened(connection)

    def _wake(self, connection: DeviceConnection) -> None:
        self._catchup.wake(connection)

    def _watch(self, connection: DeviceConnection) -> None:
        deadline = connection.session.next_deadline()
        if deadline is not None:
            self._wheel.at(connection, deadline)

    def _due(self, connection: DeviceConnection) -> None:
        if connection.session.closing:
            connection.cut()
            return
        events = connection.session.tick(self._reactor.seconds())
        self._handle(connection, events)
        connection.flush()
        self._watch(connection)

    def own(self, connection: DeviceConnection, job: Coroutine[Any, Any, None]) -> None:
        """Run a connection's request to its end; an error of ours ends the connection."""

        def failed(failure: Failure) -> None:
            log.failure("A request of {ip} failed", failure=failure, ip=connection.ip)
            self._disconnect(connection, DisconnectCode.INTERNAL, "an error of the server")

        self._jobs.run(job, failed)

    def _own(self, job: Coroutine[Any, Any, None]) -> Deferred[None]:
        """Run something of the gateway's own; an error is logged."""
        return self._jobs.run(job, _log_failure)


def _log_failure(failure: Failure) -> None:
    log.failure("A job of the gateway failed", failure=failure)
