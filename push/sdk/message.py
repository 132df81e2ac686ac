"""A message as the application sees it (each client adds its own `ack`), and those that wait."""

from __future__ import annotations

import base64
import binascii
from collections import deque
from collections.abc import Callable, Hashable
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from push.session.client.events import MessageReceived as MessageEvent

TRUNCATED = "truncated"

_OWN = frozenset(
    {"id", "stream", "offset", "data", "ts", "kind", "expires", "title", "body", "encoding"}
)


def truncation(stream: str) -> MessageEvent:
    """What CONNECT_ACK says of `stream`, in the form of the PUSH that says it to a live session."""
    return MessageEvent(0, "", stream, None, TRUNCATED, {"stream": stream, "kind": TRUNCATED})


class BaseMessage:
    """One PUSH. Times are milliseconds since 1970 UTC.

    `qos` is 0 or 1; a message of QoS 0 has nothing to acknowledge and comes at most once.
    `fields` holds every member that has no attribute of its own (`conversation`, `from`, `seq` …).
    """

    __slots__ = ("_acknowledge", "_release", "acknowledged", "event", "fields")

    def __init__(
        self,
        event: MessageEvent,
        acknowledge: Callable[[MessageEvent], None],
        release: Callable[[MessageEvent], None],
    ) -> None:
        self.event = event
        self.acknowledged = not event.number
        self.fields = {name: value for name, value in event.body.items() if name not in _OWN}
        self._acknowledge = acknowledge
        self._release = release

    @property
    def id(self) -> str:
        """Stable: every copy of the message, on whatever connection, has the same.

        Empty for what the server tells without one, such as a truncation.
        """
        return self.event.id

    @property
    def stream(self) -> str:
        return self.event.stream

    @property
    def offset(self) -> str | None:
        return self.event.offset

    @property
    def kind(self) -> str | None:
        """None for a plain push."""
        return self.event.kind

    @property
    def truncated(self) -> bool:
        """No message, but the news that unread ones of `stream` are gone. `fields` has `from` and
        `to` when the session was live; what was missed while offline comes without.
        """
        return self.event.kind == TRUNCATED

    @property
    def qos(self) -> int:
        return 1 if self.event.number else 0

    @property
    def data(self) -> Any:
        return self.event.body.get("data")

    @property
    def ts(self) -> int | None:
        return self.event.body.get("ts")

    @property
    def expires(self) -> int | None:
        return self.event.body.get("expires")

    @property
    def title(self) -> str | None:
        return self.event.body.get("title")

    @property
    def body(self) -> str | None:
        return self.event.body.get("body")

    @property
    def encoding(self) -> str | None:
        return self.event.body.get("encoding")

    @property
    def raw(self) -> dict[str, Any]:
        """The whole body as the server sent it."""
        return self.event.body

    def payload(self) -> Any:
        """`data`, or the bytes it encodes when `encoding` is base64.

        Raises `ValueError` when it is marked as base64 and is not.
        """
        if self.encoding != "base64":
            return self.data
        if not isinstance(self.data, str):
            raise ValueError("`data` is marked as base64 and is not a string")
        try:
            return base64.b64decode(self.data, validate=True)
        except binascii.Error as error:
            raise ValueError(f"`data` is marked as base64 and is not: {error}") from None

    def release(self) -> None:
        """Give the message back undone: the server's next copy is delivered as a new message."""
        if not self.acknowledged:
            self._release(self.event)

    def _finish(self) -> None:
        if not self.acknowledged:
            self._acknowledge(self.event)
            self.acknowledged = True

    def __repr__(self) -> str:
        kind = f" {self.kind}" if self.kind else ""
        return f"<Message {self.id} {self.stream}{kind}>"


M = TypeVar("M", bound=BaseMessage)


class Inbox:
    """`automatic`: a message is acknowledged when its reader asks for the next one. A reader is
    anything that can be weakly referenced: a thread, or the client itself.
    """

    def __init__(self, capacity_messages: int, *, automatic: bool) -> None:
        self.dropped_messages = 0
        self._capacity = capacity_messages
        self._automatic = automatic
        self._queue: deque[MessageEvent] = deque()
        self._in_hand: WeakKeyDictionary[Hashable, BaseMessage] = WeakKeyDictionary()

    def __len__(self) -> int:
        return len(self._queue)

    def put(self, event: MessageEvent) -> None:
        """A full queue drops QoS 0, which may be lost, and nothing else.

        A message with an id would come again later, after messages that were sent later; the
        server's window bounds how many there are. A truncation is told only once.
        """
        may_be_lost = not event.number and event.kind != TRUNCATED
        if may_be_lost and len(self._queue) >= self._capacity:
            self.dropped_messages += 1
        else:
            self._queue.append(event)

    def take(self, reader: Hashable, make: Callable[[MessageEvent], M]) -> M | None:
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

    def release(self, event: MessageEvent) -> None:
        """It was given back: it is in nobody's hand any more."""
        for reader, message in list(self._in_hand.items()):
            if message.event is event:
                del self._in_hand[reader]
