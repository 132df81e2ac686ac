"""Listening ports of devices: a bounded part of each turn of the reactor is theirs."""

from __future__ import annotations

import select
from contextlib import suppress
from typing import Any

from twisted.internet import tcp
from twisted.internet.error import ConnectionLost
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from push.connector.limits.admission import AdmittingFactory
from push.connector.transport.device_reader import DeviceReader
from push.runtime.bounded_port import BoundedPort

# Read at once from one connection. Twisted's 64 KiB are 6,500 of the shortest frames, of which
# all but the first slice would wait in memory.
READ_BYTES = 4 * 1024
# Nearly all reads are shorter, and memory for more takes as long as all else about a read.
SHORT_BYTES = 448


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
