"""The messages that wait for the application, and those that it has in hand."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable
from typing import TypeVar
from weakref import WeakKeyDictionary

from push.sdk.message import TRUNCATED, BaseMessage
from push.session.client.events import MessageReceived

M = TypeVar("M", bound=BaseMessage)


class Inbox:
    """`automatic`: a message is acknowledged when its reader asks for the next one. A reader is
    anything that can be weakly referenced: a thread, or the client itself.
    """

    def __init__(self, capacity_messages: int, *, automatic: bool) -> None:
        self.dropped_messages = 0
        self._capacity = capacity_messages
        self._automatic = automatic
        self._queue: deque[MessageReceived] = deque()
        self._in_hand: WeakKeyDictionary[Hashable, BaseMessage] = WeakKeyDictionary()

    def __len__(self) -> int:
        return len(self._queue)

    def put(self, event: MessageReceived) -> None:
        """A full queue drops QoS 0, which may be lost, and nothing else.

        What has a message id would come again later, after messages that were sent later; the
        server's window bounds how much there is of it. A truncation is told only once.
        """
        may_be_lost = not event.number and event.kind != TRUNCATED
        if may_be_lost and len(self._queue) >= self._capacity:
            self.dropped_messages += 1
        else:
            self._queue.append(event)

    def take(self, reader: Hashable, make: Callable[[MessageReceived], M]) -> M | None:
        """The next message, made by `make`; None when there is none."""
        if not self._queue:
            return None
        message = make(self._queue.popleft())
        if self._automatic:
            self._in_hand[reader] = message
        return message

    def acknowledge_in_hand(self, reader: Hashable) -> None:
        message = self._in_hand.pop(reader, None)
        if message is not None:
            message._finish()

    def release(self, event: MessageReceived) -> None:
        """It was given back: it is in nobody's hand any more."""
        for reader, message in list(self._in_hand.items()):
            if message.event is event:
                del self._in_hand[reader]
