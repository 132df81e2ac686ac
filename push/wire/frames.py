"""Binary frames: a 10-byte header and a body.

The decoder is a pure function of the bytes fed to it: it keeps what is incomplete and hands out
frames one by one, so that the owner may change its limits between two of them. It judges a header
as early and in the same order whatever the segmentation: magic, version, reserved bits, signal,
length. It never buffers a body whose length was refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import NamedTuple

from push.wire.errors import ProtocolError, VersionMismatch, bad_frame
from push.wire.signals import MAGIC, VERSION, DisconnectCode, SubSignal, signal_name

HEADER = Struct(">BBBIBH")  # magic, version, signal, length, sub-signal, message id
HEADER_BYTES = HEADER.size
KIB = 1024
MAX_FRAME_BYTES = 1024 * KIB
MAX_FRAME_BEFORE_SESSION_BYTES = 64 * KIB
_HIGH_BIT = 0x80


class Frame(NamedTuple):
    """One message of the device protocol; `body` is JSON or empty, not yet validated."""

    signal: int
    sub_signal: SubSignal
    message_id: int
    body: bytes


def encode_frame(signal: int, sub_signal: int = 0, message_id: int = 0, body: bytes = b"") -> bytes:
    """The bytes of a frame. Raises `struct.error` for numbers that no header can carry."""
    return HEADER.pack(MAGIC, VERSION, signal, len(body), sub_signal, message_id) + body


class FrameDecoder:
    """Cuts received bytes into frames.

    `max_frame_bytes` bounds a body; `accepted` is the set of signals that may come now (None: any,
    as a client must ignore what it does not know). Both may be changed between two frames.
    """

    __slots__ = ("_buffer", "accepted", "max_frame_bytes")

    def __init__(
        self,
        max_frame_bytes: int = MAX_FRAME_BEFORE_SESSION_BYTES,
        accepted: frozenset[int] | None = None,
    ) -> None:
        self._buffer: bytearray | None = None
        self.max_frame_bytes = max_frame_bytes
        self.accepted = accepted

    @property
    def buffered_bytes(self) -> int:
        return len(self._buffer) if self._buffer else 0

    def discard(self) -> None:
        """Forget what is incomplete: the connection is over."""
        self._buffer = None

    def rest_of_frame(self, data: bytes, start: int) -> int:
        """How many bytes of `data` from `start` on belong to the frame that is being read there; 0
        while its header is incomplete."""
        head = self._buffer or data[start : start + HEADER_BYTES]
        if len(head) < HEADER_BYTES:
            return 0
        length = HEADER.unpack_from(head)[3]
        return HEADER_BYTES + int(length) - self.buffered_bytes

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Yield each frame that is now complete; raises `ProtocolError` at the first bad one.

        The iterator must be exhausted or dropped with the connection before the next feed.
        """
        buffer: bytes | bytearray = data
        if self._buffer is not None:
            self._buffer += data
            buffer = self._buffer
        position, end = 0, len(buffer)
        while position < end:
            body_end = self._frame_end(buffer, position, end)
            if body_end is None or body_end > end:
                self._keep(buffer, position)
                return
            _, _, signal, _, sub_signal, message_id = HEADER.unpack_from(buffer, position)
            body = bytes(buffer[position + HEADER_BYTES : body_end])
            position = body_end
            yield Frame(signal, sub_signal, message_id, body)
        self._buffer = None

    def _keep(self, buffer: bytes | bytearray, position: int) -> None:
        """Keep the incomplete frame at `position`, in a buffer that grows without copying."""
        if isinstance(buffer, bytearray):
            del buffer[:position]
        else:
            self._buffer = bytearray(buffer[position:])

    def _frame_end(self, buffer: bytes | bytearray, position: int, end: int) -> int | None:
        """Where the frame at `position` ends, or None while its header is incomplete."""
        if buffer[position] != MAGIC:
            raise bad_frame(f"magic: {buffer[position]:#04x} instead of {MAGIC:#04x}")
        if end - position >= 2 and buffer[position + 1] != VERSION:
            raise VersionMismatch(buffer[position + 1])
        if end - position < HEADER_BYTES:
            return None
        _, _, signal, length, sub_signal, _ = HEADER.unpack_from(buffer, position)
        if (signal | sub_signal) & _HIGH_BIT:
            raise bad_frame("reserved bits: the high bit of signal and sub-signal must be 0")
        if self.accepted is not None and signal not in self.accepted:
            raise bad_frame(f"signal: {signal_name(signal)} is not accepted here")
        if length > self.max_frame_bytes:
            raise ProtocolError(
                DisconnectCode.FRAME_TOO_LARGE,
                f"length: {length} bytes where at most {self.max_frame_bytes} are accepted",
            )
        return position + HEADER_BYTES + int(length)
