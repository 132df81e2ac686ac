"""PUBLISH of kind chat: what a device asks for as the user its session is bound to."""

from __future__ import annotations

from typing import Annotated

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


def _user_of(caller: Caller) -> str:
    """The user whose session asks. Raises `RequestError` `not_allowed`."""
    if caller.user is None:
        raise RequestError("not_allowed", "this session is bound to no user")
    return caller.user


def _message_handlers(chat: ChatService) -> dict[int, Handler]:
    async def send(caller: Caller, body: SendBody) -> Struct:
        user, to = _user_of(caller), body.to
        conversation = to_group(to.group) if to.user is UNSET else to_user(user, to.user)
        return await chat.messages.send(user, conversation, body, by_device=True)

    async def page(caller: Caller, body: HistoryBody) -> Struct:
        user = _user_of(caller)
        return await chat.messages.history(conversation_of(user, body.conversation), body, user)

    async def recall(caller: Caller, body: RecallBody) -> None:
        user = _user_of(caller)
        await chat.messages.recall(conversation_of(user, body.conversation), body.seq, user)

    async def move(caller: Caller, body: PositionsBody) -> Struct:
        user = _user_of(caller)
        return await chat.messages.move(conversation_of(user, body.conversation), body, user)

    async def conversations(caller: Caller, body: ConversationListBody) -> Struct:
        return await chat.conversations.page(_user_of(caller), cursor=body.cursor, limit=body.limit)

    async def typing(caller: Caller, body: TypingBody) -> None:
        user = _user_of(caller)
        await chat.messages.typing(conversation_of(user, body.conversation), user)

    async def presence(caller: Caller, body: PresenceBody) -> Struct:
        return Presence(await chat.presence.of(_user_of(caller), body.users))

    return {
        RequestName.MS: handling(SendBody, send),
        RequestName.MP: handling(HistoryBody, page),
        RequestName.MR: handling(RecallBody, recall),
        RequestName.MRN: handling(PositionsBody, move),
        RequestName.CL: handling(ConversationListBody, conversations),
        RequestName.TP: handling(TypingBody, typing),
        RequestName.PS: handling(PresenceBody, presence),
    }


def _unless_all_confirmed(silent: list[str]) -> InEffect | None:
    return InEffect(silent) if silent else None


def _group_handlers(chat: ChatService) -> dict[int, Handler]:
    groups = chat.groups

    async def create(caller: Caller, body: NewGroup) -> Struct:
        return await groups.create(_user_of(caller), body, by_device=True)

    async def get(caller: Caller, body: GroupBody) -> Struct:
        return await groups.get(body.group, _user_of(caller))

    async def members(caller: Caller, body: MemberListBody) -> Struct:
        return await groups.members(
            body.group, _user_of(caller), cursor=body.cursor, limit=body.limit
        )

    async def add(caller: Caller, body: GroupUsersBody) -> Struct:
        return await groups.add(body.group, body.users, _user_of(caller), by_device=True)

    async def remove(caller: Caller, body: GroupUsersBody) -> Struct:
        return await groups.remove(body.group, body.users, _user_of(caller))

    async def leave(caller: Caller, body: GroupBody) -> Struct | None:
        return _unless_all_confirmed(await groups.leave(body.group, _user_of(caller)))

    async def change(caller: Caller, body: ChangeGroupBody) -> Struct:
        return await groups.change(body.group, body, _user_of(caller))

    async def dismiss(caller: Caller, body: GroupBody) -> Struct | None:
        return _unless_all_confirmed(await groups.dismiss(body.group, _user_of(caller)))

    return {
        RequestName.GC: handling(NewGroup, create),
        RequestName.GPGI: handling(GroupBody, get),
        RequestName.GPGM: handling(MemberListBody, members),
        RequestName.GAM: handling(GroupUsersBody, add),
        RequestName.GKM: handling(GroupUsersBody, remove),
        RequestName.GQ: handling(GroupBody, leave),
        RequestName.GMI: handling(ChangeGroupBody, change),
        RequestName.GD: handling(GroupBody, dismiss),
    }
