"""TLS around a connection of HTTP, with nothing left of it when it is lost.

Twisted's leaves cycles of objects, which hold what OpenSSL has for a connection (up to 50 KiB)
until Python looks for garbage: a flood of handshakes took more than 60 MiB in a few seconds.
"""

from __future__ import annotations

import contextlib

from OpenSSL import SSL
from twisted.internet.protocol import connectionDone
from twisted.protocols.tls import BufferingTLSTransport, TLSMemoryBIOFactory
from twisted.python.failure import Failure

from push.http.framework.port import HttpTransport

RECORD_BYTES = 1 << 15  # more than a record holds
LITTLE_BYTES = 64  # in a record, of those that came together; new keys are none


class HttpsTransport(BufferingTLSTransport):
    """The transport of HTTP over TLS."""

    def _flushReceiveBIO(self) -> None:
        """Hand on what has come as one piece: a client may put each byte into a record of its own.
        Then the base class looks what else came, the end or an error."""
        pieces: list[bytes] = []
        with contextlib.suppress(SSL.Error):
            while not self._lostTLSConnection:
                pieces.append(self._tlsConnection.recv(RECORD_BYTES))
        size = sum(map(len, pieces))
        if self._handshakeDone and size < LITTLE_BYTES * max(len(pieces), 1):
            tcp: object = self.transport
            if isinstance(tcp, HttpTransport):
                tcp.note_small_read()
        if pieces and not self._aborted:
            self.wrappedProtocol.dataReceived(b"".join(pieces))  # type: ignore[call-arg, misc]  # as of a class
        super()._flushReceiveBIO()

    def _tlsShutdownFinished(self, reason: Failure | None) -> None:
        if reason is not None and reason.value is not None:
            # The frames of a traceback hold the failure, which holds the traceback.
            reason.tb = None
            reason.value.__traceback__ = None
        super()._tlsShutdownFinished(reason)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        self._producer = None  # it holds what is wrapped, which holds this


class HttpsFactory(TLSMemoryBIOFactory):
    """Puts TLS around the connections of a site."""

    protocol = HttpsTransport
    noisy = False  # the daemon tells where it listens
