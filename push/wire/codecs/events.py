"""Messages as server-sent events (sse.md, "Events").

Only the server speaks. Which event a message becomes is the same for all sessions; its `id:` is
each session's own. So what this codec makes is cut into events by the connection: before each
is how long it is, and the message id under which it is acknowledged once it is written.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from struct import Struct

import msgspec

from push.wire.bodies import ConnectAccepted, ConnectRefused, DisconnectBody
from push.wire.codecs.codec import PushedMessage
from push.wire.event_stream.answers import ACCEPTED, connect_refusal
from push.wire.frames import Frame
from push.wire.signals import ConnectStatus, DisconnectCode, Signal, SubSignal

COMMENT = b":\n\n"
AGAIN_AT_ONCE = b"retry: 0\n\n"

# When a client that knows nothing but `retry` reconnects, in milliseconds: a random time, so that
# all clients of a server that stopped do not come at once.
RETRY_MS = (1_000, 5_000)
NEVER_MS = 86_400_000  # a day: there is no word for "never"
_NOT_BY_ITSELF = frozenset(
    {
        DisconnectCode.TAKEN_OVER,
        DisconnectCode.KICKED,
        DisconnectCode.BAD_FRAME,
        DisconnectCode.FRAME_TOO_LARGE,
    }
)

_HEADER = Struct(">IH")
_NO_LINES = bytes.maketrans(b"\r\n", b"  ")  # in JSON they are white space, here they end a line
_accepted = msgspec.json.Decoder(ConnectAccepted).decode
_refused = msgspec.json.Decoder(ConnectRefused).decode
_goodbye = msgspec.json.Decoder(DisconnectBody).decode


def piece(text: bytes, message_id: int = 0) -> bytes:
    return _HEADER.pack(len(text), message_id) + text


def pieces(data: bytes) -> Iterator[tuple[bytes, int]]:
    """The texts in `data`, each with its message id (0: it is not acknowledged)."""
    start, end = 0, len(data)
    while start < end:
        size_bytes, message_id = _HEADER.unpack_from(data, start)
        start += _HEADER.size
        yield data[start : start + size_bytes], message_id
        start += size_bytes


def retry_ms(goodbye: DisconnectBody) -> int:
    """When to reconnect after the end of a response: see protocol.md, "DISCONNECT: the end"."""
    after_ms = goodbye.after * 1000 if isinstance(goodbye.after, int) else None
    if after_ms is None and goodbye.code in _NOT_BY_ITSELF:
        return NEVER_MS
    if after_ms is None:
        return random.randint(*RETRY_MS)
    if goodbye.code == DisconnectCode.KICKED:
        return min(after_ms, NEVER_MS)
    return random.randint(0, after_ms)


class NothingIsRead:
    """What a client sends after its request is no frame."""

    __slots__ = ("accepted", "max_frame_bytes")
    buffered_bytes = 0

    def __init__(self, max_frame_bytes: int, accepted: frozenset[int] | None) -> None:
        self.max_frame_bytes = max_frame_bytes
        self.accepted = accepted

    def feed(self, data: bytes) -> tuple[Frame, ...]:
        return ()

    def rest_of_frame(self, data: bytes, start: int) -> int:
        return 0

    def discard(self) -> None:
        """There is nothing."""


class EventsCodec:
    """Server-sent events, with and without TLS."""

    push_envelope_bytes = 0

    def new_decoder(self, max_frame_bytes: int, accepted: frozenset[int]) -> NothingIsRead:
        return NothingIsRead(max_frame_bytes, accepted)

    def acknowledged_ids(self, data: bytes) -> Sequence[int]:
        return ()

    def encode(self, signal: int, sub_signal: SubSignal, message_id: int, body: bytes) -> bytes:
        if signal == Signal.PUSH:
            return piece(_event(b"message", body))
        if signal == Signal.CONNECT_ACK:
            return piece(_answer(sub_signal, body))
        if signal == Signal.DISCONNECT:
            return piece(b"retry: %d\n" % retry_ms(_goodbye(body)) + _event(b"disconnect", body))
        return b""

    def push(self, message: PushedMessage, message_id: int) -> bytes:
        return piece(_event(b"message", message.body), message_id)


def _event(name: bytes, body: bytes) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name, body.translate(_NO_LINES))


def _answer(status: SubSignal, body: bytes) -> bytes:
    if status != ConnectStatus.ACCEPTED:
        return connect_refusal(_refused(body))
    first = f": session {_accepted(body).session}\nretry: {random.randint(*RETRY_MS)}\n\n"
    return ACCEPTED + first.encode()


EVENTS = EventsCodec()
