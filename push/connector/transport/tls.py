"""TLS around a device's connection: sealed and sent at once, and read a whole record at a time.

Twisted's own TLS leaves every write to the next turn of the reactor, and asks OpenSSL after each
read, by an exception, whether there is more. Here a write is sealed and given to the socket as a
plain connection does it, and OpenSSL is asked as often as whole records came.

The only module that knows private names of Twisted's TLS and of its TCP transport.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from OpenSSL.SSL import Error, WantReadError, ZeroReturnError
from twisted.internet.interfaces import IReactorTime
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure

# RFC 8446, 5.1 and 5.2: a record is a type, a version and a length, then at most so much.
HEADER_BYTES = 5
MAX_PLAIN_BYTES = 2**14
MAX_SEALED_BYTES = MAX_PLAIN_BYTES + 2048  # what TLS 1.2 allows; 1.3 allows less
APPLICATION_DATA = 23
_TYPES = frozenset((20, 21, 22, APPLICATION_DATA))


class Records(NamedTuple):
    """The whole records that data begins with: `number` of them, or 0 when they are not all of
    application data, and where they end. `is_odd`: what follows is no beginning of a record."""

    number: int
    end: int
    is_odd: bool


def whole_records(data: bytes) -> Records:
    number, end, size, are_data = 0, 0, len(data), True
    while end < size:
        kind = data[end]
        if kind not in _TYPES:
            return Records(0, end, True)
        if size - end < HEADER_BYTES:
            break
        length = data[end + 3] << 8 | data[end + 4]
        if length > MAX_SEALED_BYTES:
            return Records(0, end, True)
        if size - end < HEADER_BYTES + length:
            break
        end += HEADER_BYTES + length
        number += 1
        are_data = are_data and kind == APPLICATION_DATA
    return Records(number if are_data else 0, end, False)


class DeviceTLS(TLSMemoryBIOProtocol):
    """The transport of a device's connection over TLS.

    Incomplete records wait here, where they cost a line and not a call of OpenSSL each.
    """

    _incomplete = b""
    transport: Any
    wrappedProtocol: Any

    # Reading

    def dataReceived(self, data: bytes) -> None:
        if self._incomplete:
            data = self._incomplete + data
            self._incomplete = b""
        number, end, is_odd = whole_records(data)
        if end < len(data) and not is_odd:
            self._incomplete = data[end:]
            if not end:
                return
            data = data[:end]
        if number and self._handshakeDone and not self._appSendBuffer:
            self._read(data, number)
        else:
            super().dataReceived(data)

    def _read(self, data: bytes, number: int) -> None:
        connection = self._tlsConnection
        connection.bio_write(data)
        try:
            plain = connection.recv(MAX_PLAIN_BYTES) if number == 1 else self._recv_all(number)
        except (WantReadError, ZeroReturnError):
            self._flushReceiveBIO()  # a ticket, new keys, or the end: asked again, it does all that
        except Error:
            self._tlsShutdownFinished(Failure())
        else:
            if not self._aborted:
                self.wrappedProtocol.dataReceived(plain)

    def _recv_all(self, number: int) -> bytes:
        """What `number` records hold, together, as TCP would bring it."""
        parts: list[bytes] = []
        recv = self._tlsConnection.recv
        try:
            for _ in range(number):
                parts.append(recv(MAX_PLAIN_BYTES))
        except Error:
            if not parts:
                raise
            # What came before it is delivered first; asked again, OpenSSL says the same.
            if not self._aborted:
                self.wrappedProtocol.dataReceived(b"".join(parts))
            raise
        return b"".join(parts)

    # Writing

    def send(self, data: bytes) -> int:
        """As `socket.send`, but all of `data` is taken: what the socket does not take of it,
        sealed, waits in the TCP transport, which pauses its producer when that is much."""
        if (
            self._appSendBuffer
            or self.disconnecting
            or self._lostTLSConnection
            or len(data) > MAX_PLAIN_BYTES
        ):
            self.write(data)
            return len(data)
        connection = self._tlsConnection
        try:
            connection.send(data)
        except WantReadError:
            self._bufferedWrite(data)
            return len(data)
        except Error:
            self._tlsShutdownFinished(Failure())
            return len(data)
        sealed = connection.bio_read(2 * MAX_PLAIN_BYTES)
        tcp = self.transport
        if tcp.dataBuffer or tcp._tempDataBuffer:
            tcp.write(sealed)  # behind what waits
            return len(data)
        try:
            sent = tcp.socket.send(sealed)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError:
            return len(data)  # the reactor reports the loss
        if sent < len(sealed):
            tcp.write(sealed[sent:])
        return len(data)


def device_tls(context: Any, factory: Any, clock: IReactorTime) -> TLSMemoryBIOFactory:
    """`factory`'s connections inside TLS; `context` makes their OpenSSL connections."""
    tls = TLSMemoryBIOFactory(context, False, factory, clock)
    tls.protocol = DeviceTLS
    return tls
