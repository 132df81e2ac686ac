"""Listening ports of devices: a bounded part of each turn of the reactor is theirs.

The connections of a port are read from an `epoll` of their own inside the reactor's. Twisted wraps
each read in a context for its log, which takes longer than all that an acknowledgement needs. Here
the reactor knows one descriptor, that of the `epoll`, and what has come is read in one loop, of a
bounded part of the connections in each turn of the reactor.

The `epoll` tells once that something has come ("edge triggered"), and not again until it is read:
that would be another look at each connection. So a read that leaves something asks for another.
"""

from __future__ import annotations

import select
from contextlib import suppress
from typing import Any, Protocol

from twisted.internet import tcp
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from push.connector.limits.admission import AdmittingFactory
from push.runtime.bounded_port import BoundedPort

log = Logger()

# Read at once from one connection. Twisted's 64 KiB are 6,500 of the shortest frames, of which
# all but the first slice would wait in memory.
READ_BYTES = 4 * 1024
# Nearly all reads are shorter, and memory for more takes as long as all else about a read.
SHORT_BYTES = 448
READS_PER_TURN = 256
# So many are asked for at once. After each it is looked how long all took: a read with many
# acknowledgements of several streams takes a hundred times as long as one with a single one.
READS_AT_ONCE = 16
SECONDS_PER_TURN = 0.002
_DATA = select.EPOLLIN
_EVENTS = _DATA | select.EPOLLRDHUP | select.EPOLLET


class ReadTransport(Protocol):
    """A transport of Twisted, as far as it is read."""

    def fileno(self) -> int: ...

    def read(self) -> Failure | None:
        """Hand on what has come; why nothing will come any more, if so."""

    def readConnectionLost(self, reason: Failure) -> None:
        """The peer has said that nothing more comes."""

    def connectionLost(self, reason: Failure) -> None: ...


@implementer(IReadDescriptor)
class DeviceReader:
    """While there are transports to be read, the reactor knows it."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._poll = select.epoll()
        self._transports: dict[int, ReadTransport] = {}

    def add(self, transport: ReadTransport) -> None:
        number = transport.fileno()
        if number < 0 or number in self._transports:
            return
        self._poll.register(number, _EVENTS)
        self._transports[number] = transport
        if len(self._transports) == 1:
            self._reactor.addReader(self)

    def read_again(self, transport: ReadTransport) -> None:
        """Something was left, or may have been: it is read in another turn."""
        number = transport.fileno()
        if self._transports.get(number) is transport:
            self._poll.modify(number, _EVENTS)

    def remove(self, transport: ReadTransport) -> None:
        number = transport.fileno()
        if self._transports.get(number) is not transport:
            return
        del self._transports[number]
        self._poll.unregister(number)
        if not self._transports:
            self._reactor.removeReader(self)

    # What the reactor asks for

    def fileno(self) -> int:
        return self._poll.fileno()

    def logPrefix(self) -> str:
        return "devices"

    def doRead(self) -> None:
        transports, seconds = self._transports, self._reactor.seconds
        end = seconds() + SECONDS_PER_TURN
        for _ in range(0, READS_PER_TURN, READS_AT_ONCE):
            ready = self._poll.poll(0, READS_AT_ONCE)
            for place, (number, events) in enumerate(ready):
                if place and seconds() >= end:
                    self._put_back(ready[place:])
                    return
                transport = transports.get(number)
                if transport is None:
                    continue  # one before it in this turn has ended it
                try:
                    reason = transport.read()
                except Exception:
                    log.failure(
                        "Data of a device could not be read", event="connection.read_failed"
                    )
                    self._end(transport, Failure())
                    continue
                if reason is not None:
                    self._end(transport, reason)
                elif events != _DATA:
                    self.read_again(transport)  # the end of it, which came with the data
            if len(ready) < READS_AT_ONCE or seconds() >= end:
                return  # what is left is in the `epoll`: the reactor calls again

    def _put_back(self, unread: list[tuple[int, int]]) -> None:
        for number, _ in unread:
            transport = self._transports.get(number)
            if transport is not None:
                self.read_again(transport)

    def _end(self, transport: ReadTransport, reason: Failure) -> None:
        self.remove(transport)
        if reason is connectionDone:
            transport.readConnectionLost(reason)
        else:
            transport.connectionLost(reason)

    def connectionLost(self, reason: Failure) -> None:
        """The reactor has stopped."""
        for transport in list(self._transports.values()):
            self.remove(transport)
            transport.connectionLost(reason)


class DeviceTransport(tcp.Server):
    """A connection of a device."""

    server: DevicePort
    socket: Any
    protocol: Any
    bufferSize = READ_BYTES
    _is_aborted = False

    def abortConnection(self) -> None:
        self._is_aborted = True
        super().abortConnection()  # type: ignore[no-untyped-call]  # Twisted has no types here

    def startReading(self) -> None:
        if self.server.reader is None:
            super().startReading()  # type: ignore[no-untyped-call]  # as above
        elif not self._is_aborted:
            self.server.reader.add(self)

    def stopReading(self) -> None:
        if self.server.reader is None:
            super().stopReading()  # type: ignore[no-untyped-call]  # as above
        else:
            self.server.reader.remove(self)

    def read(self) -> Failure | None:
        """See `DeviceReader`."""
        receive = self.socket.recv
        try:
            data = receive(SHORT_BYTES)
        except BlockingIOError:
            return None
        except OSError:
            return Failure(ConnectionLost())
        if not data:
            return connectionDone
        if len(data) == SHORT_BYTES:
            with suppress(OSError):  # what is wrong is seen at the next read
                data += receive(READ_BYTES - SHORT_BYTES)
            if len(data) == READ_BYTES and self.server.reader is not None:
                self.server.reader.read_again(self)
        self.protocol.dataReceived(data)
        return None


class DevicePort(BoundedPort):
    """Accepts in a turn, and in a second, at most the connections that its factory says."""

    transport = DeviceTransport
    factory: AdmittingFactory
    _resuming: Any = None

    def __init__(self, *listening: Any, **options: Any) -> None:
        super().__init__(*listening, **options)
        self.reader = DeviceReader(self.reactor) if hasattr(select, "epoll") else None

    def accepts_now(self) -> int:
        return self.factory.accepts_now()

    def accept_some(self) -> None:
        wait_seconds = self.factory.accepts_wait_seconds()
        if wait_seconds:
            self.stopReading()  # type: ignore[no-untyped-call]  # Twisted has no types here
            self._resuming = self.reactor.callLater(wait_seconds, self._resume)
        else:
            super().accept_some()

    def _resume(self) -> None:
        self._resuming = None
        if self.connected:
            self.startReading()  # type: ignore[no-untyped-call]  # as above

    def connectionLost(self, reason: Any) -> None:
        if self._resuming is not None:
            self._resuming.cancel()
            self._resuming = None
        super().connectionLost(reason)  # type: ignore[no-untyped-call]  # as above
