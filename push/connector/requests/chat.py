"""PUBLISH of kind chat: what a device asks for as the user its session is bound to."""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from push.chat.conversation_id import conversation_of, to_group, to_user
from push.chat.service import ChatService
from push.chat.settings import MAX_ASKED_FOR_PRESENCE
from push.connector.requests.dispatch import Caller, Handler
from push.wire.api.common import Cursor, InEffect, Limit, Name, Seq, check_names
from push.wire.api.conversations import ConversationName, NewMessage, Presence, Range, ReadPositions
from push.wire.api.groups import GroupChanges, NewGroup, Users
from push.wire.errors import RequestError
from push.wire.signals import RequestName

# From about a hundred users on: for each, Redis does as much as for a whole small request.
MANY_USERS_BYTES = 1024
# Any: all members of the group are told, and there is no rate of such requests.
ALL_ARE_TOLD_BYTES = 0


class ConversationTarget(Struct, frozen=True):
    """The receivers of a message: exactly one of them."""

    user: Name | UnsetType = UNSET
    group: Name | UnsetType = UNSET


class SendBody(NewMessage, frozen=True, kw_only=True):
    """Of `MS`: send a message."""

    to: ConversationTarget

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.to.user is UNSET) == (self.to.group is UNSET):
            raise ValueError("`to` expected exactly one of user and group")


class HistoryBody(Range, frozen=True, kw_only=True):
    """Of `MP`: read the history of a conversation."""

    conversation: ConversationName


class RecallBody(Struct):
    """Of `MR`: recall a message."""

    conversation: ConversationName
    seq: Seq


class PositionsBody(ReadPositions, frozen=True, kw_only=True):
    """Of `MRN`: how far messages were delivered to the user, and read."""

    conversation: ConversationName


class GroupBody(Struct, kw_only=True):
    """Of `GPGI`, `GQ` and `GD`: get, leave or dismiss a group."""

    group: Name

    def __post_init__(self) -> None:
        check_names("group", self.group)


class MemberListBody(GroupBody, kw_only=True):
    """Of `GPGM`: list the members of a group."""

    cursor: Cursor = ""
    limit: Limit = 50


class GroupUsersBody(GroupBody, kw_only=True):
    """Of `GAM` and `GKM`: add users to a group, or remove them."""

    users: Users

    def __post_init__(self) -> None:
        check_names("group", self.group)
        check_names("users", *self.users)


class ChangeGroupBody(GroupChanges, frozen=True, kw_only=True):
    """Of `GMI`: change a group, a member or its owner."""

    group: Name

    def __post_init__(self) -> None:
        super().__post_init__()
        check_names("group", self.group)


class ConversationListBody(Struct):
    """Of `CL`: list the user's conversations."""

    cursor: Cursor = ""
    limit: Limit = 50


class TypingBody(Struct):
    """Of `TP`: the user is typing."""

    conversation: ConversationName


class PresenceBody(Struct):
    """Of `PS`: which users are online."""

    users: Annotated[list[Name], Meta(min_length=1, max_length=MAX_ASKED_FOR_PRESENCE)]

    def __post_init__(self) -> None:
        check_names("users", *self.users)


