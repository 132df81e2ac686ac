"""One device's connection: it moves bytes between a transport and a protocol, and nothing else.

Twisted's `transport.write` never sends at once: it costs a turn of the reactor and two `epoll_ctl`.
So a connection with nothing waiting writes to its socket directly (with TLS: the sealed bytes, see
`tls`), and hands only the unsent rest to the transport. While a rest waits, the connection is
`blocked`: stored messages are not queued for it (the session reads on from the log), and its
requests are not read. With TLS that begins at 64 KiB.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto
from typing import Any
from typing import Protocol as Port

from twisted.internet.interfaces import IHandshakeListener, IPullProducer, IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from push.connector.limits.read_queue import PausedReading, ReadQueue
from push.connector.sessions.device_session import DeviceSession
from push.connector.sessions.port import EventHandler
from push.connector.transport.records import RecordLayer, send_to_all
from push.connector.transport.timing_wheel import NEVER
from push.connector.transport.tls import DeviceTls
from push.runtime.ports import Clock
from push.session.events import Ended, Progress
from push.session.server import ServerSession
from push.session.transitions import State
from push.wire.addresses import peer_ip
from push.wire.codecs.carriers import ENCRYPTED
from push.wire.signals import DisconnectCode

MAX_WAITING_BYTES = 64 * 1024
SLICE_BYTES = 1024  # worked off at once; of a longer frame, what is there of it
LINGER_SECONDS = 2.0
# What was on its way when a connection ended, and the answer to a Close frame: read at once, so
# that its end is seen at once.
LAST_PIECES = 4


class ProgressHandler(Port):
    """Stores and counts what devices have acknowledged."""

    def progressed(self, device: DeviceSession, progress: Progress) -> None: ...


class GatewayOfConnections(Port):
    """What a connection tells the gateway."""

    clock: Clock
    reads: ReadQueue

    @property
    def acknowledgements(self) -> ProgressHandler: ...

    @property
    def events(self) -> EventHandler: ...

    def made(self, connection: DeviceConnection) -> None: ...

    def drained(self, connection: DeviceConnection) -> None: ...

    def lost(self, connection: DeviceConnection) -> None: ...

    def linger(self, connection: DeviceConnection, seconds: float) -> None: ...

    def disconnect(
        self, connection: DeviceConnection, code: DisconnectCode, reason: str
    ) -> None: ...

    def abandoned(self, connection: DeviceConnection, code: str, reason: str) -> None:
        """It ends without a DISCONNECT: by its own last words."""


class ConnectionPhase(Enum):
    """SILENT: the peer said goodbye, nothing more is read. ENDING: all was written, the peer gets
    time to read it. CUT: that time is over. CLOSED: the connection is lost."""

    OPEN = auto()
    SILENT = auto()
    ENDING = auto()
    CUT = auto()
    CLOSED = auto()


_OPEN = ConnectionPhase.OPEN  # a member of an Enum takes a call each time


@implementer(IPullProducer, IPushProducer, IHandshakeListener)
class DeviceConnection(Protocol):
    """A connection over TCP or TLS."""

    # What each message and acknowledgement needs, close together: nothing of it is in the caches.
    __slots__ = (
        "_send",
        "blocked",
        "device",
        "due_slot",
        "gateway",
        "paused",
        "phase",
        "protocol",
    )

    # Shared defaults keep an idle connection small: most never need their own.
    waiting_bytes = 0
    source: tuple[str, int] | None = None  # address and port, when a load balancer told them
    _peer_ip: str | None = None
    _produces = False
    _pieces_after_end = 0
    _secured = False  # TLS: the handshake is complete

    def __init__(
        self, gateway: GatewayOfConnections, carrier: str, protocol: ServerSession
    ) -> None:
        self.gateway = gateway
        self.carrier = carrier
        self.protocol = protocol
        self.phase = _OPEN
        self.blocked = False
        self.device: DeviceSession | None = None  # from its CONNECT on
        self.paused: PausedReading | None = None  # what waits to be worked off
        self.due_slot = NEVER
        self._send: Callable[[bytes], int] | None = None

    @property
    def ip(self) -> str:
        """The device's address."""
        if self.source is not None:
            return self.source[0]
        if self._peer_ip is None:
            self._peer_ip = peer_ip(getattr(self._transport.getPeer(), "host", None))
        return self._peer_ip

    @property
    def is_closed(self) -> bool:
        return self.phase is ConnectionPhase.CLOSED

    @property
    def is_plain(self) -> bool:
        """Whether there is no TLS."""
        return self.carrier not in ENCRYPTED

    @property
    def _transport(self) -> Any:
        return self.transport

    def connectionMade(self) -> None:
        transport = self._transport
        transport.setTcpNoDelay(True)
        if self.is_plain:
            self._send = transport.getHandle().send
        else:
            self._produces = True
            transport.registerProducer(self, True)
        self.gateway.made(self)

    def handshakeCompleted(self) -> None:
        self._secured = True
        if isinstance(self._transport, DeviceTls):
            self._send = self._transport.records

    # Reading

    def dataReceived(self, data: bytes) -> None:
        if self.phase is not _OPEN:
            self._pieces_after_end += 1
            if self._pieces_after_end > LAST_PIECES or len(data) > SLICE_BYTES:
                self.gateway.reads.put_off(self)
        elif (
            self.device is None
            or len(data) > SLICE_BYTES
            or self.paused is not None
            or self.gateway.reads.is_busy
        ):
            self.gateway.reads.received(self, data)
        else:
            self.take(data)

    def take(self, data: bytes) -> None:
        """Work off what came, and write what there is to say to it."""
        gateway, device, protocol = self.gateway, self.device, self.protocol
        now = gateway.clock.seconds()
        if device is not None:
            progress = protocol.acknowledged(data, now)
            if progress is not None:
                gateway.acknowledgements.progressed(device, progress)
                return
        events = protocol.receive_data(data, now)
        if events:
            gateway.events.handle(self, events)
        if protocol.unsent is not None:
            self.flush()
        if protocol.charged_bytes:
            self.charge(now)

    def charge(self, now: float) -> None:
        """What was just worked off counts for its rates."""
        protocol = self.protocol
        frames, size_bytes = protocol.charged_frames, protocol.charged_bytes
        protocol.charged_frames = protocol.charged_bytes = 0
        self.gateway.reads.charge(self, frames, size_bytes, now)

    def take_slice(self, data: bytes, start: int) -> int:
        """Work off a slice of what came; where the next begins."""
        end = len(data)
        if end - start > SLICE_BYTES:
            end = min(end, start + max(SLICE_BYTES, self.protocol.rest_of_frame(data, start)))
        self.take(data[start:end])
        return end

    @property
    def is_newcomer(self) -> bool:
        return self.device is None

    @property
    def is_read(self) -> bool:
        return self.phase is ConnectionPhase.OPEN

    @property
    def has_unread_answers(self) -> bool:
        return self.blocked and self.waiting_bytes > MAX_WAITING_BYTES

    @property
    def has_many_requests(self) -> bool:
        return self.device is not None and self.device.has_many_requests

    def stop_reading(self) -> None:
        self._transport.pauseProducing()

    def read_again(self) -> None:
        if self.phase not in (ConnectionPhase.SILENT, ConnectionPhase.CLOSED):
            self._transport.resumeProducing()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.phase = ConnectionPhase.CLOSED
        self._send = None
        self.tell_session()
        # This and its session hold each other: the garbage collector comes much later.
        self.protocol.discard_received()
        self.gateway.lost(self)

    # Writing

    def flush(self) -> None:
        """Write what the protocol has to say."""
        data = self.protocol.data_to_send()
        if data:
            self.write(data)

    def write(self, data: bytes) -> None:
        """Send now if the socket takes it; otherwise the rest waits in the transport."""
        send = self._send
        if send is not None and not self.blocked:
            try:
                sent = send(data)
            except (BlockingIOError, InterruptedError):
                sent = 0
            except OSError:
                return  # the reactor reports the loss
            if sent == len(data):
                return
            self.send_later(data[sent:])
        elif not self.is_closed:
            self.waiting_bytes += len(data)
            self._transport.write(data)
            if self.has_unread_answers and self.paused is None:
                self.gateway.reads.check(self)  # no further requests until it reads answers

    @property
    def direct(self) -> Callable[[bytes], int] | None:
        """What sends to the socket at once, if it may be used now."""
        return None if self.blocked else self._send

    def tell_session(self) -> None:
        """Whether what it gets may be sent at once."""
        if self.device is not None:
            is_open = self.protocol.state is State.OPEN
            self.device.send = self.direct if is_open else None

    def send_later(self, rest: bytes) -> None:
        """Let the transport send `rest` when the socket takes it."""
        if not self._produces:
            self._produces = True
            self._transport.registerProducer(self, False)
        self.blocked = True
        self.tell_session()
        self.waiting_bytes = len(rest)
        self._transport.write(rest)

    def may_queue(self, size_bytes: int) -> bool:
        """Whether a message that is kept nowhere (QoS 0) may wait for a blocked connection."""
        return self.waiting_bytes + size_bytes <= MAX_WAITING_BYTES

    # IPullProducer, IPushProducer: what the transport says of its buffer

    def pauseProducing(self) -> None:
        if not self.blocked:
            self.blocked = True
            self.tell_session()
            self.waiting_bytes = 0

    def resumeProducing(self) -> None:
        """All that waited was sent."""
        if self.blocked and not self.is_closed:
            self.blocked = False
            self.tell_session()
            self.waiting_bytes = 0
            self.gateway.drained(self)

    def stopProducing(self) -> None:
        """The connection is lost: `connectionLost` follows."""

    # The end

    def read_no_more(self) -> None:
        """The peer said goodbye, but its requests are still carried out."""
        self.phase = ConnectionPhase.SILENT
        self.tell_session()
        self._transport.pauseProducing()

    def end(self, ended: Ended) -> None:
        """Close. Unless the peer ended it, it gets time to read why.

        See protocol.md, "DISCONNECT: the end".
        """
        if self.phase not in (ConnectionPhase.OPEN, ConnectionPhase.SILENT):
            return
        self.tell_session()
        self.farewell(ended)
        transport = self._transport
        if self.phase is ConnectionPhase.SILENT or (self.paused and self.paused.stopped):
            transport.resumeProducing()  # else it would not be seen that the peer closes
        self.phase = ConnectionPhase.ENDING
        if self._produces:
            self._produces = False
            transport.unregisterProducer()
        if not self.is_plain and not self._secured:
            self.abort()  # nobody can read a goodbye
            return
        if self.closes_both_ways(ended) or not self.is_plain:
            transport.loseConnection()
        else:
            transport.loseWriteConnection()
        self.gateway.linger(self, LINGER_SECONDS)

    def farewell(self, ended: Ended) -> None:
        """Write the last words."""
        self.flush()

    def closes_both_ways(self, ended: Ended) -> bool:
        """Whether nothing need be read any more, so that the connection may close at once."""
        return ended.by_peer

    def cut(self) -> None:
        """The time to read is over: first an orderly close, then the hard one."""
        if self.is_closed:
            return
        if self.phase is ConnectionPhase.ENDING and self.is_plain and not self.blocked:
            self.phase = ConnectionPhase.CUT
            self._transport.loseConnection()
            self.gateway.linger(self, LINGER_SECONDS)
        else:
            self.abort()

    def abort(self) -> None:
        """End at once, whatever waits."""
        self._transport.abortConnection()


def write_to_all(devices: list[DeviceSession], data: bytes) -> None:
    """The same bytes to many: the hottest loop of a connector.

    Between two system calls runs as little as can be: what the kernel does in a `send` drives all
    else out of the processor's caches, so that every line here costs several times its usual time.
    """
    sends = [device.send for device in devices]
    layers = [send for send in sends if type(send) is RecordLayer]
    if layers:
        send_to_all(layers, data)
        if len(layers) < len(sends):
            pairs = zip(devices, sends, strict=True)
            write_to_all([it for it, send in pairs if type(send) is not RecordLayer], data)
        return
    size_bytes = len(data)
    for place, send in enumerate(sends):
        if send is None:
            devices[place].connection.write(data)
            continue
        try:
            sent = send(data)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError:
            continue  # the reactor reports the loss
        if sent != size_bytes:
            devices[place].connection.send_later(data[sent:])
