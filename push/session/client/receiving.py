"""What a PUSH means to a client: a message, a copy of one, or news for the client itself."""

from __future__ import annotations

from push.session.client.bodies import read_push
from push.session.client.events import (
    Duplicate,
    Event,
    Ignored,
    MessageReceived,
    StreamFollowed,
    Unfollowed,
)
from push.session.client.memory import ClientCursors, Deliveries, MessageArrival
from push.wire.frames import Frame

KNOWN_KINDS = frozenset({"chat", "recall", "receipt", "group", "typing", "truncated"})
_FOLLOW, _UNFOLLOW = "follow", "unfollow"


class MessageReceiver:
    """Works on the memory that outlives connections."""

    __slots__ = ("_cursors", "_deliveries")

    def __init__(self, deliveries: Deliveries, cursors: ClientCursors) -> None:
        self._deliveries = deliveries
        self._cursors = cursors

    def receive(self, frame: Frame, events: list[Event]) -> list[int]:
        """Adds to `events`; the message ids to acknowledge at once. Raises `ProtocolError`."""
        message = read_push(frame)
        if message.kind is None or message.kind in KNOWN_KINDS:
            return self._deliver(message, events)
        numbers = self._deliver(message, [])
        if message.number:
            numbers += self.finish(message)
        if message.kind == _FOLLOW:
            self._cursors.followed(message.stream, message.offset)
            events.append(StreamFollowed(message.stream, message.offset))
        elif message.kind == _UNFOLLOW:
            self._cursors.unfollowed(message.stream)
            events.append(Unfollowed(message.stream))
        else:
            events.append(Ignored(message.id, message.kind))
        return numbers

    def finish(self, message: MessageReceived) -> list[int]:
        """The application is done with it: the message ids to acknowledge, one for each copy."""
        numbers = self._deliveries.finished(message.id)
        self._cursors.acknowledged(message.stream, message.offset)
        return numbers

    def _deliver(self, message: MessageReceived, events: list[Event]) -> list[int]:
        if not message.number:  # QoS 0 never comes again
            events.append(message)
            return []
        arrival = self._deliveries.arrived(message.id, message.number)
        if arrival is MessageArrival.NEW:
            self._cursors.delivered(message.stream, message.offset)
            events.append(message)
            return []
        events.append(Duplicate(message.id, arrival is MessageArrival.DONE))
        if arrival is not MessageArrival.DONE:
            return []
        self._cursors.acknowledged(message.stream, message.offset)
        return [message.number]
