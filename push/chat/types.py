"""What is asked and answered, the same on both doors (protocol.md, "PUBLISH: requests").

Where a name must be one the struct checks it itself, so that the refusal names the field.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from push.chat.settings import (
    MAX_ANNOUNCEMENT_BYTES,
    MAX_EXTRA_BYTES,
    MAX_MENTIONS,
    MAX_NAME_BYTES,
    MAX_USERS_A_CALL,
)
from push.devices.readers import SilentNodes
from push.wire.bodies import MAX_JSON_DEPTH, MAX_OPAQUE_BYTES, check_utf8_length, json_depth_exceeds
from push.wire.idents import CONVERSATION_PATTERN, NAME_PATTERN, NAME_RULE, is_name
from push.wire.text import NAME_TEXT_PATTERN, check_name_text

MAX_SEQ = 2**53 - 1
MAX_DATA_DEPTH = MAX_JSON_DEPTH - 4  # below a list of conversations with their last messages

# The pattern is for the document; the check is `is_name`, which is exact about line ends.
Name = Annotated[str, Meta(extra_json_schema={"pattern": NAME_PATTERN})]
Users = Annotated[list[Name], Meta(min_length=1, max_length=MAX_USERS_A_CALL)]
GroupName = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=MAX_NAME_BYTES,
        description=f"at most {MAX_NAME_BYTES} bytes, no control characters",
        extra_json_schema={"pattern": NAME_TEXT_PATTERN},
    ),
]
GroupType = Literal["normal", "broadcast"]
Invite = Literal["owner", "admin", "member"]
Announcement = Annotated[str, Meta(max_length=MAX_ANNOUNCEMENT_BYTES)]
Extra = Annotated[msgspec.Raw, Meta(description="any JSON value of at most 8 KiB")]
Seq = Annotated[int, Meta(ge=0, le=MAX_SEQ)]
Limit = Annotated[int, Meta(ge=1, le=200)]
Cursor = Annotated[str, Meta(max_length=MAX_OPAQUE_BYTES)]
ConversationName = Annotated[
    str,
    Meta(
        max_length=134,
        description="`user:<the other>` or `group:<group>`",
        extra_json_schema={"pattern": CONVERSATION_PATTERN},
    ),
]


_decode_any = msgspec.json.Decoder().decode


def check_names(field: str, *names: str | UnsetType) -> None:
    """Raises ValueError, which names the field, for what is no name."""
    for name in names:
        if name is not UNSET and not is_name(name):
            raise ValueError(f"`{field}` expected {NAME_RULE}")


def check_extra(extra: msgspec.Raw | UnsetType) -> None:
    if extra is UNSET:
        return
    if len(memoryview(extra)) > MAX_EXTRA_BYTES:
        raise ValueError(f"`extra` is longer than {MAX_EXTRA_BYTES} bytes")
    check_numbers("extra", extra)


def check_numbers(field: str, value: msgspec.Raw) -> None:
    """JSON sets numbers no limits; what receives them does. Better refused here than there."""
    try:
        _decode_any(value)
    except msgspec.DecodeError as error:
        raise ValueError(f"`{field}` {error}") from None


def _check_text(field: str, text: str | UnsetType, max_bytes: int) -> None:
    check_utf8_length(None if text is UNSET else text, field, max_bytes)


# --- groups --------------------------------------------------------------------------------------


class Group(Struct):
    """A group. `members`: how many; `invite`: who may add; `ts`: since when, ms since 1970 UTC."""

    group: str
    name: str
    type: str
    owner: str
    announcement: str
    extra: Annotated[msgspec.Raw, Meta(description="any JSON value")]
    members: int
    mute_all: bool
    invite: str
    ts: int
    silent: SilentNodes | UnsetType = UNSET


class NewGroup(Struct, frozen=True):
    """What a new group is to be."""

    name: GroupName
    members: Annotated[list[Name], Meta(max_length=MAX_USERS_A_CALL)] = []
    type: GroupType = "normal"
    extra: Extra | UnsetType = UNSET

    def __post_init__(self) -> None:
        check_name_text("name", self.name, MAX_NAME_BYTES)
        check_names("members", *self.members)
        check_extra(self.extra)


class MemberChange(Struct, frozen=True):
    """What changes of a member."""

    user: Name
    role: Literal["admin", "member"] | UnsetType = UNSET
    muted: bool | UnsetType = UNSET

    def __post_init__(self) -> None:
        check_names("user", self.user)


class GroupChanges(Struct, frozen=True):
    """What changes of a group; `owner`: another member is it from now on."""

    name: GroupName | UnsetType = UNSET
    announcement: Announcement | UnsetType = UNSET
    extra: Extra | UnsetType = UNSET
    mute_all: bool | UnsetType = UNSET
    invite: Invite | UnsetType = UNSET
    member: MemberChange | UnsetType = UNSET
    owner: Name | UnsetType = UNSET

    def __post_init__(self) -> None:
        check_name_text("name", self.name, MAX_NAME_BYTES)
        _check_text("announcement", self.announcement, MAX_ANNOUNCEMENT_BYTES)
        check_extra(self.extra)
        check_names("owner", self.owner)


class Member(Struct):
    """A member of a group."""

    user: str
    role: Annotated[str, Meta(description="`owner`, `admin` or `member`")]
    muted: bool


class MemberPage(Struct):
    """A page of members, by name. `cursor` asks for the next one; null: this is the last."""

    members: list[Member]
    cursor: str | None


class Results(Struct):
    """`ok` or the code of a refusal, for each user."""

    results: dict[str, str]
    silent: SilentNodes | UnsetType = UNSET


# --- messages ------------------------------------------------------------------------------------


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


class Sent(Struct):
    """A message was taken. `conversation` as its sender sees it; `ts`: ms since 1970 UTC."""

    id: str
    conversation: str
    seq: int
    ts: int


class HistoryMessage(Struct, omit_defaults=True, kw_only=True):
    """A message of the history, as it was sent; of one that was recalled only who and where."""

    conversation: str
    seq: int
    sender: str = msgspec.field(name="from")
    id: str | UnsetType = UNSET
    ts: int | UnsetType = UNSET
    type: str | UnsetType = UNSET
    mentions: list[str] | UnsetType = UNSET
    reply_to: int | UnsetType = UNSET
    client_id: str | UnsetType = UNSET
    data: Annotated[msgspec.Raw, Meta(description="any JSON value")] | UnsetType = UNSET
    recalled: bool = False


class MessagePage(Struct):
    """Messages, the earliest first. `more`: there are more in that direction."""

    messages: list[HistoryMessage]
    more: bool


class Range(Struct, frozen=True):
    """Which messages: behind `after`, or before `before`; without either the newest."""

    after: Seq | UnsetType = UNSET
    before: Seq | UnsetType = UNSET
    limit: Limit = 50

    def __post_init__(self) -> None:
        if self.after is not UNSET and self.before is not UNSET:
            raise ValueError("`before` and `after` exclude each other")


class ReadPositions(Struct, frozen=True):
    """How far a user is: what was delivered, and what was read, up to these messages."""

    delivered: Seq | UnsetType = UNSET
    read: Seq | UnsetType = UNSET


class Positions(Struct):
    """The last message of the conversation, and how far the user is."""

    seq: int
    delivered: int
    read: int


class ConversationRow(Struct, omit_defaults=True, kw_only=True):
    """A conversation of a user; `last` is its last message, `unread` how many were not read."""

    conversation: str
    user: str | UnsetType = UNSET
    group: str | UnsetType = UNSET
    last: HistoryMessage | None
    seq: int
    delivered: int
    read: int
    unread: int


class ConversationPage(Struct):
    """A page of conversations, the latest first. `cursor`: of the next page, null: the last."""

    conversations: list[ConversationRow]
    cursor: str | None


class Online(Struct):
    """Who is there, of those whose presence may be known."""

    online: dict[str, bool]
