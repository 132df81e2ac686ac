"""The listening port of HTTP: what comes from it is read when it is its turn.

Accepting, TLS and reading cost time before anybody knows who asks, and large answers cost time to
send. So this is work of strangers (`push.runtime.turns`) until a connection has shown a key that
tells who it is.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from twisted.internet import tcp
from twisted.internet.interfaces import IAddress
from twisted.internet.main import CONNECTION_LOST
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure

from push.http.edge.arrivals import LOOKS_AT_ONCE, Arrival, ArrivalsSocket, WaitingArrivals
from push.http.edge.connection_limits import ConnectionLimits
from push.http.edge.early_caller import EarlyCaller
from push.http.edge.incoming import IncomingRequest
from push.http.edge.small_reads import SmallReads
from push.runtime.bounded_port import BoundedPort, has_ended
from push.runtime.ports import Clock
from push.runtime.turns import Turns, Work, WorkOwner
from push.wire.addresses import Networks, counted_ip, peer_ip

# Read at once from a connection: while it waits for its turn, so much of it is in memory.
READ_BYTES = 2 * 1024
READ_BYTES_OF_KNOWN = 64 * 1024
READ_BYTES_OF_REFUSED = 16 * 1024  # what is thrown away
# Reads that bring less, so many until a request is there; then the connection rests
# (`small_reads.py`).
SMALL_READ_BYTES = 512
SMALL_READS_AT_ONCE = 8
MAX_BYTES_AT_ONCE = 4 * 1024  # of an answer that does not wait for the next turn
STRANGERS_AT_ONCE = 4
# Connections and requests of an owner that wait for their turn; with more, new ones wait as
# strangers do.
MOST_KNOWN_WAITING = 64
# Of the time, beside what strangers have: who connects to show a key is not to wait for their work.
ACCEPTING_SHARE = 0.3
# Work of strangers that waits: with more of it, and all connections taken, new ones wait to be
# accepted. Else they would be ended for later ones before anybody had read them.
MAX_WAITING = 32
_ACCEPTING = "accepting"  # no address
# Who a request is from, by its key; "" for a stranger.
OwnerOf = Callable[[IncomingRequest], str]


class Producer(Protocol):
    """What a connection is read from."""

    def pauseProducing(self) -> None: ...

    def resumeProducing(self) -> None: ...


class Transport(Protocol):
    """What is needed of a connection, TCP or TLS."""

    def write(self, data: bytes, /) -> object: ...

    def getPeer(self) -> IAddress: ...

    def loseWriteConnection(self) -> None: ...

    def abortConnection(self) -> None: ...


class HasTurns(Protocol):
    """A site. `early_caller.owner(data)`: who seems to send it, "" for a stranger."""

    clock: Clock
    turns: Turns
    early_caller: EarlyCaller
    connection_limits: ConnectionLimits
    trusted_proxies: Networks


class HttpTransport(tcp.Server):
    """A connection. `work_owner` is whose work it is to read it."""

    bufferSize = READ_BYTES
    server: HttpPort
    work_owner: WorkOwner
    _held = b""  # was received, and waits for its turn
    _is_waiting = False
    _waits_to_write = False
    _written: Any = None  # what the reactor is told about it
    _is_paused = False  # by what reads it
    _was_looked_at = False
    _small_reads = 0  # since a request was there
    _rests = False

    def __init__(self, sock: Any, protocol: Any, client: Any, server: HttpPort, *more: Any) -> None:
        super().__init__(sock, protocol, client, server, *more)
        self._turns = server.turns
        ip = peer_ip(client[0])
        self.work_owner = server.turns.work_owner(counted_ip(ip), is_known=False)
        if server.owner:
            self._recognise(server.owner)

    def belongs_to(self, work_owner: WorkOwner) -> None:
        self.work_owner = work_owner
        self.bufferSize = READ_BYTES_OF_KNOWN if work_owner.is_known else READ_BYTES

    def note_request(self) -> None:
        self._small_reads = 0

    def doRead(self) -> Any:
        """It takes the system longest when a client sends byte by byte."""
        return self._turns.charge(self.work_owner, super().doRead)

    def read_again(self) -> None:
        self._rests = False
        self._read_on()

    def _read_on(self) -> None:
        if not (self._rests or self._is_waiting or self._is_paused):
            super().resumeProducing()

    def _dataReceived(self, data: bytes | None) -> Any:
        if not data:
            return super()._dataReceived(data)
        self._held = data
        if not self._was_looked_at:
            self._recognise(self.server.early_caller.owner(data))
        if len(data) < SMALL_READ_BYTES:
            self.note_small_read()
        if not self._turns.work(self.work_owner, self._read):
            self._is_waiting = True
            self.stopReading()
        return None

    def _recognise(self, owner: str) -> None:
        self._was_looked_at = True
        if owner:
            self.belongs_to(self._turns.work_owner(owner, is_known=True))

    def note_small_read(self) -> None:
        """A read has, or the records of TLS that it brought: too often, and it rests."""
        self._small_reads += 1
        if self._small_reads > SMALL_READS_AT_ONCE and not self._rests:
            self._rests = True
            self.stopReading()
            self.server.small_reads.add(self)

    def connectionLost(self, reason: Failure) -> None:
        """That takes time as well."""
        self._turns.charge(
            self.work_owner, lambda: super(HttpTransport, self).connectionLost(reason)
        )

    def _read(self) -> None:
        data, self._held = self._held, b""
        if not self._is_waiting:
            super()._dataReceived(data)
            return
        self._is_waiting = False
        if not self.connected or self.disconnecting:
            return
        self._read_on()
        try:
            super()._dataReceived(data)
        except BaseException:
            self.abortConnection()  # as the reactor does for what it has read itself
            raise

    def doWrite(self) -> Any:
        """As the reactor wants it: None, or an exception at the end of the connection."""
        if self._waits_to_write:
            self.stopWriting()
            return None
        if self._turns.work(self.work_owner, self._write):
            return self._written
        self._waits_to_write = True
        self.stopWriting()
        return None

    def _write(self) -> None:
        if not self._waits_to_write:
            self._written = super().doWrite()
            return
        self._waits_to_write = False
        if not self.connected:
            return
        self.startWriting()
        self._written = super().doWrite()
        if self._written is not None:  # the reactor was not there to see it
            known = isinstance(self._written, Exception)
            self.connectionLost(Failure(self._written if known else CONNECTION_LOST))

    def write_now(self, data: bytes) -> None:
        """Send a small answer at once, if nothing waits; what the socket does not take, later."""
        waits = self.dataBuffer or self._tempDataBuffer or self.disconnecting
        if len(data) <= MAX_BYTES_AT_ONCE and self.connected and not waits:
            sent = self.writeSomeData(data)
            if isinstance(sent, int):  # else the connection is lost, as `write` finds out
                data = data[sent:]
        if data:
            self.write(data)

    def pauseProducing(self) -> None:
        self._is_paused = True
        super().pauseProducing()

    def resumeProducing(self) -> None:
        self._is_paused = False
        self._read_on()


class HttpPort(BoundedPort):
    """Lets in those that have come: who is known at once, strangers when it is their turn. Its
    factory is a site, or TLS around one."""

    # Twisted has its own class there, and says that another may take its place.
    transport = HttpTransport  # type: ignore[assignment]  # of this port
    socket: ArrivalsSocket
    owner = ""  # of the connection that is let in, as far as was seen
    _strangers_come = False  # when it is their turn

    def __init__(self, port: Any, factory: Any, *more: Any) -> None:
        super().__init__(port, factory, *more)
        site: HasTurns = getattr(factory, "wrappedFactory", factory)
        self.turns, self.early_caller = site.turns, site.early_caller
        self._connection_limits = site.connection_limits
        self._accepting = Turns(site.clock, ACCEPTING_SHARE)
        self._work_owner = self._accepting.work_owner(_ACCEPTING, is_known=False)
        self.small_reads = SmallReads(self.reactor)
        self._waiting_arrivals = WaitingArrivals(
            self._connection_limits.max_connections, site.trusted_proxies
        )

    def createInternetSocket(self) -> ArrivalsSocket:
        listening = ArrivalsSocket(fileno=super().createInternetSocket().detach())
        listening.setblocking(False)
        return listening

    def accepts_now(self) -> int:
        return 1

    def accept_some(self) -> None:
        self._look_again()
        try:
            self._look_at_some()
        except BlockingIOError:
            pass  # those were all
        except OSError:
            super().accept_some()  # which says what is wrong
        self._let_strangers_in()

    def _look_again(self) -> None:
        for arrival in self._waiting_arrivals.recognised(self.early_caller.owner):
            self._receive(arrival)

    def _look_at_some(self) -> None:
        """Raises OSError."""
        for _ in range(LOOKS_AT_ONCE):
            if self._waiting_arrivals.is_full:
                self.stopReading()
                break
            arrival = self.socket.next_arrival()
            if arrival.look(self.early_caller.owner):
                self._receive(arrival)
            else:
                arrival.socket.close()

    def _receive(self, arrival: Arrival) -> None:
        """One that is known comes in as soon as the time of its owner lets it."""
        owner = arrival.owner
        if not owner:
            self._waiting_arrivals.add(arrival)
            return
        work_owner = self.turns.work_owner(owner, is_known=True)
        if len(work_owner.waiting) < MOST_KNOWN_WAITING:
            self.turns.work(work_owner, partial(self._let_in, arrival))
        else:
            arrival.line = owner
            self._waiting_arrivals.add(arrival)

    def _let_strangers_in(self, *, at_once: bool = True) -> None:
        if self._waiting_arrivals.size and not self._strangers_come:
            self._strangers_come = True
            self._accepting.work(self._work_owner, self._let_some_in, at_once=at_once)

    def _let_some_in(self) -> None:
        self._strangers_come = False
        self._look_again()
        is_too_much = self._connection_limits.is_full and self.turns.strangers_waiting > MAX_WAITING
        for _ in range(0 if is_too_much else min(self._waiting_arrivals.size, STRANGERS_AT_ONCE)):
            self._let_in(self._waiting_arrivals.pop())
        if self.connected and not self.disconnecting and not self._waiting_arrivals.is_full:
            self.startReading()
        self._let_strangers_in(at_once=False)

    def _let_in(self, arrival: Arrival) -> None:
        if self.disconnecting or not self.connected or has_ended(arrival.socket):
            arrival.socket.close()
            return
        self.owner, self.socket.let_in = arrival.owner, arrival
        super().accept_some()
        self.owner = ""

    def connectionLost(self, reason: Failure) -> None:
        super().connectionLost(reason)
        self._waiting_arrivals.close()


class RequestSender:
    """Who sends the requests of a connection: `work_owner` is that sender. `owner_of` tells by the
    key who it is."""

    def __init__(self, turns: Turns, transport: Transport, owner_of: OwnerOf) -> None:
        self._turns = turns
        tcp: object = transport
        if isinstance(tcp, TLSMemoryBIOProtocol):
            tcp = tcp.transport
        self._tcp = tcp if isinstance(tcp, HttpTransport) else None
        self._owner_of = owner_of
        self.peer = transport.getPeer()  # it makes a new one each time
        ip = peer_ip(getattr(self.peer, "host", None))
        self.work_owner = self._strangers = self._served = turns.work_owner(
            counted_ip(ip), is_known=False
        )
        self._shown: bytes | None = None  # the header Authorization that came last
        self._has_asked = False

    def ignore_rest(self) -> None:
        """What still comes is thrown away."""
        tcp = self._tcp
        if tcp is not None:
            tcp.bufferSize = max(tcp.bufferSize, READ_BYTES_OF_REFUSED)

    def begin_request(self, request: IncomingRequest) -> WorkOwner:
        """Whose work the request is, and from now on that of reading the connection.

        Without a key, the first one is whose it seemed to be at a first look.
        """
        tcp, is_first, self._has_asked = self._tcp, not self._has_asked, True
        if tcp is not None:
            tcp.note_request()
        self.recognise(request)
        if tcp is not None:
            if is_first and self._shown is None:
                self._served = tcp.work_owner
                return tcp.work_owner
            if tcp.work_owner is not self.work_owner:
                tcp.belongs_to(self.work_owner)
        self._served = self.work_owner
        return self.work_owner

    def in_turn(self, work: Work) -> None:
        """Do it now, or when it is the turn of the owner of the last request."""
        self._turns.work(self._served, work)

    def recognise(self, request: IncomingRequest) -> None:
        """Whose request it is, of which the head is there."""
        shown = request.getHeader(b"authorization")
        if shown != self._shown:
            self._shown = shown
            owner = self._owner_of(request)
            self.work_owner = (
                self._turns.work_owner(owner, is_known=True) if owner else self._strangers
            )
