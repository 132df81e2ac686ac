"""Groups and their members: what a change may say, and what is answered."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from push.wire.api.common import (
    AnyJSON,
    Name,
    Unconfirmed,
    check_names,
    check_numbers,
    check_text,
)
from push.wire.text import NAME_TEXT_PATTERN, check_name_text

MAX_USERS_A_CALL = 500
MAX_EXTRA_BYTES = 8 * 1024
MAX_NAME_BYTES = 128
MAX_ANNOUNCEMENT_BYTES = 4 * 1024

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
BY_TEXT = "the user who acts; without it the backend itself, above all roles"
ByName = Annotated[Name, Meta(description=BY_TEXT)]


def check_extra(extra: msgspec.Raw | UnsetType) -> None:
    """Raises ValueError, which names the field."""
    if extra is UNSET:
        return
    if len(memoryview(extra)) > MAX_EXTRA_BYTES:
        raise ValueError(f"`extra` is longer than {MAX_EXTRA_BYTES} bytes")
    check_numbers("extra", extra)


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


class CreateGroupBody(NewGroup, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new group and its owner."""

    owner: Name

    def __post_init__(self) -> None:
        super().__post_init__()
        check_names("owner", self.owner)


class MemberChange(Struct, frozen=True):
    """What changes of a member."""

    user: Name
    role: Literal["admin", "member"] | UnsetType = UNSET
    muted: bool | UnsetType = UNSET

    def __post_init__(self) -> None:
        check_names("user", self.user)


class GroupChanges(Struct, frozen=True):
    """What changes of a group; `owner`: another member is the owner from now on."""

    name: GroupName | UnsetType = UNSET
    announcement: Announcement | UnsetType = UNSET
    extra: Extra | UnsetType = UNSET
    mute_all: bool | UnsetType = UNSET
    invite: Invite | UnsetType = UNSET
    member: MemberChange | UnsetType = UNSET
    owner: Name | UnsetType = UNSET

    def __post_init__(self) -> None:
        check_name_text("name", self.name, MAX_NAME_BYTES)
        check_text("announcement", self.announcement, MAX_ANNOUNCEMENT_BYTES)
        check_extra(self.extra)
        check_names("owner", self.owner)


class ChangedMember(MemberChange, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What changes of a member, within the changes of a group."""


class GroupPatch(GroupChanges, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What changes of a group, and the user who changes it."""

    member: ChangedMember | UnsetType = UNSET
    by: ByName | UnsetType = UNSET

    def __post_init__(self) -> None:
        super().__post_init__()
        check_names("by", self.by)


class NewMembers(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The users to add, and the user who adds them."""

    users: Users
    by: ByName | UnsetType = UNSET

    def __post_init__(self) -> None:
        check_names("users", *self.users)
        check_names("by", self.by)


class MemberPut(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What changes of a member."""

    role: Literal["admin", "member"] | UnsetType = UNSET
    muted: bool | UnsetType = UNSET


class ActorQuery(Struct, forbid_unknown_fields=True, frozen=True):
    """The user who acts."""

    by: ByName | UnsetType = UNSET

    def __post_init__(self) -> None:
        check_names("by", self.by)


class GroupInfo(Struct, frozen=True):
    """A group. `type`: normal, or broadcast, in which only the owner and admins write; `members`:
    how many; `invite`: who may add members, owner, admin or member; `ts`: when it was created,
    milliseconds since 1970 UTC. `silent` is absent when every node knows of a new group."""

    group: str
    name: str
    type: str
    owner: str
    members: int
    announcement: str = ""
    extra: AnyJSON = None
    mute_all: bool = False
    invite: str = ""
    ts: int = 0
    silent: Unconfirmed = []


class Member(Struct, frozen=True):
    """A member of a group."""

    user: str
    role: Annotated[str, Meta(description="`owner`, `admin` or `member`")]
    muted: bool = False


class MemberPage(Struct, frozen=True):
    """A page of members, by name. `cursor` asks for the next one; null: this is the last."""

    members: list[Member]
    cursor: str | None = None


class Results(Struct, frozen=True, omit_defaults=True):
    """`ok` or the code of a refusal, for each user. `silent` is absent when every node has
    confirmed the change."""

    results: dict[str, str]
    silent: Unconfirmed = []
