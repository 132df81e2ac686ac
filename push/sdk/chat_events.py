"""What chat tells a device, by the `kind` of the PUSH; each client adds its own message to these.

A server newer than this may leave out or add members: what is missing is None or empty.
"""

from __future__ import annotations

from typing import Any

from push.session.client.events import MessageReceived as MessageEvent

CHAT, RECALL, RECEIPT, GROUP_CHANGE, TYPING = "chat", "recall", "receipt", "group", "typing"


class Told:
    """Something that was told, see the class that is beside this one."""

    __slots__ = ()
    event: MessageEvent

    def _member(self, name: str) -> Any:
        return self.event.body.get(name)

    def _text(self, name: str) -> str | None:
        value = self._member(name)
        return None if value is None else str(value)


class OfConversation(Told):
    __slots__ = ()

    @property
    def conversation(self) -> str:
        """`user:<the other>` or `group:<group>`, as this user sees it."""
        return str(self._member("conversation"))


class ChatFields(OfConversation):
    """A message of a conversation: `data`, as of any message, is what was sent.

    The sender's own devices get it too.
    """

    __slots__ = ()

    @property
    def sender(self) -> str:
        return str(self._member("from"))

    @property
    def seq(self) -> int:
        """Its number in the conversation: 1, 2, 3 …"""
        return int(self._member("seq"))

    @property
    def type(self) -> str:
        return str(self._member("type"))

    @property
    def mentions(self) -> list[str]:
        return list(self._member("mentions") or ())

    @property
    def reply_to(self) -> int | None:
        """The `seq` of the message that this one answers."""
        value = self._member("reply_to")
        return None if value is None else int(value)

    @property
    def client_id(self) -> str | None:
        """The name that its sender's client gave it."""
        return self._text("client_id")


class RecallFields(OfConversation):
    """Message `seq` of the conversation was recalled `by` a user: show it no longer."""

    __slots__ = ()

    @property
    def seq(self) -> int:
        return int(self._member("seq"))

    @property
    def by(self) -> str | None:
        return self._text("by")


class ReceiptFields(OfConversation):
    """Up to which `seq` a user's devices have been `delivered` messages, and `read` them.

    The user is the other one, or this one, who did so with another device.
    """

    __slots__ = ()

    @property
    def user(self) -> str:
        return str(self._member("user"))

    @property
    def delivered(self) -> int:
        return int(self._member("delivered") or 0)

    @property
    def read(self) -> int:
        return int(self._member("read") or 0)


class GroupChangeFields(Told):
    """A group changed. `change`: created, changed, added, removed, left, role, muted, dismissed."""

    __slots__ = ()

    @property
    def group(self) -> str:
        return str(self._member("group"))

    @property
    def change(self) -> str:
        return str(self._member("event"))

    @property
    def by(self) -> str | None:
        """Who did it; None: the backend."""
        return self._text("by")

    @property
    def users(self) -> list[str]:
        """The user that it is about."""
        return list(self._member("users") or ())


class TypingFields(OfConversation):
    """A user is typing, just now. QoS 0."""

    __slots__ = ()

    @property
    def user(self) -> str:
        return str(self._member("user"))
