"""Conversations: sending, the history, how far a user has read, and the list of them."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType, field

from push.wire.api.common import (
    DEFAULT_PAGE,
    MAX_PAGE,
    AnyJSON,
    Limit,
    Name,
    Seq,
    check_names,
    check_numbers,
    null,
)
from push.wire.bodies import MAX_JSON_DEPTH, json_depth_exceeds
from push.wire.idents import CONVERSATION_PATTERN

MAX_MENTIONS = 100
MAX_DATA_DEPTH = MAX_JSON_DEPTH - 4  # below a list of conversations with their last messages

ConversationName = Annotated[
    str,
    Meta(
        max_length=134,
        description="`user:<the other>` or `group:<group>`",
        extra_json_schema={"pattern": CONVERSATION_PATTERN},
    ),
]


class NewMessage(Struct, frozen=True, kw_only=True):
    """A message as its sender has it."""

    data: Annotated[msgspec.Raw, Meta(description="any JSON value")]
    client_id: (
        Annotated[
            Name,
            Meta(
                description="the sender's own name for it: the same within 7 days is the same "
                "message, and gets the same answer; with another conversation, `data`, `type`, "
                "`mentions` or `reply_to` it is refused"
            ),
        ]
        | UnsetType
    ) = UNSET
    type: Name = "text"
    mentions: Annotated[list[Name], Meta(max_length=MAX_MENTIONS)] | UnsetType = UNSET
    reply_to: Annotated[Seq, Meta(description="the `seq` of another message")] | UnsetType = UNSET

    def __post_init__(self) -> None:
        check_names("client_id", self.client_id)
        check_names("type", self.type)
        check_names("mentions", *(() if self.mentions is UNSET else self.mentions))
        check_numbers("data", self.data)
        if json_depth_exceeds(bytes(self.data), MAX_DATA_DEPTH):
            raise ValueError(f"`data` nests deeper than {MAX_DATA_DEPTH}")


class MessageBody(NewMessage, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A message and its sender. In a group the sender's role counts."""

    sender: Annotated[Name, Meta(description="the user who sends it")] = field(name="from")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_names("from", self.sender)


class Sent(Struct, frozen=True):
    """A message was taken. `conversation` as its sender sees it; `seq`: its number there; `ts`: ms
    since 1970 UTC."""

    id: str
    conversation: str
    seq: int
    ts: int


class HistoryMessage(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A message of the history, as it was sent. If it was `recalled`, only its sender and its place
    are left."""

    conversation: str
    seq: int
    sender: str = field(name="from")
    id: str | None = None
    ts: int | None = None
    type: str | None = None
    mentions: list[str] = []
    reply_to: int | None = None
    client_id: str | None = None
    data: AnyJSON = None
    recalled: bool = False


class HistoryPage(Struct, frozen=True):
    """Messages, the earliest first. `more`: there are more in that direction."""

    messages: list[HistoryMessage]
    more: bool = False


class Range(Struct, frozen=True):
    """Which messages: those after `after`, or before `before`; without either the newest."""

    after: Annotated[Seq, Meta(description="a `seq`: the messages after it")] | UnsetType = UNSET
    before: (
        Annotated[
            Seq, Meta(description="a `seq`: the messages before it; without either the newest")
        ]
        | UnsetType
    ) = UNSET
    limit: Annotated[
        Limit, Meta(description=f"messages, {DEFAULT_PAGE} by default, at most {MAX_PAGE}")
    ] = DEFAULT_PAGE

    def __post_init__(self) -> None:
        if self.after is not UNSET and self.before is not UNSET:
            raise ValueError("`before` and `after` exclude each other")


class RangeQuery(Range, forbid_unknown_fields=True, frozen=True):
    """Which messages of a history."""


class RecallQuery(Struct, forbid_unknown_fields=True, frozen=True):
    """How a message is recalled."""

    force: Annotated[bool, Meta(description="`true`: the backend itself does it")] = False


class ReadPositions(Struct, frozen=True):
    """How far a user is: up to which messages they got, and read."""

    delivered: Seq | UnsetType = UNSET
    read: Seq | UnsetType = UNSET


class PositionsPost(ReadPositions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How far a user is."""


class Positions(Struct, frozen=True):
    """`seq` of the last message of the conversation; up to where messages were `delivered` to the
    user, and `read`."""

    seq: int
    delivered: int
    read: int


class Conversation(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A conversation of a user, with the `user` or in the `group`; `last` is its last message,
    `unread` how many were not read."""

    conversation: str
    user: str | None = None
    group: str | None = None
    last: HistoryMessage | None = field(default_factory=null)
    seq: int
    delivered: int
    read: int
    unread: int


class ConversationPage(Struct, frozen=True):
    """A page of conversations, the latest first. `cursor`: of the next page, null: the last."""

    conversations: list[Conversation]
    cursor: str | None = None


class Presence(Struct, frozen=True):
    """Which users are online. A user whose presence may not be known is left out."""

    online: dict[str, bool]
