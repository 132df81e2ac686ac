"""The owner of a connector's connections and of what works for them.

What their protocols ask for is carried out by `protocol_events`. What needs Redis runs as a
coroutine, one a request, owned by its connection: an error in it is logged once and ends that
connection with `internal`; no other connection notices.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from push.cluster.survey import SurveyHandler
from push.connector.applying import Applying
from push.connector.delivery.acknowledgements import Acknowledgements
from push.connector.delivery.catch_up import CatchUp
from push.connector.delivery.drops import Drops
from push.connector.delivery.fanout import FanOut
from push.connector.delivery.redelivery import Redelivery
from push.connector.delivery.subscriptions import SessionSubscriptions
from push.connector.event_streams import EventStreams
from push.connector.limits.connector_limits import ConnectorLimits
from push.connector.limits.read_queue import OVER_RATE_SECONDS
from push.connector.protocol_events import ProtocolEvents
from push.connector.requests.chat import ChatRequests
from push.connector.requests.dispatch import RequestDispatcher
from push.connector.requests.handshake import Handshake
from push.connector.requests.topics import TopicRequests
from push.connector.sessions.device_session import DeviceSession, Phase, SessionConnection
from push.connector.sessions.drain import Drain
from push.connector.sessions.freshness import Freshness
from push.connector.sessions.remote_commands import RemoteCommands
from push.connector.sessions.services import GatewayServices, GatewaySettings
from push.connector.sessions.session_ends import SessionEnds
from push.connector.sessions.sharded_streams import ShardedStreams
from push.connector.transport.connection import LINGER_SECONDS, DeviceConnection
from push.connector.transport.counters import Counters
from push.connector.transport.timing_wheel import TimingWheel
from push.observe.session_events import CONNECTION_LOST
from push.runtime.ports import Clock
from push.runtime.tasks import OwnedTasks, TaskGroup
from push.runtime.turn_share import TurnTime
from push.session.delivery_policy import DeliveryPolicy
from push.session.server import ServerSession
from push.session.transitions import State
from push.streams.event_positions import EventPositions
from push.wire.codecs.codec import Codec
from push.wire.signals import DisconnectCode

log = Logger()

RESTART_AFTER_SECONDS = 5


class Gateway:
    """All connections of one connector: what its parts need of each other is `GatewayPort`."""

    _stopping = False
    _all_gone: Deferred[None] | None = None
    _listening: Deferred[None] | None = None

    def __init__(self, clock: Clock, services: GatewayServices, settings: GatewaySettings) -> None:
        self.counters = Counters()
        self.connections: set[DeviceConnection] = set()
        self.sessions: dict[str, DeviceSession] = {}
        self.opening: dict[str, DeviceSession] = {}
        self.clock = clock
        self._services = services
        self._settings = settings
        self.tasks: OwnedTasks[SessionConnection] = OwnedTasks(self._failed)
        self._jobs = TaskGroup()  # of its own
        self.wheel = wheel = TimingWheel(clock, self._due)
        self.limits = self._make_limits()
        self.reads = self.limits.reads
        self.session_events = services.session_events
        self.delivery_policy = policy = self._make_delivery_policy()
        shards, sessions = services.shards, services.sessions
        self.commands = RemoteCommands(clock, services, settings.boot, settings.node, self)
        self.freshness = Freshness(clock, shards, services.lease, services.bans, self)
        self._turn_time = turn_time = TurnTime(clock)
        self.fanout = self._make_fan_out(policy)
        self.streams = self._make_streams()
        self._session_ends = SessionEnds(clock, self.streams, sessions, self._own)
        self.drain = Drain(clock, self.streams.cursors, services.others, self)
        self.subscriptions = SessionSubscriptions(
            clock, self.streams, sessions, services.snowflake, self.commands, self, turn_time
        )
        topics = TopicRequests(shards, services.topics, self.subscriptions, self)
        self.requests = self._make_requests(topics)
        self.catch_up = CatchUp(clock, self.streams, policy, wheel, self.freshness, self)
        self.acknowledgements = Acknowledgements(
            self.counters, self.streams, self.session_events, self.catch_up
        )
        self._handshake = self._make_handshake(topics)
        self.event_streams = self._make_event_streams()
        self.events = self._make_events(policy)
        shards.on_restored(self._restored)

    def _make_limits(self) -> ConnectorLimits:
        wanted, is_short = self._settings.connector_limits, self._services.is_short_of_memory
        made = ConnectorLimits(self.clock, wanted, is_short, self._over_rate, self.connections)
        made.reads.request_places.may_hang = self._services.shards.is_one_silent
        return made

    def _make_fan_out(self, policy: DeliveryPolicy) -> FanOut:
        redeliver_after_seconds = self._settings.limits.redeliver_after_seconds
        tracer = self._services.tracer
        return FanOut(
            self.clock, self._turn_time, policy, self.wheel, redeliver_after_seconds, self, tracer
        )

    def _make_delivery_policy(self) -> DeliveryPolicy:
        drops = Drops(self.counters, self.sessions, self.session_events)
        return DeliveryPolicy(self._settings.limits, drops.note)

    def _make_streams(self) -> ShardedStreams:
        shards, boot, on_lost = (
            self._services.shards,
            self._settings.boot,
            self.commands.end_if_lost,
        )
        freshness, turn_time = self.freshness, self._turn_time
        return ShardedStreams(self.clock, shards, self.fanout, boot, on_lost, freshness, turn_time)

    def _make_requests(self, topics: TopicRequests) -> RequestDispatcher:
        chat = ChatRequests(self._services.chat)
        handlers = {**topics.handlers(), **chat.handlers()}
        bans, may_begin = self._services.bans, self.limits.may_begin
        return RequestDispatcher(handlers, self.freshness, bans, self, may_begin)

    def _make_events(self, policy: DeliveryPolicy) -> ProtocolEvents:
        redelivery = Redelivery(self.clock, self.streams, policy, self.counters, self)
        acknowledgements, positions = self.acknowledgements, self.event_streams.positions
        return ProtocolEvents(
            self, self.counters, self._handshake, acknowledgements, redelivery, positions
        )

    def _make_handshake(self, topics: TopicRequests) -> Handshake:
        return Handshake(
            self.clock,
            self._services,
            self._settings,
            self,
            commands=self.commands,
            drain=self.drain,
            freshness=self.freshness,
            subscriptions=self.subscriptions,
            topics=topics,
            limits=self.limits,
            counters=self.counters,
        )

    def _make_event_streams(self) -> EventStreams:
        limits = self._settings.limits
        shards, window = self._services.shards, limits.window_messages
        positions = EventPositions(self.clock, shards, window, _log_failure)
        return EventStreams(self.clock, limits, positions, self)

    # Life

    def start(self) -> None:
        self.wheel.start()
        self.limits.start()
        self.streams.start()
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
        await self.streams.store_all()
        await self._until_all_are_gone(LINGER_SECONDS)
        await self.event_streams.stop()
        self.fanout.stop()
        self.streams.stop()
        self.wheel.stop()
        self.limits.stop()
        if self._listening is not None:
            self._listening.cancel()
        await self.tasks.finished()
        await self._jobs.finished()
        self.catch_up.stop()
        self.subscriptions.stop()
        self.freshness.stop()
        self._turn_time.stop()
        await self.session_events.store_all()

    async def _until_all_are_gone(self, patience_seconds: float) -> None:
        """Peers get time to read why, and requests to be carried out; then all is cut."""
        if self.connections or self.sessions:
            self._all_gone = Deferred()
            patience = self.clock.callLater(patience_seconds, self._cut_all)
            await self._all_gone
            if patience.active():
                patience.cancel()

    def _cut_all(self) -> None:
        for connection in list(self.connections):
            connection.abort()
        for device in list(self.sessions.values()):
            self.forget(device)

    def now_ms(self) -> int:
        """The time of the day in milliseconds, by the first Redis server's clock."""
        return self._services.shards.first.clock.now_ms()

    @property
    def capacity(self) -> int:
        """Sessions at most; 0 = no limit."""
        return self._settings.max_connections

    def new_protocol(self, codec: Codec) -> ServerSession:
        return ServerSession(self._settings.limits, self.clock.seconds(), codec)

    # What connections tell (push.connector.transport.connection.GatewayOfConnections)

    def made(self, connection: DeviceConnection) -> None:
        self.counters.accepted += 1
        self.connections.add(connection)
        self.limits.admission.entered(connection, connection.ip)
        self.wheel.watch(connection)

    def drained(self, connection: DeviceConnection) -> None:
        self.reads.check(connection)
        if connection.device is not None:
            self.requests.drained(connection.device)
            self.catch_up.wake(connection.device)

    def lost(self, connection: DeviceConnection) -> None:
        self.connections.discard(connection)
        self.limits.lost(connection)
        self.wheel.remove(connection)
        if connection.protocol.window is None:
            self.limits.note_end(None)
        elif connection.device is not None:
            self.limits.note_end(self.now_ms() - connection.device.connected_ms)
        if connection.protocol.state is State.ENDING:
            self.wheel.watch(connection)  # what the device asked for is carried out all the same
        elif connection.device is not None:
            if connection.protocol.state is State.OPEN:
                reason = "the connection was lost"
                self.counters.reasons.ended[CONNECTION_LOST] += 1
                self.session_events.disconnected(connection.device, CONNECTION_LOST, reason)
            self.forget(connection.device)
        self._tell_if_all_are_gone()

    def handed_over(self, former: DeviceConnection, connection: DeviceConnection) -> None:
        self.connections.discard(former)
        self.wheel.remove(former)
        if former.paused is not None and former.paused.stopped:
            connection.read_again()
        self.limits.lost(former)
        self.connections.add(connection)
        self.limits.admission.entered(connection, connection.ip)
        self.wheel.watch(connection)

    def linger(self, connection: DeviceConnection, seconds: float) -> None:
        self.limits.admission.ending.add(connection)
        self.wheel.remove(connection)
        self.wheel.at(connection, self.clock.seconds() + seconds)

    def abandoned(self, connection: DeviceConnection, code: str, reason: str) -> None:
        self.events.handle(connection, connection.protocol.abandon(code, reason))

    def forget(self, device: DeviceSession) -> None:
        """The session is over, and its connection lost."""
        device.phase = Phase.CLOSED
        device.send = None
        self.requests.drained(device)
        self.catch_up.forget(device)
        device.connection.device = None
        self.subscriptions.unfollow_all(device)
        self._store_end(device)
        self._tell_if_all_are_gone()

    def _store_end(self, device: DeviceSession) -> None:
        """The session is over: it is no longer among those that the connector has, and soon not
        in its device's record."""
        if self.sessions.get(device.session_id) is device:
            del self.sessions[device.session_id]
            self._session_ends.store(device)

    async def until_ended_are_done(self) -> None:
        """Return when nothing is being done any more that sessions asked for which have ended, and
        their devices' records say that they have ended, if Redis can be reached."""
        await self.requests.until_ended_are_done()
        await self._session_ends.are_stored()

    def _tell_if_all_are_gone(self) -> None:
        waiter = self._all_gone
        if waiter is not None and not (waiter.called or self.connections or self.sessions):
            waiter.callback(None)

    # What parts ask for (push.connector.sessions.port.GatewayPort)

    def disconnect(
        self,
        connection: SessionConnection,
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
        self.events.handle(connection, events)
        if code is DisconnectCode.KICKED and connection.device is not None:
            self._store_end(connection.device)  # the peer may take its time to close

    def _over_rate(self, connection: SessionConnection, limit: str) -> None:
        reason = f"more than {limit} allows, for {OVER_RATE_SECONDS:.0f} s"
        self.disconnect(connection, DisconnectCode.RATE_LIMITED, reason)

    def kick(self, device: DeviceSession, reason: str) -> None:
        """End a session permanently: its client does not reconnect by itself."""
        self.disconnect(device.connection, DisconnectCode.KICKED, reason)

    def _failed(self, connection: SessionConnection, failure: Failure) -> None:
        """A task of it did."""
        log.failure(
            "A request of {ip} failed",
            failure=failure,
            ip=connection.ip,
            event="connection.request_failed",
        )
        self.disconnect(connection, DisconnectCode.INTERNAL, "an error of the server")

    def apply_for(self, survey_handler: SurveyHandler) -> None:
        """Apply what was written elsewhere, when `survey_handler` is asked to."""
        Applying(
            survey_handler, self.streams, self.subscriptions, self.freshness, self.requests, self
        )

    # Deadlines

    def _due(self, connection: DeviceConnection) -> None:
        protocol = connection.protocol
        if protocol.closing:
            connection.cut()
            return
        self.events.handle(connection, protocol.tick(self.clock.seconds()))
        connection.flush()
        self.wheel.watch(connection)

    def _own(self, job: Coroutine[Any, Any, None]) -> Deferred[None]:
        """Run something of the gateway's own; an error is logged."""
        return self._jobs.run(job, _log_failure)


def _log_failure(failure: Failure) -> None:
    log.failure("A task of the gateway failed", failure=failure, event="connector.job_failed")
