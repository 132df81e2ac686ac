"""The asyncio client's messages."""

from __future__ import annotations

from collections.abc import Callable

from push.sdk import chat_events
from push.sdk.message import BaseMessage
from push.session.client.events import MessageReceived as MessageEvent


class Message(BaseMessage):
    """See `BaseMessage`."""

    __slots__ = ()

    async def ack(self) -> None:
        """The message is done; the server need not send it again.

        Returns when the acknowledgement is queued. When the connection is down, the next copy is
        acknowledged instead. Doing it twice does nothing.
        """
        self._finish()


class ChatMessage(chat_events.ChatFields, Message):
    """See `push.sdk.chat_events`, as of those below."""

    __slots__ = ()


class Recall(chat_events.RecallFields, Message):
    __slots__ = ()


class Receipt(chat_events.ReceiptFields, Message):
    __slots__ = ()


class GroupChange(chat_events.GroupChangeFields, Message):
    __slots__ = ()


class Typing(chat_events.TypingFields, Message):
    __slots__ = ()


_KINDS: dict[str | None, type[Message]] = {
    chat_events.CHAT: ChatMessage,
    chat_events.RECALL: Recall,
    chat_events.RECEIPT: Receipt,
    chat_events.GROUP_CHANGE: GroupChange,
    chat_events.TYPING: Typing,
}


def message_of(
    event: MessageEvent,
    acknowledge: Callable[[MessageEvent], None],
    release: Callable[[MessageEvent], None],
) -> Message:
    """The message of the class for its kind."""
    return _KINDS.get(event.kind, Message)(event, acknowledge, release)
