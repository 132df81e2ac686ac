"""Records of TLS, sealed and sent at once, and unsealed: the ways out of and into OpenSSL.

Its functions are called without pyOpenSSL's `send`, `recv`, `bio_read` and `bio_write`, which take
as long as the cipher and the copy together. So this knows private names of pyOpenSSL, and those of
Twisted's TCP transport that say what waits in it.

OpenSSL reads from and writes to a buffer in memory (a "memory BIO"). Those grow with what they
once held and never shrink: one that held more than `KEPT_BYTES` gives way to a new one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from OpenSSL import SSL
from OpenSSL._util import ffi, lib

MAX_PLAIN_BYTES = 2**14  # in one record: RFC 8446, 5.1
KEPT_BYTES = 2**10
# Used for one connection after the other: a record, and what OpenSSL may say before it.
BUFFER_BYTES = 2**15
_buffer = ffi.new("char[]", BUFFER_BYTES)
_content = ffi.buffer(_buffer)
_view = memoryview(_content)


class SealedSocket:
    """The way out of a connection: `send` is to it what `socket.send` is to a plain one.

    When a fan-out comes to a connection, nothing of it is in the processor's caches. So what a
    `send` needs is kept here, close together.
    """

    __slots__ = ("_bio", "_connection", "_send", "_ssl", "_tls", "_waits", "is_broken")

    def __init__(self, connection: SSL.Connection, tls: Any) -> None:
        self._connection = connection
        self._ssl = connection._ssl
        self._bio = connection._from_ssl
        self._tls = tls
        self._send: Callable[[memoryview], int] = tls.transport.socket.send
        self._waits = False  # maybe: something was left to the TCP transport
        self.is_broken = False  # the socket takes nothing any more

    def send(self, data: bytes) -> int:
        """As `socket.send`, but all of `data` is taken: what the socket does not take of it,
        sealed, waits in the TCP transport, which pauses its producer when that is much."""
        size_bytes = len(data)
        if size_bytes > MAX_PLAIN_BYTES or lib.SSL_write(self._ssl, data, size_bytes) != size_bytes:
            self._tls.write(data)  # in parts; or OpenSSL says by an exception why it refuses
        else:
            self._pass_on(lib.BIO_read(self._bio, _buffer, BUFFER_BYTES))
        return size_bytes

    def flush(self) -> None:
        """Send all that OpenSSL has to say."""
        while (size_bytes := lib.BIO_read(self._bio, _buffer, BUFFER_BYTES)) > 0:
            self._pass_on(size_bytes)

    def _pass_on(self, size_bytes: int) -> None:
        """Give the socket what stands in the buffer, behind what waits."""
        sent = 0
        if not self._waits or self._has_left():
            try:
                sent = self._send(_view[:size_bytes])
            except (BlockingIOError, InterruptedError):
                pass
            except OSError:
                self.is_broken = True
                return  # the reactor reports the loss
        if sent != size_bytes:
            self._waits = True
            self._tls.transport.write(bytes(_view[sent:size_bytes]))
        if size_bytes > KEPT_BYTES:
            self._give_buffer_back()

    def _has_left(self) -> bool:
        """Whether nothing waits any more."""
        tcp = self._tls.transport
        self._waits = bool(tcp.dataBuffer or tcp._tempDataBuffer)
        return not self._waits

    def _give_buffer_back(self) -> None:
        connection, self._bio = self._connection, lib.BIO_new(lib.BIO_s_mem())
        lib.SSL_set_bio(self._ssl, connection._into_ssl, self._bio)  # which frees the old one
        connection._from_ssl = self._bio


def unseal(connection: SSL.Connection, sealed: bytes, number: int) -> tuple[bytes, bool]:
    """What the `number` records of `sealed` hold, together, as TCP would bring it; and whether all
    held data. One that did not is to be asked for once more, so that OpenSSL says why."""
    lib.BIO_write(connection._into_ssl, sealed, len(sealed))
    parts: list[bytes] = []
    for _ in range(number):
        size_bytes = lib.SSL_read(connection._ssl, _buffer, BUFFER_BYTES)
        if size_bytes <= 0:
            return b"".join(parts), False
        parts.append(_content[:size_bytes])
    if len(sealed) > KEPT_BYTES:
        give_read_buffer_back(connection)
    return parts[0] if number == 1 else b"".join(parts), True


def give_read_buffer_back(connection: SSL.Connection) -> None:
    """For when all that came was read."""
    if lib.BIO_get_mem_data(connection._into_ssl, ffi.new("char **")) > 0:
        return
    connection._into_ssl = lib.BIO_new(lib.BIO_s_mem())
    # Which frees the old one.
    lib.SSL_set_bio(connection._ssl, connection._into_ssl, connection._from_ssl)
