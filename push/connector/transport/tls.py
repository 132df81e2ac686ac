"""TLS around the connections of a listener: handshakes take turns.

A handshake takes most of a millisecond of a processor, and anybody may ask for one. So what comes
before its end waits in the queue of those that have no session (see `ReadQueue`).
"""

from __future__ import annotations

from typing import Any

from OpenSSL import SSL
from twisted.protocols.tls import BufferingTLSTransport, TLSMemoryBIOFactory
from twisted.python.failure import Failure

from push.connector.limits.read_queue import PausedReading, ReadQueue
from push.runtime.ports import Clock, as_twisted

_RECORD_BYTES = 1 << 14
_EMPTY_BYTES = 64  # as which what came without a byte for the session counts


class QueuedTls(BufferingTLSTransport):
    """TLS of one connection; to the queue it is a newcomer until the handshake is complete."""

    factory: QueuedTlsFactory
    wrappedProtocol: Any
    transport: Any
    paused: PausedReading | None = None
    is_newcomer = True
    has_unread_answers = False
    has_many_requests = False

    def dataReceived(self, data: bytes) -> None:
        if self._handshakeDone:
            super().dataReceived(data)  # type: ignore[no-untyped-call]  # Twisted has no types here
        else:
            self.factory.reads.received(self, data)

    def take_slice(self, data: bytes, start: int) -> int:
        super().dataReceived(data[start:])  # type: ignore[no-untyped-call]  # as above
        return len(data)

    @property
    def is_read(self) -> bool:
        return not self._aborted and not self._lostTLSConnection

    def stop_reading(self) -> None:
        self.transport.pauseProducing()

    def read_again(self) -> None:
        inner: PausedReading | None = getattr(self.wrappedProtocol, "paused", None)
        if inner is None or not inner.stopped:
            self.transport.resumeProducing()

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]  # always given
        self.factory.reads.forget(self)
        super().connectionLost(reason)
        # It holds the connection, which holds this: the garbage collector would come much later.
        self._producer = None


class DeviceTls(QueuedTls):
    """Around a connection of a device."""

    def _flushReceiveBIO(self) -> None:
        """Hand on what has come, however many records it is, as one piece.

        Records that say nothing, as to renew a key, count as frames.
        """
        if self._lostTLSConnection:
            return
        pieces: list[bytes] = []
        receive = self._tlsConnection.recv
        try:
            while True:
                pieces.append(receive(_RECORD_BYTES))
        except SSL.WantReadError:
            self._hand_on(pieces)
            if not pieces and self.wrappedProtocol.is_read:
                self.factory.reads.charge(self.wrappedProtocol, 1, _EMPTY_BYTES)
        except SSL.ZeroReturnError:
            self._hand_on(pieces)
            self._shutdownTLS()  # type: ignore[no-untyped-call]  # as above
            self._tlsShutdownFinished(None)  # type: ignore[no-untyped-call]  # as above
        except SSL.Error:
            self._hand_on(pieces)
            self._tlsShutdownFinished(Failure())  # type: ignore[no-untyped-call]  # as above
        self._flushSendBIO()  # type: ignore[no-untyped-call]  # as above

    def _hand_on(self, pieces: list[bytes]) -> None:
        if pieces and not self._aborted:
            self.wrappedProtocol.dataReceived(pieces[0] if len(pieces) == 1 else b"".join(pieces))


class QueuedTlsFactory(TLSMemoryBIOFactory):
    """Puts TLS around the connections of `factory`; `reads` is the queue of handshakes."""

    protocol = QueuedTls
    noisy = False  # the daemon tells where it listens

    def __init__(self, tls: Any, factory: Any, reads: ReadQueue, clock: Clock) -> None:
        super().__init__(tls, False, factory, as_twisted(clock))
        self.reads = reads


class DeviceTlsFactory(QueuedTlsFactory):
    protocol = DeviceTls
