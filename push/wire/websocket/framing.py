"""Frames of RFC 6455, as a server sends and reads them.

Nearly all that a device sends are whole, unfragmented, masked text frames: `read_text_frame` reads
those with few steps and refuses nothing. Everything else (fragments, controls, binary, what came
incomplete, what is wrong) goes through `MessageReader`, which is wsproto, made only while it is
needed: it knows what is a violation and which code it has.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import NamedTuple

from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, TextMessage

_FINAL_TEXT = 0x81
_FINAL_BINARY = 0x82
_FINAL_CLOSE = 0x88
_FINAL_PONG = 0x8A
_MASKED = 0x80
_LENGTH = 0x7F
_TWO_BYTES, _EIGHT_BYTES = 126, 127
_CONTROL = 0x08
_FINAL = 0x80
_MASK_BYTES = 4
_SHORT_HEADER_BYTES = 2 + _MASK_BYTES
_MASKS_OF_SHORT = 32  # as many fit into the longest short payload
_HEAD_BYTES = 10  # of a header without its mask, at most
_SHORT = Struct(">BB")
_MIDDLE = Struct(">BBH")
_LONG = Struct(">BBQ")

NO_STATUS = 1005  # never sent: stands for a Close frame without a code
MESSAGE_TOO_BIG = 1009
MAX_CLOSE_REASON_BYTES = 123


def encode_text_frame(text: bytes) -> bytes:
    """A whole text message of a server: not masked."""
    return _header(_FINAL_TEXT, len(text)) + text


def encode_binary_frame(payload: bytes) -> bytes:
    return _header(_FINAL_BINARY, len(payload)) + payload


def encode_pong(payload: bytes) -> bytes:
    return _header(_FINAL_PONG, len(payload)) + payload


def encode_close(code: int, reason: str = "") -> bytes:
    """A Close frame; with NO_STATUS it says nothing."""
    if code == NO_STATUS:
        return _header(_FINAL_CLOSE, 0)
    text = reason.encode("utf-8", "backslashreplace")[:MAX_CLOSE_REASON_BYTES]
    payload = code.to_bytes(2, "big") + text.decode("utf-8", "ignore").encode()
    return _header(_FINAL_CLOSE, len(payload)) + payload


def _header(first: int, size: int) -> bytes:
    if size < _TWO_BYTES:
        return _SHORT.pack(first, size)
    if size < 1 << 16:
        return _MIDDLE.pack(first, _TWO_BYTES, size)
    return _LONG.pack(first, _EIGHT_BYTES, size)


def read_short_text(data: bytes) -> bytes | None:
    """The text of `data`, if that is one whole text message of at most 125 bytes.

    The quickest way for the commonest case; it finds nothing that `read_text_frame` would not.
    """
    size = len(data) - _SHORT_HEADER_BYTES
    if not 0 <= size < _TWO_BYTES or data[0] != _FINAL_TEXT or data[1] != _MASKED | size:
        return None
    # The header goes through it, too, and is cut off from the result: that saves a copy.
    mask = (data[2:_SHORT_HEADER_BYTES] * _MASKS_OF_SHORT)[:size]
    bits = int.from_bytes(data, "big") ^ int.from_bytes(mask, "big")
    text = bits.to_bytes(len(data), "big")[_SHORT_HEADER_BYTES:]
    return text if text.isascii() or is_utf8(text) else None


def read_text_frame(data: bytes, start: int, max_bytes: int) -> tuple[bytes, int] | None:
    """The text at `start` and where it ends, if it is a whole message of at most `max_bytes`.

    None for all else, also for what is wrong.
    """
    end = len(data)
    body = start + 2 + _MASK_BYTES
    if end < body or data[start] != _FINAL_TEXT or not data[start + 1] & _MASKED:
        return None
    size = data[start + 1] & _LENGTH
    if size == _TWO_BYTES:
        size = int.from_bytes(data[start + 2 : start + 4], "big")
        body += 2
        if size < _TWO_BYTES:
            return None
    elif size == _EIGHT_BYTES:
        size = int.from_bytes(data[start + 2 : start + 10], "big")
        body += 8
        if size < 1 << 16:
            return None
    if size > max_bytes or body + size > end:
        return None
    text = unmasked(data[body : body + size], data[body - _MASK_BYTES : body])
    return (text, body + size) if text.isascii() or is_utf8(text) else None


def is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def unmasked(payload: bytes, mask: bytes) -> bytes:
    """`payload` with each byte changed by the mask; a mask is undone in the same way."""
    size = len(payload)
    whole = mask * (size // _MASK_BYTES) + mask[: size % _MASK_BYTES]
    bits = int.from_bytes(payload, "little") ^ int.from_bytes(whole, "little")
    return bits.to_bytes(size, "little")


class WebSocketMessage(NamedTuple):
    """A whole message; `is_text`: valid UTF-8."""

    payload: bytes
    is_text: bool


class Pinged(NamedTuple):
    """A Ping, to be answered with its payload."""

    payload: bytes


class CloseReceived(NamedTuple):
    """The peer closes; `code` NO_STATUS if it names none. Nothing follows."""

    code: int
    reason: str


class Violation(NamedTuple):
    """The peer broke RFC 6455, whose code this is. Nothing follows."""

    code: int
    reason: str


class TooLarge(NamedTuple):
    """A message has more bytes than are accepted. Nothing follows."""

    size_bytes: int


Received = WebSocketMessage | Pinged | CloseReceived | Violation | TooLarge


class MessageReader:
    """Reads any frames of a peer, for as long as some message or frame is incomplete."""

    __slots__ = (
        "_connection",
        "_head",
        "_in_message",
        "_payload",
        "_size_bytes",
        "left_bytes",
        "other_frames",
    )

    def __init__(self) -> None:
        self._connection = Connection(ConnectionType.SERVER)
        self._head = b""  # of a frame whose length is not known yet
        self.left_bytes = 0  # of the frame that is being read
        self.other_frames = 0  # that were no message and no end of one: fragments and controls
        self._in_message = False
        self._payload = bytearray()  # of the message so far
        self._size_bytes = 0  # of the message, as its frames announce it

    @property
    def at_rest(self) -> bool:
        """Whether all that came is complete: this reader is not needed for what comes next."""
        return not (self.left_bytes or self._head or self._in_message)

    def feed(self, data: bytes, start: int, max_bytes: int) -> Iterator[Received]:
        """What `data` from `start` on completes. wsproto gets one frame after the other."""
        end = len(data)
        while start < end:
            if not self.left_bytes:
                self._begin_frame(data[start : start + _HEAD_BYTES])
            # While the length is not known all there is belongs to the header.
            part = data[start : start + self.left_bytes] if not self._head else data[start:]
            start += len(part)
            if not self._head:
                self.left_bytes -= len(part)
            for received in self._read(part):
                if isinstance(received, WebSocketMessage) and len(received.payload) > max_bytes:
                    received = TooLarge(len(received.payload))
                yield received
                if not isinstance(received, WebSocketMessage | Pinged):
                    return
            if self._size_bytes > max_bytes:
                yield TooLarge(self._size_bytes)
                return

    def _begin_frame(self, data: bytes) -> None:
        """Learn how long the frame is, if enough of its header is there."""
        known = len(self._head)
        head = self._head + data
        self._head = head
        if len(head) < 2:
            return
        size, header_bytes = head[1] & _LENGTH, 2
        if size in (_TWO_BYTES, _EIGHT_BYTES):
            header_bytes += 2 if size == _TWO_BYTES else 8
            if len(head) < header_bytes:
                return
            size = int.from_bytes(head[2:header_bytes], "big")
        if not head[0] & _CONTROL:
            self._size_bytes += size
        if head[0] & _CONTROL or not head[0] & _FINAL:
            self.other_frames += 1
        mask_bytes = _MASK_BYTES if head[1] & _MASKED else 0
        self.left_bytes = header_bytes + mask_bytes + size - known
        self._head = b""

    def _read(self, part: bytes) -> Iterator[Received]:
        self._connection.receive_data(part)
        for event in self._connection.events():
            if isinstance(event, TextMessage | BytesMessage):
                is_text = isinstance(event, TextMessage)
                data = event.data.encode() if isinstance(event, TextMessage) else event.data
                self._payload += data
                self._in_message = not event.message_finished
                if event.message_finished:
                    payload, self._payload = bytes(self._payload), bytearray()
                    self._size_bytes = 0
                    yield WebSocketMessage(payload, is_text)
            elif isinstance(event, Ping):
                yield Pinged(bytes(event.payload))
            elif isinstance(event, CloseConnection):
                reason = event.reason or ""
                if self._connection.state is ConnectionState.REMOTE_CLOSING:
                    yield CloseReceived(int(event.code), reason)
                else:
                    yield Violation(int(event.code), reason)
