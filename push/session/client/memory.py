"""What a client remembers between connections: which messages it has, and how far it is.

Both objects are handed to every `ClientSession` of one client, one session at a time.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from enum import Enum, auto

REMEMBERED_MESSAGES = 10_000
MAX_OPEN_OFFSETS = 10_000


class MessageArrival(Enum):
    """What a copy of a message is to this client."""

    NEW = auto()
    HELD = auto()  # the application has it and has not finished with it
    DONE = auto()  # the application finished with it: acknowledge this copy at once


class _Held:
    """A message in the application's hands; `message_ids` has one entry for each copy to
    acknowledge.

    The numbers belong to the present connection, so they are forgotten with it.
    """

    __slots__ = ("message_ids", "released")

    def __init__(self, number: int) -> None:
        self.message_ids = [number]
        self.released = False


class Deliveries:
    """De-duplication by message `id`, bounded to the newest `capacity` ids.

    A copy of a message that the application has but has not finished with must not be acknowledged:
    if the process died then, the message would be lost. So there are two memories: messages held,
    whose copies wait, and messages done, whose copies are acknowledged at once.
    """

    def __init__(self, capacity: int = REMEMBERED_MESSAGES) -> None:
        self._capacity = capacity
        self._held: OrderedDict[str, _Held] = OrderedDict()
        self._done: OrderedDict[str, None] = OrderedDict()

    @property
    def held_messages(self) -> int:
        return len(self._held)

    def begin_session(self) -> None:
        """A new connection: message numbers of the old one mean nothing any more."""
        for held in self._held.values():
            held.message_ids.clear()

    def arrived(self, message_id: str, number: int) -> MessageArrival:
        """Note a copy with the connection's `number` and say what to do with it."""
        if message_id in self._done:
            self._done.move_to_end(message_id)
            return MessageArrival.DONE
        held = self._held.get(message_id)
        if held is None:
            self._held[message_id] = _Held(number)
            if len(self._held) > self._capacity:
                self._held.popitem(last=False)
            return MessageArrival.NEW
        held.message_ids.append(number)
        if held.released:
            held.released = False
            return MessageArrival.NEW
        return MessageArrival.HELD

    def finished(self, message_id: str) -> list[int]:
        """The application is done with it: the numbers to acknowledge, one for each copy."""
        held = self._held.pop(message_id, None)
        self._done[message_id] = None
        self._done.move_to_end(message_id)
        if len(self._done) > self._capacity:
            self._done.popitem(last=False)
        return held.message_ids if held is not None else []

    def released(self, message_id: str) -> None:
        """The application gives it back undone: the next copy is delivered as if it were new."""
        held = self._held.get(message_id)
        if held is not None:
            held.released = True


class _Position:
    """`cursor`: everything up to here is done. `offsets`: what came after it, and whether done."""

    __slots__ = ("cursor", "offsets")

    def __init__(self, cursor: str | None) -> None:
        self.cursor = cursor
        self.offsets: dict[str, bool] = {}

    def advance(self) -> None:
        """Move over the contiguous acknowledged prefix."""
        while self.offsets:
            first = next(iter(self.offsets))
            if not self.offsets[first] and len(self.offsets) <= MAX_OPEN_OFFSETS:
                return
            del self.offsets[first]
            self.cursor = first


class ClientCursors:
    """Where a session without a token is in each stream, for the `cursors` of the next CONNECT.

    With a token the server keeps the cursors, names no `streams`, and this stays empty. Offsets are
    opaque; their order is the order of first delivery, which the contract promises per stream.
    """

    def __init__(self) -> None:
        self._streams: dict[str, _Position] | None = None

    def begin_session(self, streams: Mapping[str, str] | None) -> None:
        """CONNECT_ACK came. Where messages are still open our own position holds."""
        if streams is None:
            self._streams = None
            return
        known = self._streams or {}
        self._streams = {}
        for stream, offset in streams.items():
            position = known.get(stream)
            if position is None or not position.offsets:
                position = _Position(offset)
            self._streams[stream] = position

    def followed(self, stream: str, offset: str | None) -> None:
        if self._streams is not None:
            self._streams.setdefault(stream, _Position(offset))

    def unfollowed(self, stream: str) -> None:
        if self._streams is not None:
            self._streams.pop(stream, None)

    def delivered(self, stream: str, offset: str | None) -> None:
        """A first delivery. QoS 0 and `ttl` 0 carry no offset and move nothing."""
        if self._streams is None or offset is None:
            return
        position = self._streams.setdefault(stream, _Position(None))
        position.offsets.setdefault(offset, False)
        position.advance()

    def acknowledged(self, stream: str, offset: str | None) -> None:
        position = self._streams.get(stream) if self._streams is not None else None
        if position is not None and offset is not None and offset in position.offsets:
            position.offsets[offset] = True
            position.advance()

    def positions(self, max_bytes: int | None = None) -> dict[str, str]:
        """Stream to offset, for CONNECT; empty when the server keeps the cursors.

        `max_bytes` bounds them as JSON: what does not fit is left out (and begins at its end).
        """
        positions: dict[str, str] = {}
        used = 0
        for stream, position in (self._streams or {}).items():
            if position.cursor is None:
                continue
            used += len(stream.encode()) + len(position.cursor) + 6
            if max_bytes is not None and used > max_bytes:
                break
            positions[stream] = position.cursor
        return positions
