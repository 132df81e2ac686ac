"""What chat answers, in the protocol and over HTTP alike. Times are milliseconds since 1970 UTC."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from push.sdk.errors import RequestRefused

T = TypeVar("T")

USER, GROUP = "user:", "group:"


class Sent(msgspec.Struct, frozen=True):
    """A message was taken. `conversation` as its sender sees it; `seq`: its number there."""

    id: str
    conversation: str
    seq: int
    ts: int


class HistoryMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message of the history. Of one that was `recalled` there is only who sent it, and where."""

    conversation: str
    seq: int
    sender: str = msgspec.field(name="from")
    id: str | None = None
    data: Any = None
    type: str | None = None
    ts: int | None = None
    mentions: list[str] = []
    reply_to: int | None = None
    client_id: str | None = None
    recalled: bool = False


class HistoryPage(msgspec.Struct, frozen=True):
    """Messages, the earliest first. `more`: there are more in the direction that was asked for."""

    messages: list[HistoryMessage]
    more: bool = False


class Positions(msgspec.Struct, frozen=True):
    """`seq`: of the last message; up to where it was `delivered` to the user, and `read`."""

    seq: int
    delivered: int
    read: int


class Conversation(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation of a user, with the `user` or in the `group`; `last` is its last message."""

    conversation: str
    seq: int
    delivered: int
    read: int
    unread: int
    last: HistoryMessage | None = None
    user: str | None = None
    group: str | None = None


class ConversationPage(msgspec.Struct, frozen=True):
    """A part of the list; `cursor` asks for the next, None: this was the last."""

    conversations: list[Conversation]
    cursor: str | None = None


class GroupInfo(msgspec.Struct, frozen=True):
    """A group. `type`: normal, or broadcast, in which only admins write; `members`: how many;
    `invite`: who may add members, owner, admin or member; `extra`: any JSON value; `silent`: nodes
    that did not confirm that there is a new group yet, usually none."""

    group: str
    name: str
    type: str
    owner: str
    members: int
    announcement: str = ""
    extra: Any = None
    mute_all: bool = False
    invite: str = ""
    ts: int = 0
    silent: list[str] = []


class Member(msgspec.Struct, frozen=True):
    """`role`: owner, admin or member."""

    user: str
    role: str
    muted: bool = False


class MemberPage(msgspec.Struct, frozen=True):
    """A part of the list; `cursor` asks for the next, None: this was the last."""

    members: list[Member]
    cursor: str | None = None


class Results(msgspec.Struct, frozen=True):
    """`ok` or the code of a refusal, for each user; and the nodes that did not confirm the change
    yet, usually none."""

    results: dict[str, str]
    silent: list[str] = []


class Presence(msgspec.Struct, frozen=True):
    """Who is online; whose presence may not be known is left out."""

    online: dict[str, bool]


def as_type(kind: type[T], answer: dict[str, Any]) -> T:
    """An answer's members as a `kind`; raises `RequestRefused` `internal` when they are not."""
    try:
        return msgspec.convert(answer, kind)
    except msgspec.ValidationError as error:
        raise RequestRefused("internal", f"the answer is not what was expected: {error}") from None


def given(**members: Any) -> dict[str, Any]:
    """What is not None."""
    return {name: value for name, value in members.items() if value is not None}
