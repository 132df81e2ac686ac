"""The records of a TLS connection: found in what comes, unsealed; sealed, and sent at once.

OpenSSL's functions are called without pyOpenSSL's `send`, `recv`, `bio_read` and `bio_write`, which
take as long as the cipher and the copy together. So this knows private names of pyOpenSSL, and
those of Twisted's TCP transport that say what waits in it.

OpenSSL reads from and writes to a buffer in memory (a "memory BIO"). Those grow with what they
once held and never shrink: one that held more than `KEPT_BYTES` gives way to a new one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from OpenSSL import SSL
from OpenSSL._util import ffi, lib

# RFC 8446, 5.1 and 5.2: a record is a type, a version and a length, then at most so much.
HEADER_BYTES = 5
MAX_PLAIN_BYTES = 2**14
MAX_SEALED_BYTES = MAX_PLAIN_BYTES + 2048  # what TLS 1.2 allows; 1.3 allows less
APPLICATION_DATA = 23
_TYPES = frozenset((20, 21, 22, APPLICATION_DATA))

KEPT_BYTES = 2**10
# Used for one connection after the other: a record, and what OpenSSL may say before it.
BUFFER_BYTES = 2**15
_buffer = ffi.new("char[]", BUFFER_BYTES)
_content = ffi.buffer(_buffer)
_view = memoryview(_content)
SEALED_TOGETHER = 32


class WholeRecords(NamedTuple):
    """The whole records that data begins with: `number` of them, or 0 when they are not all of
    application data, and where they end. `is_odd`: what follows is no beginning of a record."""

    number: int
    end: int
    is_odd: bool


def whole_records(data: bytes) -> WholeRecords:
    number, end, size, are_data = 0, 0, len(data), True
    while end < size:
        kind = data[end]
        if kind not in _TYPES:
            return WholeRecords(0, end, True)
        if size - end < HEADER_BYTES:
            break
        length = data[end + 3] << 8 | data[end + 4]
        if length > MAX_SEALED_BYTES:
            return WholeRecords(0, end, True)
        if size - end < HEADER_BYTES + length:
            break
        end += HEADER_BYTES + length
        number += 1
        are_data = are_data and kind == APPLICATION_DATA
    return WholeRecords(number if are_data else 0, end, False)


class RecordLayer:
    """The ways of a connection into and out of OpenSSL. A call of it is what `socket.send` is to a
    plain connection.

    When it is a connection's turn, in a fan-out above all, nothing of it is in the processor's
    caches. So what is needed each time is kept here, close together, and not with the transport,
    whose class answers for every attribute the long way (it has a `__getattr__`).
    """

    __slots__ = (
        "_connection",
        "_incoming",
        "_outgoing",
        "_send",
        "_ssl",
        "_tls",
        "_waits",
        "incomplete",
        "is_broken",
        "is_open",
    )

    def __init__(self, connection: SSL.Connection, tls: Any) -> None:
        self._connection = connection
        self._ssl = connection._ssl
        self._incoming = connection._into_ssl
        self._outgoing = connection._from_ssl
        self._tls = tls
        self._send: Callable[[memoryview], int] = tls.transport.socket.send
        self._waits = False  # maybe: something was left to the TCP transport
        self.is_broken = False  # the socket takes nothing any more
        self.is_open = False  # data is expected, and nothing is to be done beside reading it
        self.incomplete = b""  # the beginning of a record

    # In

    def unseal_one(self, data: bytes) -> bytes | None:
        """What is in the one record that `data` is, by far the commonest thing that comes. None:
        it is something else, or more. Empty: OpenSSL has it, and is to be asked what it is."""
        size_bytes = len(data)
        if (
            not self.is_open
            or self.incomplete
            or size_bytes <= HEADER_BYTES
            or data[0] != APPLICATION_DATA
            or size_bytes != HEADER_BYTES + (data[3] << 8 | data[4])
        ):
            return None
        lib.BIO_write(self._incoming, data, size_bytes)
        plain_bytes = lib.SSL_read(self._ssl, _buffer, BUFFER_BYTES)
        if size_bytes > KEPT_BYTES:
            self.all_was_read()
        return _content[:plain_bytes] if plain_bytes > 0 else b""

    def unseal(self, sealed: bytes, number: int) -> tuple[bytes, bool]:
        """What the `number` records of `sealed` hold, together, as TCP would bring it; and whether
        all held data. One that did not is to be asked for once more, so that OpenSSL says why."""
        lib.BIO_write(self._incoming, sealed, len(sealed))
        parts: list[bytes] = []
        for _ in range(number):
            size_bytes = lib.SSL_read(self._ssl, _buffer, BUFFER_BYTES)
            if size_bytes <= 0:
                return b"".join(parts), False
            parts.append(_content[:size_bytes])
        if len(sealed) > KEPT_BYTES:
            self.all_was_read()
        return b"".join(parts), True

    def all_was_read(self) -> None:
        """Free the buffer of what comes, unless OpenSSL has more to read in it."""
        if lib.BIO_get_mem_data(self._incoming, ffi.new("char **")) > 0:
            return
        self._incoming = self._connection._into_ssl = lib.BIO_new(lib.BIO_s_mem())
        lib.SSL_set_bio(self._ssl, self._incoming, self._outgoing)  # which frees the old one

    # Out

    def __call__(self, data: bytes) -> int:
        """As `socket.send`, but all of `data` is taken: what the socket does not take of it,
        sealed, waits in the TCP transport, which pauses its producer when that is much."""
        size_bytes = len(data)
        if size_bytes > MAX_PLAIN_BYTES or lib.SSL_write(self._ssl, data, size_bytes) != size_bytes:
            self._tls.write(data)  # in parts; or OpenSSL says by an exception why it refuses
        else:
            self._pass_on(_view[: lib.BIO_read(self._outgoing, _buffer, BUFFER_BYTES)])
        return size_bytes

    def flush(self) -> None:
        """Send all that OpenSSL has to say."""
        while (size_bytes := lib.BIO_read(self._outgoing, _buffer, BUFFER_BYTES)) > 0:
            self._pass_on(_view[:size_bytes])

    def _pass_on(self, sealed: memoryview) -> None:
        """Give it to the socket, after what waits."""
        sent = 0
        if not self._waits or self.has_left():
            try:
                sent = self._send(sealed)
            except (BlockingIOError, InterruptedError):
                pass
            except OSError:
                self.is_broken = True
                return  # the reactor reports the loss
        size_bytes = len(sealed)
        if sent != size_bytes:
            self._waits = True
            self._tls.transport.write(bytes(sealed[sent:]))
        if size_bytes > KEPT_BYTES:
            self._outgoing = self._connection._from_ssl = lib.BIO_new(lib.BIO_s_mem())
            lib.SSL_set_bio(self._ssl, self._incoming, self._outgoing)  # which frees the old one

    def has_left(self) -> bool:
        """Whether the TCP transport holds nothing any more, for which it has no public name."""
        tcp = self._tls.transport
        self._waits = bool(tcp.dataBuffer or tcp._tempDataBuffer)
        return not self._waits


def send_to_all(layers: Sequence[RecordLayer], data: bytes) -> None:
    """The same to many, as a call of each. Records of some are sealed before the first of them is
    sent: so the caches keep the code of OpenSSL and that of the kernel for a while, and a receiver
    on this machine is still awake when the next one comes."""
    size_bytes = len(data)
    if size_bytes > MAX_PLAIN_BYTES:
        for layer in layers:
            layer(data)
        return
    seal, read = lib.SSL_write, lib.BIO_read
    sealed, sealed_bytes = _view[:0], 0
    for start in range(0, len(layers), SEALED_TOGETHER):
        part = layers[start : start + SEALED_TOGETHER]
        for layer in part:
            if seal(layer._ssl, data, size_bytes) != size_bytes:
                layer._tls.write(data)
        for layer in part:
            record_bytes = read(layer._outgoing, _buffer, BUFFER_BYTES)
            if record_bytes <= 0:
                continue  # refused above
            if record_bytes != sealed_bytes:  # seldom: each takes the place of the one before
                sealed, sealed_bytes = _view[:record_bytes], record_bytes
            layer._pass_on(sealed)
