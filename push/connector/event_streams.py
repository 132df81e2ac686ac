"""Serves `GET /v1/stream`: a third carrier of sessions, on connections that HTTP hands over."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any
from typing import Protocol as Port

from twisted.internet.interfaces import ISSLTransport

from push.connector.limits.connector_limits import ConnectorLimits
from push.connector.sessions.sharded_streams import ShardedStreams
from push.connector.transport.connection import DeviceConnection, GatewayOfConnections
from push.connector.transport.event_stream import WINDOW_FULL, StreamConnection, replace_protocol
from push.runtime.ports import Clock
from push.runtime.tasks import for_each
from push.runtime.timers import Debounced
from push.session.event_stream import StreamSession
from push.session.server_answers import SessionLimits
from push.session.transitions import State
from push.streams.event_positions import EventPositions
from push.wire.codecs.carriers import ENCRYPTED
from push.wire.errors import RequestError
from push.wire.event_stream.request import RequestHead, parse_head, read_request

# Requests that wait for their turn, of which there are a few hundred a second while most of them
# come to nothing. More could not be answered in time.
MOST_WAITING = 2048


class StreamGateway(GatewayOfConnections, Port):
    """The gateway, as streams of events see it."""

    @property
    def streams(self) -> ShardedStreams: ...

    @property
    def limits(self) -> ConnectorLimits: ...

    def handed_over(self, former: DeviceConnection, connection: DeviceConnection) -> None:
        """`connection` has the transport of `former`, which is not used any more."""


class EventStreams:
    """The streams of one gateway. What was written in one turn is acknowledged in the next."""

    def __init__(
        self,
        reactor: Clock,
        limits: SessionLimits,
        positions: EventPositions,
        gateway: StreamGateway,
    ) -> None:
        self.positions = positions
        self._reactor = reactor
        self._limits = limits
        self._gateway = gateway
        self._unacknowledged: dict[StreamConnection, None] = {}
        self._soon = Debounced(reactor, 0, self._acknowledge_all)

    async def stop(self) -> None:
        """All connections are lost."""
        self._soon.cancel()
        await self.positions.stop()

    # Requests

    def serve(self, transport: object, head: RequestHead, client_ip: str) -> None:
        """Answer `head`, which an HTTP server has read from `transport`."""
        connection = self._connection("sses" if ISSLTransport.providedBy(transport) else "sse")
        connection.source = client_ip, 0
        self._gateway.made(connection)
        replace_protocol(transport, connection)
        if len(self._gateway.reads.newcomers) < MOST_WAITING:
            connection.begin_in_turn(partial(self._answer, connection, lambda: head))
        else:
            connection.refuse(_too_many_wait(), with_body=head.method != b"HEAD")

    def serve_instead_of(self, former: DeviceConnection, head: bytes) -> None:
        """Answer the request with `head`, which a listener for WebSocket has read."""
        connection = self._connection("sses" if former.carrier in ENCRYPTED else "sse")
        connection.source = former.source
        deadline = former.protocol.next_deadline()
        transport: Any = former.transport
        if former.carrier in ENCRYPTED:
            transport.unregisterProducer()
        replace_protocol(transport, connection)
        self._gateway.handed_over(former, connection)
        self._answer(connection, lambda: parse_head(head), deadline)

    def _connection(self, carrier: str) -> StreamConnection:
        def new_protocol(on_full: Callable[[], None]) -> StreamSession:
            return StreamSession(self._limits, self._reactor.seconds(), on_full)

        dead_after_seconds = self._limits.heartbeat_grace_seconds
        return StreamConnection(self._gateway, carrier, new_protocol, self, dead_after_seconds)

    def _answer(
        self,
        connection: StreamConnection,
        read_head: Callable[[], RequestHead],
        deadline: float | None = None,
    ) -> None:
        method = b""
        try:
            head = read_head()
            method = head.method
            asked = read_request(head)
        except RequestError as error:
            connection.refuse(error, with_body=method != b"HEAD")
            return
        self._gateway.events.handle(connection, connection.protocol.begin(asked, deadline))

    # What was written

    def acknowledge_soon(self, connection: StreamConnection) -> None:
        self._unacknowledged[connection] = None
        self._soon.request()

    def _acknowledge_all(self) -> None:
        connections, self._unacknowledged = self._unacknowledged, {}
        for_each(connections, self.acknowledge_written)
        # At most once: the next request of a client does not read what was written to this one.
        self._gateway.streams.cursors.write_now()
        for_each(connections, self._end_full)

    def _end_full(self, connection: StreamConnection) -> None:
        """A client takes what its window takes, and comes again."""
        protocol = connection.protocol
        if protocol.is_full and not connection.blocked and protocol.state is State.OPEN:
            device = connection.device
            if device is not None and device.token is not None:
                self._gateway.limits.reconnects.give_back(device.token, connection.ip)
            reason = "as much as the window takes was written"
            self._gateway.abandoned(connection, WINDOW_FULL, reason)

    def acknowledge_written(self, connection: StreamConnection) -> None:
        protocol, device = connection.protocol, connection.device
        positions = protocol.take_positions()
        if positions and device is not None and device.token is not None:
            self.positions.note(device.token, positions)
        events = protocol.take_written(self._reactor.seconds())
        if events:
            self._gateway.events.handle(connection, events)


def _too_many_wait() -> RequestError:
    return RequestError("unavailable", "too many wait for a session", after_seconds=1)
