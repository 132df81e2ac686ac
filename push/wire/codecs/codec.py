"""What a codec is: the form of frames on one kind of carrier.

A session, and what is handed out to many sessions, know frames only as signal, sub-signal, message
id and JSON body. A codec is the one place that knows their bytes. There is one object a carrier,
shared by all its connections: messages keep their bytes by codec.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from push.wire.frames import Frame
from push.wire.signals import SubSignal


class Decoder(Protocol):
    """Makes frames of what one connection receives.

    `max_frame_bytes` bounds a body; `accepted` is the set of signals that may come now. Both change
    between two frames.
    """

    max_frame_bytes: int
    accepted: frozenset[int] | None

    @property
    def buffered_bytes(self) -> int:
        """Of a frame that is not complete."""

    def feed(self, data: bytes) -> Iterable[Frame]:
        """The frames that are now complete; raises `ProtocolError` at the first bad one."""

    def rest_of_frame(self, data: bytes, start: int) -> int:
        """How many bytes of `data` from `start` on belong to the frame that is being read there; 0
        while that is not known."""

    def discard(self) -> None:
        """Forget what is incomplete: the connection is over."""


class Codec(Protocol):
    """The form of frames on one carrier; hashable, without a state of any connection.

    `push_envelope_bytes`: what a PUSH has beside its body that counts for `max_frame`.
    """

    push_envelope_bytes: int

    def new_decoder(self, max_frame_bytes: int, accepted: frozenset[int]) -> Decoder: ...

    def acknowledged_ids(self, data: bytes) -> Sequence[int]:
        """The message ids, if `data` is acknowledgements in their commonest form and nothing else;
        none if it has to be decoded. A decoder that has nothing buffered would say the same."""

    def encode(self, signal: int, sub_signal: SubSignal, message_id: int, body: bytes) -> bytes:
        """A frame as the carrier's bytes; empty if this carrier has no form for it."""

    def push(self, message: PushedMessage, message_id: int) -> bytes:
        """A PUSH. `message_id` 0: nothing is acknowledged."""


class PushedMessage(Protocol):
    """What a codec knows of a message beside its body, the JSON of the PUSH."""

    @property
    def id(self) -> str: ...

    @property
    def offset(self) -> int:
        """Its place in its stream; 0 for a message that is in no log."""

    @property
    def body(self) -> bytes: ...
