"""PUBLISH of kind chat: what a device asks for as the user its session is bound to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

from msgspec import UNSET, Meta, Struct, UnsetType

from push.chat.conversation_id import conversation_of, to_group, to_user
from push.chat.service import ChatService
from push.chat.settings import MAX_ASKED_FOR_PRESENCE
from push.connector.requests.dispatch import handling
from push.connector.sessions.services import Caller, Handler
from push.wire.api.common import Cursor, InEffect, Limit, Name, Seq, check_names
from push.wire.api.conversations import ConversationName, NewMessage, Presence, Range, ReadPositions
from push.wire.api.groups import GroupChanges, NewGroup, Users
from push.wire.errors import RequestError
from push.wire.signals import RequestName

Body = TypeVar("Body", bound=Struct)


class ConversationTarget(Struct, frozen=True):
    """The receivers of a message: exactly one of them."""

    user: Name | UnsetType = UNSET
    group: Name | UnsetType = UNSET


class SendBody(NewMessage, frozen=True, kw_only=True):
    """MS"""

    to: ConversationTarget

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.to.user is UNSET) == (self.to.group is UNSET):
            raise ValueError("`to` expected exactly one of user and group")


class HistoryBody(Range, frozen=True, kw_only=True):
    """MP"""

    conversation: ConversationName


class RecallBody(Struct):
    """MR"""

    conversation: ConversationName
    seq: Seq


class PositionsBody(ReadPositions, frozen=True, kw_only=True):
    """MRN"""

    conversation: ConversationName


class GroupBody(Struct, kw_only=True):
    """GPGI, GQ, GD"""

    group: Name

    def __post_init__(self) -> None:
        check_names("group", self.group)


class MemberListBody(GroupBody, kw_only=True):
    """GPGM"""

    cursor: Cursor = ""
    limit: Limit = 50


class GroupUsersBody(GroupBody, kw_only=True):
    """GAM, GKM"""

    users: Users

    def __post_init__(self) -> None:
        check_names("group", self.group)
        check_names("users", *self.users)


class ChangeGroupBody(GroupChanges, frozen=True, kw_only=True):
    """GMI"""

    group: Name

    def __post_init__(self) -> None:
        super().__post_init__()
        check_names("group", self.group)


class ConversationListBody(Struct):
    """CL"""

    cursor: Cursor = ""
    limit: Limit = 50


class TypingBody(Struct):
    """TP"""

    conversation: ConversationName


class PresenceBody(Struct):
    """PS"""

    users: Annotated[list[Name], Meta(min_length=1, max_length=MAX_ASKED_FOR_PRESENCE)]

    def __post_init__(self) -> None:
        check_names("users", *self.users)


def chat_handlers(chat: ChatService) -> dict[int, Handler]:
    """Who answers which sub-signal."""
    return {**_message_handlers(chat), **_group_handlers(chat)}


def _as_user(kind: type[Body], handle: Callable[[str, Body], Awaitable[Struct | None]]) -> Handler:
    """A handler that gets the user whose session asks. Raises `RequestError` `not_allowed`."""

    async def with_user_of_session(caller: Caller, body: Body) -> Struct | None:
        if caller.user is None:
            raise RequestError("not_allowed", "this session is bound to no user")
        return await handle(caller.user, body)

    return handling(kind, with_user_of_session)


def _message_handlers(chat: ChatService) -> dict[int, Handler]:
    async def send(user: str, body: SendBody) -> Struct:
        to = body.to
        conversation = to_group(to.group) if to.user is UNSET else to_user(user, to.user)
        return await chat.messages.send(user, conversation, body, by_device=True)

    async def page(user: str, body: HistoryBody) -> Struct:
        return await chat.messages.history(conversation_of(user, body.conversation), body, user)

    async def recall(user: str, body: RecallBody) -> None:
        await chat.messages.recall(conversation_of(user, body.conversation), body.seq, user)

    async def move(user: str, body: PositionsBody) -> Struct:
        return await chat.messages.move(conversation_of(user, body.conversation), body, user)

    async def conversations(user: str, body: ConversationListBody) -> Struct:
        return await chat.conversations.page(user, cursor=body.cursor, limit=body.limit)

    async def typing(user: str, body: TypingBody) -> None:
        await chat.messages.typing(conversation_of(user, body.conversation), user)

    async def presence(user: str, body: PresenceBody) -> Struct:
        return Presence(await chat.presence.of(user, body.users))

    return {
        RequestName.MS: _as_user(SendBody, send),
        RequestName.MP: _as_user(HistoryBody, page),
        RequestName.MR: _as_user(RecallBody, recall),
        RequestName.MRN: _as_user(PositionsBody, move),
        RequestName.CL: _as_user(ConversationListBody, conversations),
        RequestName.TP: _as_user(TypingBody, typing),
        RequestName.PS: _as_user(PresenceBody, presence),
    }


def _unless_all_confirmed(silent: list[str]) -> InEffect | None:
    return InEffect(silent) if silent else None


def _group_handlers(chat: ChatService) -> dict[int, Handler]:
    groups = chat.groups

    async def create(user: str, body: NewGroup) -> Struct:
        return await groups.create(user, body, by_device=True)

    async def get(user: str, body: GroupBody) -> Struct:
        return await groups.get(body.group, user)

    async def members(user: str, body: MemberListBody) -> Struct:
        return await groups.members(body.group, user, cursor=body.cursor, limit=body.limit)

    async def add(user: str, body: GroupUsersBody) -> Struct:
        return await groups.add(body.group, body.users, user, by_device=True)

    async def remove(user: str, body: GroupUsersBody) -> Struct:
        return await groups.remove(body.group, body.users, user)

    async def leave(user: str, body: GroupBody) -> Struct | None:
        return _unless_all_confirmed(await groups.leave(body.group, user))

    async def change(user: str, body: ChangeGroupBody) -> Struct:
        return await groups.change(body.group, body, user)

    async def dismiss(user: str, body: GroupBody) -> Struct | None:
        return _unless_all_confirmed(await groups.dismiss(body.group, user))

    return {
        RequestName.GC: _as_user(NewGroup, create),
        RequestName.GPGI: _as_user(GroupBody, get),
        RequestName.GPGM: _as_user(MemberListBody, members),
        RequestName.GAM: _as_user(GroupUsersBody, add),
        RequestName.GKM: _as_user(GroupUsersBody, remove),
        RequestName.GQ: _as_user(GroupBody, leave),
        RequestName.GMI: _as_user(ChangeGroupBody, change),
        RequestName.GD: _as_user(GroupBody, dismiss),
    }
