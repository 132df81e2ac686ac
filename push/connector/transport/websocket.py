"""A device's connection over WebSocket: the same as over TCP, with frames of RFC 6455 around.

The opening handshake comes first, and is forgotten. Text messages go to the gateway one by one;
controls are answered here and tell it nothing, so they are no activity. Each end has a code in a
Close frame: of this project after a DISCONNECT, of RFC 6455 when the peer has broken that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import assert_never

from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from push.connector.transport.connection import (
    SLICE_BYTES,
    ConnectionPhase,
    DeviceConnection,
    GatewayOfConnections,
)
from push.session.events import Ended, Event
from push.session.server import FEW_BYTES, ServerSession
from push.wire.signals import DisconnectCode
from push.wire.websocket.close_codes import close_code
from push.wire.websocket.framing import (
    CloseReceived,
    MessageReader,
    Pinged,
    Received,
    TooLarge,
    Violation,
    WebSocketMessage,
    encode_close,
    encode_pong,
    read_short_text,
    read_text_frame,
)
from push.wire.websocket.opening import (
    Accepted,
    Opening,
    OpeningRules,
    OtherRequest,
    Refused,
    refused,
)

CLOSED = "closed"  # how a session ended whose peer has closed the WebSocket without another word
REFUSED = "refused"
# Of fragments and controls, which take longer: about 40 of the shortest.
SLOW_SLICE_BYTES = 256


class WebSocketConnection(DeviceConnection):
    """A connection over `ws` or `wss`.

    What becomes of messages are `text`, `texts`, `binary`, `too_large` and `max_message_bytes`.
    """

    _last_words: bytes | None = None  # of a connection that does not end as its session says

    def __init__(
        self,
        gateway: GatewayOfConnections,
        carrier: str,
        protocol: ServerSession,
        rules: OpeningRules,
        serve_other: Callable[[DeviceConnection, bytes], None] | None = None,
    ) -> None:
        super().__init__(gateway, carrier, protocol)
        # What reads while something is incomplete; for most of a connection's life, nothing.
        self._reader: Opening | MessageReader | None = Opening(rules)
        self._serve_other = serve_other

    def take(self, data: bytes) -> None:
        text = read_short_text(data) if self._reader is None else None
        if text is not None:
            self.text(text)
            return
        end = self.take_slice(data, 0)
        while end < len(data) and self.phase is ConnectionPhase.OPEN:
            end = self.take_slice(data, end)

    def take_slice(self, data: bytes, start: int) -> int:
        if isinstance(self._reader, Opening):
            return self._open(self._reader, data, start)
        if self._reader is None:
            end = self._read(data, start)
            if end > start:
                return end
            self._reader = MessageReader()
        size = max(SLOW_SLICE_BYTES, self._reader.left_bytes)
        end = min(start + size, len(data))
        self._read_anything(self._reader, data[start:end], is_all=start == 0)
        return end

    def _open(self, opening: Opening, data: bytes, start: int) -> int:
        """Take a part of the request; where what follows it begins, once it is accepted."""
        self.gateway.reads.charge(self, 1, len(data) - start)
        result = opening.feed(data[start:])
        if isinstance(result, Accepted):
            self._reader = None
            self.write(result.answer)
            return len(data) - len(result.rest)
        if isinstance(result, OtherRequest):
            assert self._serve_other is not None, "the rules name no other requests without it"
            self.phase = ConnectionPhase.CLOSED
            self._serve_other(self, result.head)
        elif result is not None:
            self._last_words = result.answer
            self.gateway.abandoned(self, REFUSED, result.reason)
        return len(data)

    def _read(self, data: bytes, start: int) -> int:
        """Take whole messages together, as many as a slice has; where they end."""
        texts, limit = [], self.max_message_bytes
        end = start + SLICE_BYTES
        while start < end and (found := read_text_frame(data, start, limit)):
            text, start = found
            texts.append(text)
        if texts:
            self.texts(texts)
        return start

    def _read_anything(self, reader: MessageReader, data: bytes, *, is_all: bool) -> None:
        """`is_all`: nothing came together with `data`, before it."""
        others, nothing = reader.other_frames, True
        for received in reader.feed(data, 0, self.max_message_bytes):
            nothing = False
            self._received(received)
            if self.phase is not ConnectionPhase.OPEN:
                return
        # Text messages count where they are understood. Here count fragments and controls, and
        # single bytes, each of which costs as much as a frame.
        frames = reader.other_frames - others
        frames = frames or (nothing and is_all and len(data) < FEW_BYTES)
        if frames:
            self.gateway.reads.charge(self, frames, len(data))
        if reader.at_rest:
            self._reader = None

    def _received(self, received: Received) -> None:
        match received:
            case WebSocketMessage(payload, is_text):
                if is_text:
                    self.text(payload)
                else:
                    self.binary(payload)
            case Pinged(payload):
                self.write(encode_pong(payload))
            case CloseReceived(code, reason):
                self._last_words = encode_close(code)
                self.gateway.abandoned(self, CLOSED, reason)
            case Violation(code, reason):
                self._last_words = encode_close(code, reason)
                self.gateway.abandoned(self, DisconnectCode.BAD_FRAME, reason)
            case TooLarge(size_bytes):
                self.too_large(size_bytes)
            case _:
                assert_never(received)

    # What becomes of messages

    @property
    def max_message_bytes(self) -> int:
        return self.protocol.max_received_bytes

    def text(self, text: bytes) -> None:
        super().take(text)

    def texts(self, texts: Sequence[bytes]) -> None:
        """What came together is handled together: the protocol reads all before anything is done
        about it."""
        now, protocol = self.gateway.clock.seconds(), self.protocol
        events: list[Event] = []
        for text in texts:
            progress = protocol.acknowledged(text, now)
            if progress is None:
                events += protocol.receive_data(text, now)
            else:
                events.append(progress)
        if events:
            self.gateway.events.handle(self, events)
        self.flush()
        if protocol.charged_bytes:
            self.charge(now)

    def binary(self, payload: bytes) -> None:
        reason = "the message is binary, and only text is accepted"
        self.gateway.disconnect(self, DisconnectCode.BAD_FRAME, reason)

    def too_large(self, size_bytes: int) -> None:
        limit = self.max_message_bytes
        reason = f"length: {size_bytes} bytes where at most {limit} are accepted"
        self.gateway.disconnect(self, DisconnectCode.FRAME_TOO_LARGE, reason)

    # The end

    def farewell(self, ended: Ended) -> None:
        words = self.protocol.data_to_send()
        if isinstance(self._reader, Opening):
            # What the session says has no form before the WebSocket is open.
            words = self._last_words or _no_time_for(ended).answer
        else:
            words += self._last_words or encode_close(close_code(ended.code))
        self.write(words)
        self._reader = None

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        self._reader = None

    def closes_both_ways(self, ended: Ended) -> bool:
        """Never at once: what the peer has sent after its last frame would reset the connection
        before it has read ours."""
        return False


def _no_time_for(ended: Ended) -> Refused:
    """A client that has not opened its WebSocket yet gets the end as HTTP."""
    if ended.code == DisconnectCode.HANDSHAKE_TIMEOUT:
        return refused(408, "The request did not come in time.")
    return refused(503, "This server takes no more connections.")
