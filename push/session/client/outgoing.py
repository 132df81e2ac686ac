"""What a client sends: frames that wait to leave, and which message ids wait for an answer."""

from __future__ import annotations

from push.wire.frames import MAX_FRAME_BEFORE_SESSION_BYTES, Frame, encode_frame
from push.wire.signals import Signal

MAX_UNANSWERED_REQUESTS = 64
_MAX_ID = 0xFFFF


class RequestNotPossible(RuntimeError):
    """Our own fault: the session is not in the state for this request, or it is too large."""


class TooManyRequests(RequestNotPossible):
    """64 requests are unanswered; wait for an answer."""


class Outgoing:
    """`max_frame_bytes`: what the server accepts, which CONNECT_ACK raises."""

    __slots__ = ("_frames", "_last_id", "_waiting", "max_frame_bytes", "unanswered")

    def __init__(self) -> None:
        self.max_frame_bytes = MAX_FRAME_BEFORE_SESSION_BYTES
        self.unanswered = 0  # PUBLISH alone
        self._frames: list[bytes] = []
        self._waiting: dict[int, Signal] = {}
        self._last_id = 0

    def take(self) -> bytes:
        """Everything since the last call."""
        data = b"".join(self._frames)
        self._frames.clear()
        return data

    def send(self, signal: Signal, body: bytes, message_id: int = 0, sub_signal: int = 0) -> None:
        if len(body) > self.max_frame_bytes:
            raise RequestNotPossible(
                f"{signal.name} of {len(body)} bytes where the server accepts "
                f"{self.max_frame_bytes}"
            )
        self._frames.append(encode_frame(signal, sub_signal, message_id, body))

    def request(self, signal: Signal, body: bytes, sub_signal: int = 0) -> int:
        """Send with an id that no unanswered request has. At most 64 + a few ids are taken."""
        if signal is Signal.PUBLISH and self.unanswered >= MAX_UNANSWERED_REQUESTS:
            raise TooManyRequests(f"{MAX_UNANSWERED_REQUESTS} requests wait for their answers")
        message_id = self._last_id % _MAX_ID + 1
        while message_id in self._waiting:
            message_id = message_id % _MAX_ID + 1
        self.send(signal, body, message_id, sub_signal)
        self._last_id = message_id
        self._waiting[message_id] = signal
        self.unanswered += signal is Signal.PUBLISH
        return message_id

    def answers(self, frame: Frame, signal: Signal) -> bool:
        """Whether `frame` answers a request of that signal; its id is free again."""
        if self._waiting.get(frame.message_id) is not signal:
            return False
        del self._waiting[frame.message_id]
        self.unanswered -= signal is Signal.PUBLISH
        return True

    def awaits(self, signal: Signal) -> bool:
        return signal in self._waiting.values()

    @property
    def awaits_more_than_a_ping(self) -> bool:
        return any(signal is not Signal.PING for signal in self._waiting.values())

    def forget_requests(self) -> None:
        """What was asked before the session."""
        self._waiting.clear()
