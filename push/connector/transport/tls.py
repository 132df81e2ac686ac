"""TLS around a device's connection: sealed and sent at once, read by whole records, in turns.

Twisted's own TLS leaves every write to the next turn of the reactor, and asks OpenSSL after each
read, by an exception, whether there is more. Here a write is sealed and given to the socket as a
plain connection does it, and OpenSSL is asked as often as whole records came.

A handshake takes most of a millisecond of a processor, and anybody may ask for one. So what comes
before its end waits in the line of those that have no session (see `ReadQueue`).

It knows private names of Twisted's TLS, as `twisted_tls` does.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from OpenSSL import SSL
from twisted.internet.protocol import connectionDone
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure

from push.connector.limits.read_queue import PausedReading, ReadQueue
from push.connector.transport.records import MAX_PLAIN_BYTES, whole_records
from push.connector.transport.twisted_tls import DirectTls
from push.runtime.ports import Clock, as_twisted

# OpenSSL's words for a client without a certificate, or with one that no CA of `client_ca` signed.
_WRONG_CERTIFICATE = {"peer did not return a certificate", "certificate verify failed"}
NOTHING_BYTES = 64  # as how many what came without a byte for the session counts
# In which a handshake may come; one that comes in more is read a few times a second.
MOST_PIECES = 8
SHORTEST_BYTES = 5  # no frame is shorter, and no message of WebSocket


class DeviceTls(DirectTls):
    """The transport of a device's connection over TLS; to the queue of what is read, a newcomer
    until the handshake is complete.

    Incomplete records wait here, where they cost a line and not a call of OpenSSL each.
    """

    factory: DeviceTlsFactory
    transport: Any
    wrappedProtocol: Any
    paused: PausedReading | None = None
    is_newcomer = True
    has_unread_answers = False
    has_many_requests = False
    _pieces = 0  # of records, before the handshake is complete

    # What the queue needs (push.connector.limits.read_queue.ReadConnection)

    @property
    def is_read(self) -> bool:
        return not self._aborted and not self._lostTLSConnection

    def take_slice(self, data: bytes, start: int) -> int:
        super().dataReceived(data[start:])
        return len(data)

    def stop_reading(self) -> None:
        self.transport.pauseProducing()

    def read_again(self) -> None:
        if self.paused is not None and self.paused.stopped:
            return  # it was put off, and its turn has not come yet
        inner: PausedReading | None = getattr(self.wrappedProtocol, "paused", None)
        if inner is None or not inner.stopped:
            self.transport.resumeProducing()

    def abort(self) -> None:
        self.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.factory.reads.forget(self)
        super().connectionLost(reason)
        # They hold this: the garbage collector would come much later.
        self._producer = None
        del self.records

    def _tlsShutdownFinished(self, reason: Failure | None) -> None:
        if reason is not None and not self._handshakeDone:
            why = refusal_of(reason.value)
            if why is not None:
                self.factory.refused["TLS", why] += 1
        super()._tlsShutdownFinished(reason)

    # When there is more to do than to read data: Twisted's way

    def _checkHandshakeStatus(self) -> None:
        super()._checkHandshakeStatus()
        self.records.is_open = self._handshakeDone and not self._aborted

    def _bufferedWrite(self, octets: bytes) -> None:
        self.records.is_open = False
        super()._bufferedWrite(octets)

    def abortConnection(self) -> None:
        self.records.is_open = False
        super().abortConnection()

    # Reading

    def dataReceived(self, data: bytes) -> None:
        plain = self.records.unseal_one(data)
        if plain is None:
            self._received(data)
        elif not plain:
            self._flushReceiveBIO()
        else:
            self.wrappedProtocol.dataReceived(plain)
            if len(plain) < SHORTEST_BYTES:
                self._charge_for_nothing()

    def _received(self, data: bytes) -> None:
        records = self.records
        if records.incomplete:
            data = records.incomplete + data
            records.incomplete = b""
        number, end, is_odd = whole_records(data)
        if end < len(data) and not is_odd:
            records.incomplete = data[end:]
            if not end:
                self._got_a_piece()
                return
            data = data[:end]
        if not self._handshakeDone:
            self.factory.reads.received(self, data)
        elif number and records.is_open:
            self._read(data, number)
        else:
            super().dataReceived(data)

    def _read(self, data: bytes, number: int) -> None:
        plain, is_all = self.records.unseal(data, number)
        if plain:
            self.wrappedProtocol.dataReceived(plain)
        if not is_all:
            self._flushReceiveBIO()  # new keys, or the end: asked again, it does all that
        if len(plain) < SHORTEST_BYTES * number:
            self._charge_for_nothing(number - len(plain) // SHORTEST_BYTES)

    def _flushReceiveBIO(self) -> None:
        """Hand on what has come, however many records it is, as one piece."""
        if self._lostTLSConnection:
            return
        pieces: list[bytes] = []
        receive = self._tlsConnection.recv
        try:
            while True:
                pieces.append(receive(MAX_PLAIN_BYTES))
        except SSL.WantReadError:
            self._hand_on(pieces)
            if not pieces:
                self._charge_for_nothing()
            self.records.all_was_read()
        except SSL.ZeroReturnError:
            self._hand_on(pieces)
            self._shutdownTLS()
            self._tlsShutdownFinished(None)
        except SSL.Error:
            self._hand_on(pieces)
            self._tlsShutdownFinished(Failure())
        self._flushSendBIO()

    def _hand_on(self, pieces: list[bytes]) -> None:
        if pieces and not self._aborted:
            self.wrappedProtocol.dataReceived(b"".join(pieces))

    def _got_a_piece(self) -> None:
        """A part of a record came, with which nothing can be done yet."""
        if self._handshakeDone:
            self._charge_for_nothing()
            return
        self._pieces += 1
        if self._pieces > MOST_PIECES and self.is_read:
            self.factory.reads.put_off(self)

    def _charge_for_nothing(self, number: int = 1) -> None:
        """What says nothing to the session counts as a frame: parts of records, new keys, records
        of less than a frame."""
        if self._handshakeDone and self.wrappedProtocol.is_read:
            self.factory.reads.charge(self.wrappedProtocol, number, number * NOTHING_BYTES)


def refusal_of(error: BaseException | None) -> str | None:
    """Why a handshake was refused, for counts; None: the client has disconnected."""
    queue = error.args[0] if type(error) is SSL.Error and error.args else ()
    said = {reason for _, _, reason in queue}
    if not said or any("unexpected eof" in reason.casefold() for reason in said):
        return None
    return "client_certificate" if said & _WRONG_CERTIFICATE else "handshake"


class DeviceTlsFactory(TLSMemoryBIOFactory):
    """Puts TLS around the connections of `factory`; `reads` is the queue of handshakes. Those that
    were refused are counted in `refused`, as ("TLS", why)."""

    protocol = DeviceTls
    noisy = False  # the daemon tells where it listens

    def __init__(
        self,
        context: Any,
        factory: Any,
        reads: ReadQueue,
        refused: Counter[tuple[str, str]],
        clock: Clock,
    ) -> None:
        super().__init__(context, False, factory, as_twisted(clock))
        self.reads = reads
        self.refused = refused
