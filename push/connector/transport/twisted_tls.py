"""What Twisted's TLS does for every connection, with less: shaking hands costs a turn less.

Twisted asks OpenSSL for the server's first word before the client has said any, gives each
connection interfaces of its own, and leaves what OpenSSL has to say to the next turn of the
reactor. Beside `tls`, which is built on this, the only module that knows private names of Twisted's
TLS.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import ISSLTransport, ITCPTransport
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

from push.connector.transport.records import RecordLayer


@implementer(ITCPTransport, ISSLTransport)
class DirectTls(TLSMemoryBIOProtocol):
    """TLS of a server over a TCP transport."""

    factory: Any
    transport: Any
    wrappedProtocol: Any
    records: RecordLayer

    @property
    def has_sent_all(self) -> bool:
        """Whether the socket has taken all that was written."""
        if not self.transport.connected or self._appSendBuffer or self.records.is_broken:
            return False
        return self.records.has_left()

    def makeConnection(self, transport: Any) -> None:
        self._tlsConnection = self.factory._creatorCallable(self)
        self._appSendBuffer: list[bytes] = []
        self.connected = 1
        self.transport = transport
        self.records = RecordLayer(self._tlsConnection, self)
        self.factory.registerProtocol(self)
        self.wrappedProtocol.makeConnection(self)

    def _flushSendBIO(self) -> None:
        self.records.flush()
