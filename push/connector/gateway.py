"""The owner of a connector's connections: it carries out what their protocols ask for.

`handle` is the one loop over what protocols say; a table names the method for each kind of event.
What needs Redis runs as a coroutine, one a request, owned by its connection: an error of ours is
logged once and ends that connection with `internal`; no other connection notices.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from push.cluster.survey import SurveyHandler
from push.connector.applying import Applying
from push.connector.delivery.catch_up import CatchUp
from push.connector.delivery.fanout import FanOut
from push.connector.delivery.redelivery import Redelivery
from push.connector.delivery.subscriptions import SessionSubscriptions
from push.connector.event_streams import EventStreams
from push.connector.limits.connector_limits import ConnectorLimits
from push.connector.limits.read_queue import OVER_RATE_SECONDS
from push.connector.requests.dispatch import RequestDispatcher
from push.connector.requests.handshake import Handshake
from push.connector.requests.topics import TopicRequests
from push.connector.sessions.currency import Currency
from push.connector.sessions.device_session import Connection, DeviceSession, Phase
from push.connector.sessions.drain import Drain
from push.connector.sessions.remote_commands import RemoteCommands
from push.connector.sessions.services import GatewayServices, GatewaySettings
from push.connector.sessions.session_ends import SessionEnds
from push.connector.sessions.sharded_streams import ShardedStreams
from push.connector.transport.connection import LINGER_SECONDS, DeviceConnection
from push.connector.transport.counters import Counters
from push.connector.transport.timing_wheel import TimingWheel
from push.observe.session_events import CONNECTION_LOST
from push.redis.keyspace import DROPPED
from push.runtime.log_detail import detail
from push.runtime.ports import Clock
from push.runtime.tasks import TaskGroup
from push.session.delivery_policy import DeliveryPolicy
from push.session.entry import Entry
from push.session.events import (
    ConnectRequested,
    Ended,
    Event,
    GoodbyeSaid,
    HeartbeatRequested,
    LateAcknowledged,
    OnlineAcknowledged,
    PositionsReached,
    Progress,
    PublishRequested,
    RedeliveryDue,
    RegisterRequested,
    RenewRequested,
)
from push.session.server import ServerSession
from push.session.subscription import ACKNOWLEDGED, TOO_LARGE, Subscription
from push.session.transitions import State
from push.streams.event_positions import EventPositions
from push.wire.codecs.codec import Codec
from push.wire.errors import shortened
from push.wire.signals import ConnectStatus, DisconnectCode

log = Logger()

RESTART_AFTER_SECONDS = 5
SHORT_SESSION_MS = 2000
_KNOWN_ENDS = frozenset((*map(str, DisconnectCode), *(each.name for each in ConnectStatus)))


class Gateway:
    """All connections of one connector: what its parts need of each other is `GatewayPort`."""

    def __init__(
        self, reactor: Clock, services: GatewayServices, settings: GatewaySettings
    ) -> None:
        self.counters = Counters()
        self.connections: set[DeviceConnection] = set()
        self.sessions: dict[str, DeviceSession] = {}
        self.opening: dict[str, DeviceSession] = {}
        self._reactor = reactor
        self._services = services
        self._settings = settings
        self._methods = self._methods_of_events()
        self._stopping = False
        self._all_gone: Deferred[None] | None = None
        self._listening: Deferred[None] | None = None
        self._jobs = TaskGroup()
        self._wheel = wheel = TimingWheel(reactor, self._due)
        self.limits = ConnectorLimits(
            reactor, settings.connector_limits, services.is_short_of_memory, self._over_rate
        )
        self.reads = self.limits.reads
        self.limits.admission.connections = self.connections
        self.session_events = services.session_events
        self.delivery_policy = policy = DeliveryPolicy(settings.limits, self._dropped)
        shards, sessions = services.shards, services.sessions
        self.commands = RemoteCommands(reactor, services, settings.boot, settings.node, self)
        self.currency = Currency(reactor, shards, services.lease, services.bans, self)
        redeliver_after_seconds = settings.limits.redeliver_after_seconds
        self.fanout = FanOut(reactor, policy, wheel, redeliver_after_seconds, self, services.tracer)
        self.sources = ShardedStreams(
            reactor, shards, self.fanout, settings.boot, self.commands.lost, self.currency
        )
        self._session_ends = SessionEnds(reactor, self.sources, sessions, self._own)
        self.drain = Drain(reactor, self.sources.cursors, services.others, self)
        self.subscriptions = SessionSubscriptions(
            reactor, self.sources, sessions, services.snowflake, self.commands, self
        )
        topics = TopicRequests(shards, services.topics, self.subscriptions, self)
        self.requests = RequestDispatcher(
            {**topics.handlers, **services.handlers},
            self.currency,
            services.bans,
            self,
            self.limits.may_begin,
        )
        self._catch_up = CatchUp(reactor, self.sources, policy, wheel, self.currency, self)
        self._redelivery = Redelivery(reactor, self.sources, policy, self.counters, self)
        self._handshake = self._make_handshake(topics)
        self.event_streams = self._make_event_streams()
        shards.on_restored(self._restored)

    def _make_handshake(self, topics: TopicRequests) -> Handshake:
        return Handshake(
            self._reactor,
            self._services,
            self._settings,
            self.commands,
            self.drain,
            self.currency,
            self.subscriptions,
            topics,
            self.limits,
            self.counters,
            self,
        )

    def _make_event_streams(self) -> EventStreams:
        limits = self._settings.limits
        shards, window = self._services.shards, limits.window_messages
        positions = EventPositions(self._reactor, shards, window, _log_failure)
        return EventStreams(self._reactor, limits, positions, self)

    # Life

    def start(self) -> None:
        self._wheel.start()
        self.limits.start()
        self.sources.start()
        self._listening = self._own(self.commands.listen())

    def _restored(self) -> None:
        """Commands may have been missed."""
        if not self._stopping:
            self._own(self.commands.verify())

    async def stop(self) -> None:
        """End all sessions, store what they acknowledged, and wait until that is done."""
        self._stopping = True
        self._session_ends.stop()
        self._handshake.stop()
        for connection in list(self.connections):
            self.disconnect(
                connection,
                DisconnectCode.DRAINING,
                "the server stops",
                RESTART_AFTER_SECONDS,
                self.drain.servers(connection),
            )
        await self.sources.store_all()
        await self._until_all_are_gone(LINGER_SECONDS)
        await self.event_streams.stop()
        self.fanout.stop()
        self.sources.stop()
        self._wheel.stop()
        self.limits.stop()
        if self._listening is not None:
            self._listening.cancel()
        await self._jobs.finished()
        self._catch_up.stop()
        self.currency.stop()
        await self.session_events.store_all()

    async def _until_all_are_gone(self, patience_seconds: float) -> None:
        """Peers get time to read why, and requests to be carried out; then all is cut."""
        if self.connections or self.sessions:
            self._all_gone = Deferred()
            patience = self._reactor.callLater(patience_seconds, self._cut_all)
            await self._all_gone
            if patience.active():
                patience.cancel()

    def _cut_all(self) -> None:
        for connection in list(self.connections):
            connection.abort()
        for device in list(self.sessions.values()):
            self._forget(device)

    def now_ms(self) -> int:
        """The time of the day in milliseconds, by the first Redis server's clock."""
        return self._services.shards.first.clock.now_us() // 1000

    @property
    def capacity(self) -> int:
        """Sessions at most; 0 = no limit."""
        return self._settings.max_connections

    def new_protocol(self, codec: Codec) -> ServerSession:
        return ServerSession(self._settings.limits, self._reactor.seconds(), codec)

    # What connections tell (push.connector.transport.connection.ConnectionOwner)

    def made(self, connection: DeviceConnection) -> None:
        self.counters.accepted += 1
        self.connections.add(connection)
        self.limits.admission.entered(connection, connection.ip)
        self._watch(connection)

    def received(self, connection: DeviceConnection, data: bytes) -> None:
        now, protocol = self._reactor.seconds(), connection.protocol
        events = protocol.receive_data(data, now)
        if events:
            self.handle(connection, events)
        connection.flush()
        if protocol.charged_bytes:
            self._charge(connection, protocol, now)

    def received_together(self, connection: DeviceConnection, pieces: Sequence[bytes]) -> None:
        now, protocol = self._reactor.seconds(), connection.protocol
        read = protocol.receive_data
        events = [event for piece in pieces for event in read(piece, now)]
        if events:
            self.handle(connection, events)
        connection.flush()
        if protocol.charged_bytes:
            self._charge(connection, protocol, now)

    def _charge(self, connection: DeviceConnection, protocol: ServerSession, now: float) -> None:
        frames, size_bytes = protocol.charged_frames, protocol.charged_bytes
        protocol.charged_frames = protocol.charged_bytes = 0
        self.reads.charge(connection, frames, size_bytes, now)

    def drained(self, connection: DeviceConnection) -> None:
        self.reads.check(connection)
        if connection.device is not None:
            self.requests.drained(connection.device)
            self.wake(connection.device)

    def lost(self, connection: DeviceConnection) -> None:
        self.connections.discard(connection)
        self.limits.lost(connection)
        self._wheel.remove(connection)
        self._judge_newcomer(connection)
        if connection.protocol.state is State.ENDING:
            self._watch(connection)  # what the device asked for is carried out all the same
        elif connection.device is not None:
            if connection.protocol.state is State.OPEN:
                reason = "the connection was lost"
                self.session_events.disconnected(connection.device, CONNECTION_LOST, reason)
            self._forget(connection.device)
        self._tell_if_all_are_gone()

    def _judge_newcomer(self, connection: DeviceConnection) -> None:
        """What is opened and cut at once, again and again, is worth no more than what is refused:
        it outweighs that it had a session."""
        device = connection.device
        if connection.protocol.window is None:
            self.reads.came_to(session=False)
        elif device is not None and self.now_ms() - device.connected_ms < SHORT_SESSION_MS:
            self.reads.came_to(session=False, weight=4)

    def handed_over(self, former: DeviceConnection, connection: DeviceConnection) -> None:
        self.connections.discard(former)
        self._wheel.remove(former)
        if former.paused is not None and former.paused.stopped:
            connection.read_again()
        self.limits.lost(former)
        self.connections.add(connection)
        self.limits.admission.entered(connection, connection.ip)
        self._watch(connection)

    def linger(self, connection: DeviceConnection, seconds: float) -> None:
        self.limits.admission.ending.add(connection)
        self._wheel.remove(connection)
        self._wheel.at(connection, self._reactor.seconds() + seconds)

    def abandoned(self, connection: DeviceConnection, code: str, reason: str) -> None:
        self.handle(connection, connection.protocol.abandon(code, reason))

    def _forget(self, device: DeviceSession) -> None:
        """The session is over, and its connection lost."""
        device.phase = Phase.CLOSED
        self.requests.drained(device)
        device.connection.device = None
        self.subscriptions.end(device)
        self._store_end(device)
        self._tell_if_all_are_gone()

    def _store_end(self, device: DeviceSession) -> None:
        """The session is over: it is no more among those that the connector has, and soon not in
        its device's record."""
        if self.sessions.get(device.session_id) is device:
            del self.sessions[device.session_id]
            self._session_ends.store(device)

    async def ended_are_settled(self) -> None:
        """Return when nothing is being done any more that sessions asked for which have ended, and
        their devices' records say that they have ended, if Redis can be reached."""
        await self.requests.ended_are_settled()
        await self._session_ends.are_stored()

    async def settled(self, devices: Iterable[DeviceSession]) -> None:
        await self.requests.settled(devices)

    def _tell_if_all_are_gone(self) -> None:
        waiter = self._all_gone
        if waiter is not None and not (waiter.called or self.connections or self.sessions):
            waiter.callback(None)

    # What protocols tell

    def handle(self, connection: Connection, events: list[Event]) -> None:
        progressed = False
        for event in events:
            if type(event) is Progress:  # here, because it comes for each acknowledgement
                progressed = True
                self.counters.acknowledged += 1
                device, subscription = _session_on(connection), event.subscription
                self.sources.cursors.moved(device, subscription)
                self.session_events.acknowledged(device, subscription.shard, event.message)
            else:
                self._methods[type(event)](connection, event)
        if progressed and connection.device is not None:
            self.wake(connection.device)

    def _methods_of_events(self) -> dict[type[Event], Callable[[Any, Any], None]]:
        return {
            LateAcknowledged: self._acknowledged_late,
            OnlineAcknowledged: self._acknowledged_online,
            HeartbeatRequested: self._answer_heartbeat,
            RedeliveryDue: self._redeliver,
            PublishRequested: self._publish,
            RegisterRequested: self._register,
            ConnectRequested: self._connect,
            RenewRequested: self._renew,
            PositionsReached: self._hold_positions,
            GoodbyeSaid: self._goodbye,
            Ended: self._ended,
        }

    def _acknowledged_late(self, connection: DeviceConnection, event: LateAcknowledged) -> None:
        self.sources.cursors.late(_session_on(connection), event.late)

    def _acknowledged_online(self, connection: DeviceConnection, event: OnlineAcknowledged) -> None:
        self.counters.acknowledged += 1
        device = _session_on(connection)
        self.sources.counts.count(event.stream, device.token, event.id, ACKNOWLEDGED)
        self.session_events.acknowledged_online(device, event.id)

    def _answer_heartbeat(self, connection: DeviceConnection, event: HeartbeatRequested) -> None:
        connection.protocol.pong(event.message_id, event.sub_signal, self.now_ms())
        self._watch(connection)

    def _redeliver(self, connection: DeviceConnection, event: RedeliveryDue) -> None:
        device = _session_on(connection)
        self.run(connection, self._redelivery.send(device, event.deliveries))

    def _publish(self, connection: DeviceConnection, event: PublishRequested) -> None:
        self.requests.take(_session_on(connection), event)

    def _register(self, connection: DeviceConnection, event: RegisterRequested) -> None:
        self.run(connection, self._handshake.register(connection, event))

    def _connect(self, connection: DeviceConnection, event: ConnectRequested) -> None:
        self.run(connection, self._open(connection, event))

    async def _open(self, connection: DeviceConnection, event: ConnectRequested) -> None:
        self.handle(connection, await self._handshake.connect(connection, event))
        device = connection.device
        if device is not None and not device.is_over:
            self.reads.came_to(session=True)
            self._watch(connection)
            self.wake(device)

    def _renew(self, connection: DeviceConnection, event: RenewRequested) -> None:
        self.run(connection, self._handshake.renew(_session_on(connection), event))

    def _hold_positions(self, connection: DeviceConnection, event: PositionsReached) -> None:
        token = _session_on(connection).token
        if token is not None:
            self.event_streams.positions.note(token, event.positions)

    def _goodbye(self, connection: DeviceConnection, _event: GoodbyeSaid) -> None:
        """The session stays until what it asked for is carried out, and reads no more."""
        if connection.protocol.state is State.ENDING:
            connection.read_no_more()
            self.requests.drained(_session_on(connection))
            self._watch(connection)

    def _ended(self, connection: DeviceConnection, event: Ended) -> None:
        if event.code in (DisconnectCode.BAD_FRAME, DisconnectCode.FRAME_TOO_LARGE):
            self.counters.bad_frames += 1
        # A peer's own code may be any word.
        code = event.code if event.code in _KNOWN_ENDS else "other"
        self.counters.reasons.ended[code] += 1
        device = connection.device
        if device is not None:
            self.requests.drained(device)
            if connection.protocol.session_id:
                self.session_events.disconnected(device, event.code, event.reason)
        log.debug(
            "{ip} {connection} ended: {code} {reason}",
            ip=connection.ip,
            connection="" if device is None else device.session_id,
            token=None if device is None else device.token,
            code=event.code,
            reason=shortened(event.reason),
            event="connection.ended",
        )
        if connection.is_closed:
            if device is not None:
                self._forget(device)
        else:
            connection.end(event)

    def _dropped(
        self, session: ServerSession, subscription: Subscription, entry: Entry, outcome: str
    ) -> None:
        device = self.sessions.get(session.session_id)
        if device is not None:
            self.session_events.dropped(device, entry.id, outcome.removeprefix(DROPPED))
        if detail.debug:
            log.debug(
                "{message_id} of {stream} dropped: {reason}",
                message_id=entry.id,
                stream=subscription.stream,
                reason=outcome,
                event="message.dropped",
            )
        if outcome == TOO_LARGE:
            self.counters.dropped_too_large += 1
        else:
            self.counters.dropped_unacknowledged += 1

    # What parts ask for (push.connector.sessions.port.GatewayPort)

    def wake(self, device: DeviceSession) -> None:
        self._catch_up.wake(device)

    def disconnect(
        self,
        connection: Connection,
        code: DisconnectCode,
        reason: str,
        after_seconds: int | None = None,
        servers: list[str] | None = None,
    ) -> None:
        protocol = connection.protocol
        if code is DisconnectCode.DRAINING and protocol.state is State.ENDING:
            return  # it leaves anyway, once what it asked for is carried out
        events = protocol.disconnect(code, reason, after_seconds=after_seconds, servers=servers)
        if events and servers and connection.device is not None:
            self.session_events.redirected(connection.device, code, reason)
        if events and code is DisconnectCode.TAKEN_OVER:
            self.counters.taken_over += 1
        self.handle(connection, events)
        if code is DisconnectCode.KICKED and connection.device is not None:
            self._store_end(connection.device)  # the peer may take its time to close

    def _over_rate(self, connection: Connection, limit: str) -> None:
        reason = f"more than {limit} allows, for {OVER_RATE_SECONDS:.0f} s"
        self.disconnect(connection, DisconnectCode.RATE_LIMITED, reason)

    def kick(self, device: DeviceSession, reason: str) -> None:
        """End a session permanently: its client does not come back by itself."""
        self.disconnect(device.connection, DisconnectCode.KICKED, reason)

    def run(self, connection: Connection, job: Coroutine[Any, Any, None]) -> None:
        def failed(failure: Failure) -> None:
            log.failure(
                "A request of {ip} failed",
                failure=failure,
                ip=connection.ip,
                event="connection.request_failed",
            )
            self.disconnect(connection, DisconnectCode.INTERNAL, "an error of the server")

        self._jobs.run(job, failed)

    def apply_for(self, answerer: SurveyHandler) -> None:
        """Apply what was written elsewhere, when `answerer` is asked to."""
        Applying(answerer, self.sources, self.subscriptions, self.currency, self.requests, self)

    # Deadlines

    def _watch(self, connection: Connection) -> None:
        deadline = connection.protocol.next_deadline()
        if deadline is not None:
            self._wheel.at(connection, deadline)

    def _due(self, connection: DeviceConnection) -> None:
        protocol = connection.protocol
        if protocol.closing:
            connection.cut()
            return
        self.handle(connection, protocol.tick(self._reactor.seconds()))
        connection.flush()
        self._watch(connection)

    def _own(self, job: Coroutine[Any, Any, None]) -> Deferred[None]:
        """Run something of the gateway's own; an error is logged."""
        return self._jobs.run(job, _log_failure)


def _session_on(connection: Connection) -> DeviceSession:
    device = connection.device
    assert device is not None, "only a session that CONNECT has opened says this"
    return device


def _log_failure(failure: Failure) -> None:
    log.failure("A job of the gateway failed", failure=failure, event="connector.job_failed")
