"""Frames on TCP and TLS."""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct

from push.wire.codecs.codec import PushedMessage
from push.wire.frames import HEADER, HEADER_BYTES, FrameDecoder, encode_frame
from push.wire.signals import MAGIC, VERSION, Signal, SubSignal

_BARE_ACKNOWLEDGEMENT = encode_frame(Signal.PUB_ACK)[:8]
_HEADS = Struct(">8sH")
_PUSH = int(Signal.PUSH)  # a member of an Enum takes a call each time


class BinaryCodec:
    """TCP and TLS: a header of ten bytes before the body."""

    push_envelope_bytes = 0  # `max_frame` is the length of the body

    def new_decoder(self, max_frame_bytes: int, accepted: frozenset[int]) -> FrameDecoder:
        return FrameDecoder(max_frame_bytes, accepted)

    def acknowledged_ids(self, data: bytes) -> Sequence[int]:
        if not data.startswith(_BARE_ACKNOWLEDGEMENT):
            return ()
        if len(data) == HEADER_BYTES:
            return (data[8] << 8 | data[9],)
        if len(data) % HEADER_BYTES:
            return ()
        ids = [each for head, each in _HEADS.iter_unpack(data) if head == _BARE_ACKNOWLEDGEMENT]
        return ids if len(ids) * HEADER_BYTES == len(data) else ()

    def encode(self, signal: int, sub_signal: SubSignal, message_id: int, body: bytes) -> bytes:
        return encode_frame(signal, int(sub_signal), message_id, body)

    def push(self, message: PushedMessage, message_id: int) -> bytes:
        body = message.body  # as `encode_frame` does: this is made for each message
        return HEADER.pack(MAGIC, VERSION, _PUSH, len(body), 0, message_id) + body


BINARY = BinaryCodec()