class ChatRequests:
    """Answers them, each by the service that HTTP calls as well."""

    def __init__(self, chat: ChatService) -> None:
        self._messages = chat.messages
        self._groups = chat.groups
        self._conversations = chat.conversations
        self._presence = chat.presence

    def handlers(self) -> dict[int, Handler]:
        """By the name of the request."""
        return {
            RequestName.MS: Handler(SendBody, self._send),
            RequestName.MP: Handler(HistoryBody, self._history),
            RequestName.MR: Handler(RecallBody, self._recall),
            RequestName.MRN: Handler(PositionsBody, self._move),
            RequestName.CL: Handler(ConversationListBody, self._list),
            RequestName.TP: Handler(TypingBody, self._typing),
            RequestName.PS: Handler(PresenceBody, self._online, asks_others=True),
            RequestName.GC: Handler(NewGroup, self._create, MANY_USERS_BYTES, asks_others=True),
            RequestName.GPGI: Handler(GroupBody, self._get),
            RequestName.GPGM: Handler(MemberListBody, self._members),
            RequestName.GAM: Handler(GroupUsersBody, self._add, MANY_USERS_BYTES, asks_others=True),
            RequestName.GKM: Handler(
                GroupUsersBody, self._remove, MANY_USERS_BYTES, asks_others=True
            ),
            RequestName.GQ: Handler(GroupBody, self._leave, asks_others=True),
            RequestName.GMI: Handler(ChangeGroupBody, self._change, ALL_ARE_TOLD_BYTES),
            RequestName.GD: Handler(GroupBody, self._dismiss, ALL_ARE_TOLD_BYTES, asks_others=True),
        }

    # Messages

    async def _send(self, caller: Caller, body: SendBody) -> Struct:
        user, to = _user_of(caller), body.to
        conversation = to_group(to.group) if to.user is UNSET else to_user(user, to.user)
        return await self._messages.send(user, conversation, body, by_device=True)

    async def _history(self, caller: Caller, body: HistoryBody) -> Struct:
        user = _user_of(caller)
        return await self._messages.history(conversation_of(user, body.conversation), body, user)

    async def _recall(self, caller: Caller, body: RecallBody) -> None:
        user = _user_of(caller)
        await self._messages.recall(conversation_of(user, body.conversation), body.seq, user)

    async def _move(self, caller: Caller, body: PositionsBody) -> Struct:
        user = _user_of(caller)
        return await self._messages.move(conversation_of(user, body.conversation), body, user)

    async def _list(self, caller: Caller, body: ConversationListBody) -> Struct:
        return await self._conversations.page(
            _user_of(caller), cursor=body.cursor, limit=body.limit
        )

    async def _typing(self, caller: Caller, body: TypingBody) -> None:
        user = _user_of(caller)
        await self._messages.typing(conversation_of(user, body.conversation), user)

    async def _online(self, caller: Caller, body: PresenceBody) -> Struct:
        return Presence(await self._presence.of(_user_of(caller), body.users))

    # Groups

    async def _create(self, caller: Caller, body: NewGroup) -> Struct:
        return await self._groups.create(_user_of(caller), body, by_device=True)

    async def _get(self, caller: Caller, body: GroupBody) -> Struct:
        return await self._groups.get(body.group, _user_of(caller))

    async def _members(self, caller: Caller, body: MemberListBody) -> Struct:
        return await self._groups.members(
            body.group, _user_of(caller), cursor=body.cursor, limit=body.limit
        )

    async def _add(self, caller: Caller, body: GroupUsersBody) -> Struct:
        return await self._groups.add(body.group, body.users, _user_of(caller), by_device=True)

    async def _remove(self, caller: Caller, body: GroupUsersBody) -> Struct:
        return await self._groups.remove(body.group, body.users, _user_of(caller))

    async def _leave(self, caller: Caller, body: GroupBody) -> Struct | None:
        return _unless_all_confirmed(await self._groups.leave(body.group, _user_of(caller)))

    async def _change(self, caller: Caller, body: ChangeGroupBody) -> Struct:
        return await self._groups.change(body.group, body, _user_of(caller))

    async def _dismiss(self, caller: Caller, body: GroupBody) -> Struct | None:
        return _unless_all_confirmed(await self._groups.dismiss(body.group, _user_of(caller)))


def _user_of(caller: Caller) -> str:
    """The user whose session asks. Raises `RequestError` `not_allowed`."""
    if caller.user is None:
        raise RequestError("not_allowed", "this session is bound to no user")
    return caller.user


def _unless_all_confirmed(silent: list[str]) -> InEffect | None:
    return InEffect(silent) if silent else None
