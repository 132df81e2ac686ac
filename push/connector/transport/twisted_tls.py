"""What Twisted's TLS does for every connection, with less: shaking hands costs a turn less.

Twisted asks OpenSSL for the server's first word before the client has said any, gives each
connection interfaces of its own, and leaves what OpenSSL has to say to the next turn of the
reactor. Beside `tls`, which is built on this, the only module that knows private names of Twisted's
TLS, of its TCP transport and of pyOpenSSL.
"""

from __future__ import annotations

from typing import Any

from OpenSSL._util import ffi, lib
from twisted.internet.interfaces import ISSLTransport, ITCPTransport
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

# Used for one connection after the other: a record, and what OpenSSL may say before it.
BUFFER_BYTES = 2**15
buffer = ffi.new("char[]", BUFFER_BYTES)
content = ffi.buffer(buffer)


@implementer(ITCPTransport, ISSLTransport)
class DirectTls(TLSMemoryBIOProtocol):
    """TLS of a server over a TCP transport."""

    factory: Any
    transport: Any
    wrappedProtocol: Any
    _is_broken = False  # the socket takes nothing any more

    @property
    def has_sent_all(self) -> bool:
        """Whether the socket has taken all that was written."""
        tcp = self.transport
        is_waiting = self._appSendBuffer or tcp.dataBuffer or tcp._tempDataBuffer
        return bool(tcp.connected) and not (is_waiting or self._is_broken)

    def makeConnection(self, transport: Any) -> None:
        self._tlsConnection = self.factory._creatorCallable(self)
        self._appSendBuffer: list[bytes] = []
        self.connected = 1
        self.transport = transport
        self.factory.registerProtocol(self)
        self.wrappedProtocol.makeConnection(self)

    def _flushSendBIO(self) -> None:
        """Give the socket what OpenSSL has to say, behind what waits."""
        while True:
            size_bytes = lib.BIO_read(self._tlsConnection._from_ssl, buffer, BUFFER_BYTES)
            if size_bytes <= 0:
                return
            self._send_sealed(content[:size_bytes])

    def _send_sealed(self, sealed: bytes | memoryview) -> None:
        """What the socket does not take of it waits in the TCP transport."""
        tcp = self.transport
        if not tcp.connected:
            return
        sent = 0
        if not (tcp.dataBuffer or tcp._tempDataBuffer or tcp.disconnecting):
            try:
                sent = tcp.socket.send(sealed)
            except (BlockingIOError, InterruptedError):
                pass
            except OSError:
                self._is_broken = True
                return  # the reactor reports the loss
        if sent < len(sealed):
            tcp.write(bytes(sealed[sent:]))
