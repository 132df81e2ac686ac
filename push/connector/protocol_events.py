"""What protocols tell of their sessions, and what is done about it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.logger import Logger

from push.connector.delivery.acknowledgements import Acknowledgements
from push.connector.delivery.redelivery import Redelivery
from push.connector.requests.dispatch import RequestDispatcher
from push.connector.requests.handshake import Handshake
from push.connector.sessions.device_session import Connection, DeviceSession
from push.connector.sessions.port import GatewayPort
from push.connector.transport.connection import DeviceConnection
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


EventMethod = Callable[[Any, Any], None]  # of a connection and its event


class EventOwner(GatewayPort, Protocol):
    """What is needed of the gateway beside what all parts need."""

    @property
    def requests(self) -> RequestDispatcher: ...

    def forget(self, device: DeviceSession) -> None:
        """The session is over, and its connection lost."""


class ProtocolEvents:
    """A method for each kind of event, but for `Progress`, which the gateway takes itself because
    it comes for each acknowledgement."""

    def __init__(
        self,
        gateway: EventOwner,
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

    def methods(self) -> dict[type[Event], EventMethod]:
        return {
            LateAcknowledged: self._acknowledged_late,
            OnlineAcknowledged: self._acknowledged_online,
            HeartbeatRequested: self._answer_heartbeat,
            RedeliveryDue: self._redeliver,
            PublishRequested: self._gateway.requests.take,
            RegisterRequested: self._register,
            ConnectRequested: self._connect,
            RenewRequested: self._renew,
            PositionsReached: self._hold_positions,
            GoodbyeSaid: self._goodbye,
            Ended: self._ended,
        }

    def _acknowledged_late(self, connection: DeviceConnection, event: LateAcknowledged) -> None:
        self._acknowledgements.late(session_on(connection), event)

    def _acknowledged_online(self, connection: DeviceConnection, event: OnlineAcknowledged) -> None:
        self._acknowledgements.online(session_on(connection), event)

    def _answer_heartbeat(self, connection: DeviceConnection, event: HeartbeatRequested) -> None:
        connection.protocol.pong(event.message_id, event.sub_signal, self._gateway.now_ms())
        self._gateway.watch(connection)

    def _redeliver(self, connection: DeviceConnection, event: RedeliveryDue) -> None:
        device = session_on(connection)
        self._gateway.run(connection, self._redelivery.send(device, event.deliveries))

    def _register(self, connection: DeviceConnection, event: RegisterRequested) -> None:
        self._gateway.run(connection, self._handshake.register(connection, event))

    def _connect(self, connection: DeviceConnection, event: ConnectRequested) -> None:
        self._gateway.run(connection, self._handshake.connect(connection, event))

    def _renew(self, connection: DeviceConnection, event: RenewRequested) -> None:
        self._gateway.run(connection, self._handshake.renew(session_on(connection), event))

    def _hold_positions(self, connection: DeviceConnection, event: PositionsReached) -> None:
        token = session_on(connection).token
        if token is not None:
            self._positions.note(token, event.positions)

    def _goodbye(self, connection: DeviceConnection, _event: GoodbyeSaid) -> None:
        """The session stays until what it asked for is carried out, and no longer reads."""
        if connection.protocol.state is State.ENDING:
            connection.read_no_more()
            self._gateway.requests.drained(session_on(connection))
            self._gateway.watch(connection)

    def _ended(self, connection: DeviceConnection, event: Ended) -> None:
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


def session_on(connection: Connection) -> DeviceSession:
    device = connection.device
    assert device is not None, "only a session that CONNECT has opened says this"
    return device
