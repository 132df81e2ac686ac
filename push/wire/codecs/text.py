"""Frames on WebSocket: JSON text messages (protocol.md, "WebSocket").

Signals and sub-signals are names. What is sent is complete with its RFC 6455 header, so that it
goes to the socket as it is and one text serves all sessions.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from push.wire.bodies import MAX_JSON_DEPTH, json_depth_exceeds
from push.wire.codecs.codec import PushedMessage
from push.wire.errors import ProtocolError, RequestError, bad_frame, shortened
from push.wire.frames import Frame
from push.wire.reading import invalid_body
from push.wire.signals import ConnectStatus, RequestName, Signal, SubSignal
from push.wire.websocket.framing import encode_text_frame

MAX_SUB_SIGNAL_CHARACTERS = 64
MAX_MESSAGE_ID = 65_535

# The names of sub-signals, for the signals that have any.
_SUB_SIGNALS: dict[int, type[RequestName] | type[ConnectStatus]] = {
    Signal.PUBLISH: RequestName,
    Signal.PUB_ACK: RequestName,
    Signal.CONNECT_ACK: ConnectStatus,
}
_NAMES = {
    (signal, member.value): member.name
    for signal, members in _SUB_SIGNALS.items()
    for member in members
}
_SIGNALS = Signal.__members__
_EMPTY = msgspec.Raw(b"{}")
# What serializers of JSON make of it, with and without spaces.
_bare_acknowledgement = re.compile(
    rb'\{"signal": ?"PUB_ACK", ?"messageId": ?([1-9][0-9]{0,4})\}'
).fullmatch
_quoted = msgspec.json.Encoder().encode
# Five places for every message id: the length is the same for all.
_PUSH = b'{"signal":"PUSH","messageId":%5d,"content":%b}'


class _Message(msgspec.Struct, rename={"sub_signal": "subSignal", "message_id": "messageId"}):
    signal: str
    sub_signal: Annotated[str, Meta(max_length=MAX_SUB_SIGNAL_CHARACTERS)] | None = None
    message_id: Annotated[int, Meta(ge=0, le=MAX_MESSAGE_ID)] | None = None
    content: msgspec.Raw = _EMPTY


_decode = msgspec.json.Decoder(_Message).decode


def decode_text(text: bytes, accepted: frozenset[int] | None = None) -> Frame:
    """The frame that a text message is; `accepted`: the signals that may come now.

    `text` is UTF-8. Raises `ProtocolError` `bad_frame`, whose reason names the wrong member.
    """
    if json_depth_exceeds(text, MAX_JSON_DEPTH + 1):
        raise bad_frame(f"content: JSON nests deeper than {MAX_JSON_DEPTH}")
    try:
        message = _decode(text)
    except msgspec.ValidationError as error:
        raise _bad_message(invalid_body(str(error))) from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise bad_frame(f"the message is not JSON: {error}") from None
    signal = _SIGNALS.get(message.signal)
    if signal is None or (accepted is not None and signal not in accepted):
        raise bad_frame(f"signal: {shortened(message.signal, 64)} is not accepted here")
    sub_signal = _sub_signal(signal, message.sub_signal) if message.sub_signal else 0
    return Frame(signal, sub_signal, message.message_id or 0, _body(message.content))


def _sub_signal(signal: int, name: str) -> SubSignal:
    """Its number, or the name itself, with which it is answered that it is unknown."""
    names = _SUB_SIGNALS.get(signal)
    member = None if names is None else names.__members__.get(name)
    return name if member is None else member


def _body(content: msgspec.Raw) -> bytes:
    body = bytes(content)
    if body in (b"{}", b"null"):
        return b""
    if not body.startswith(b"{"):
        raise bad_frame("content: not an object")
    return body


def _bad_message(refusal: RequestError) -> ProtocolError:
    return bad_frame(f"message: {refusal.detail}")


def encode_text(signal: int, sub_signal: SubSignal, message_id: int, body: bytes) -> bytes:
    """A text message, without the header of its WebSocket frame."""
    return b'{"signal":"%b","subSignal":%b,"messageId":%d,"content":%b}' % (
        Signal(signal).name.encode(),
        _quoted(_sub_signal_name(signal, sub_signal)),
        message_id,
        body or b"{}",
    )


def _sub_signal_name(signal: int, sub_signal: SubSignal) -> str:
    if isinstance(sub_signal, str):
        return sub_signal
    return _NAMES.get((signal, sub_signal), "")


class TextDecoder:
    """Makes a frame of each message; the WebSocket reader has cut and counted them before."""

    __slots__ = ("accepted", "max_frame_bytes")

    def __init__(self, max_frame_bytes: int, accepted: frozenset[int] | None) -> None:
        self.max_frame_bytes = max_frame_bytes
        self.accepted = accepted

    @property
    def buffered_bytes(self) -> int:
        return 0

    def feed(self, data: bytes) -> tuple[Frame]:
        """`data`: one whole message."""
        return (decode_text(data, self.accepted),)

    def rest_of_frame(self, data: bytes, start: int) -> int:
        return len(data) - start

    def discard(self) -> None:
        """Nothing is kept between messages."""


class TextCodec:
    """WebSocket, with and without TLS."""

    push_envelope_bytes = len(_PUSH % (0, b""))  # `max_frame` counts the whole text

    def new_decoder(self, max_frame_bytes: int, accepted: frozenset[int]) -> TextDecoder:
        return TextDecoder(max_frame_bytes, accepted)

    def acknowledged_ids(self, data: bytes) -> Sequence[int]:
        found = _bare_acknowledgement(data)
        number = int(found[1]) if found else 0
        return (number,) if 0 < number <= MAX_MESSAGE_ID else ()

    def encode(self, signal: int, sub_signal: SubSignal, message_id: int, body: bytes) -> bytes:
        return encode_text_frame(encode_text(signal, sub_signal, message_id, body))

    def push(self, message: PushedMessage, message_id: int) -> bytes:
        return encode_text_frame(_PUSH % (message_id, message.body))


TEXT = TextCodec()
