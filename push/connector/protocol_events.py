"""What protocols tell of their sessions, and what is done about it."""

from __future__ import annotations

from typing import Protocol, assert_never

from twisted.logger import Logger

from push.connector.delivery.acknowledgements import Acknowledgements
from push.connector.delivery.redelivery import Redelivery
from push.connector.requests.dispatch import RequestDispatcher
from push.connector.requests.handshake import Handshake
from push.connector.sessions.device_session import DeviceSession, SessionConnection
from push.connector.sessions.port import GatewayPort
from push.connector.transport.counters import Counters
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
from push.session.transitions import State
from push.streams.event_positions import EventPositions
from push.wire.errors import shortened
from push.wire.signals import ConnectStatus, DisconnectCode

log = Logger()

_KNOWN_ENDS = frozenset((*map(str, DisconnectCode), *(each.name for each in ConnectStatus)))


class GatewayOfEvents(GatewayPort, Protocol):
    """What is needed of the gateway beside what all parts need."""

    @property
    def requests(self) -> RequestDispatcher: ...

    def forget(self, device: DeviceSession) -> None:
        """The session is over, and its connection lost."""


class ProtocolEvents:
    """Acts on what protocols say. What waits for Redis runs as a task of its connection."""

    def __init__(
        self,
        gateway: GatewayOfEvents,
        counters: Counters,
        handshake: Handshake,
        acknowledgements: Acknowledgements,
        redelivery: Redelivery,
        positions: EventPositions,
    ) -> None:
        self._gateway = gateway
        self._counters = counters
        self._handshake = handshake
        self._acknowledgements = acknowledgements
        self._redelivery = redelivery
        self._positions = positions

    def handle(self, connection: SessionConnection, events: list[Event]) -> None:
        """Act on what the protocol of `connection` found in its bytes, in order."""
        gateway = self._gateway
        for event in events:
            match event:
                case Progress():  # the first, because it comes for each acknowledgement
                    self._acknowledgements.progressed(session_on(connection), event)
                case PublishRequested():
                    gateway.requests.take_request(session_on(connection), event)
                case OnlineAcknowledged():
                    self._acknowledgements.online(session_on(connection), event)
                case LateAcknowledged():
                    self._acknowledgements.late(session_on(connection), event)
                case HeartbeatRequested(message_id, sub_signal):
                    connection.protocol.pong(message_id, sub_signal, gateway.now_ms())
                    gateway.wheel.watch(connection)
                case ConnectRequested():
                    gateway.tasks.run(connection, self._handshake.connect(connection, event))
                case RegisterRequested():
                    gateway.tasks.run(connection, self._handshake.register(connection, event))
                case RenewRequested():
                    device = session_on(connection)
                    gateway.tasks.run(connection, self._handshake.renew(device, event))
                case RedeliveryDue(deliveries):
                    device = session_on(connection)
                    gateway.tasks.run(connection, self._redelivery.send(device, deliveries))
                case PositionsReached(positions):
                    token = session_on(connection).token
                    if token is not None:
                        self._positions.note(token, positions)
                case GoodbyeSaid():
                    self._goodbye(connection)
                case Ended():
                    self._ended(connection, event)
                case _:
                    assert_never(event)

    def _goodbye(self, connection: SessionConnection) -> None:
        """The session stays until what it asked for is carried out, and no longer reads."""
        if connection.protocol.state is State.ENDING:
            connection.read_no_more()
            self._gateway.requests.drained(session_on(connection))
            self._gateway.wheel.watch(connection)

    def _ended(self, connection: SessionConnection, event: Ended) -> None:
        if event.code in (DisconnectCode.BAD_FRAME, DisconnectCode.FRAME_TOO_LARGE):
            self._counters.bad_frames += 1
        # A peer's own code may be any word.
        code = event.code if event.code in _KNOWN_ENDS else "other"
        self._counters.reasons.ended[code] += 1
        device = connection.device
        if device is not None:
            self._gateway.requests.drained(device)
            if connection.protocol.session_id:
                self._gateway.session_events.disconnected(device, event.code, event.reason)
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
                self._gateway.forget(device)
        else:
            connection.end(event)


def session_on(connection: SessionConnection) -> DeviceSession:
    device = connection.device
    assert device is not None, "only a session that CONNECT has opened says this"
    return device
