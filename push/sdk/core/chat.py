"""What chat asks for: the request of each act, what its answer is, and how pages follow each other.

A client sends a `ChatRequest` and gives the answer back as its `kind`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

import msgspec

from push.sdk.chat_types import (
    GROUP,
    USER,
    Conversation,
    ConversationPage,
    GroupInfo,
    HistoryMessage,
    HistoryPage,
    Member,
    MemberPage,
    Positions,
    Presence,
    Results,
    Sent,
    as_type,
    given,
)
from push.sdk.core.requests import JSON
from push.sdk.encoding import client_id_or_new

PAGE = 50

Role = Literal["admin", "member"]
Invite = Literal["owner", "admin", "member"]
GroupType = Literal["normal", "broadcast"]

A = TypeVar("A")


@dataclass(frozen=True, slots=True)
class ChatRequest(Generic[A]):
    """`name` of the request, its `body`, and the `kind` of its answer."""

    name: str
    body: JSON
    kind: type[A]

    def read(self, answer: JSON) -> A:
        """Raises `RequestRefused` `internal` for an answer that is not of this kind."""
        return as_type(self.kind, answer)


class Nothing(msgspec.Struct):
    """The kind of an answer that says only that it was done."""


def send_message(
    conversation: str,
    data: object,
    *,
    type: str | None,
    mentions: Iterable[str],
    reply_to: int | None,
    client_id: str | None,
) -> ChatRequest[Sent]:
    is_group = conversation.startswith(GROUP)
    to = (
        {"group": conversation.removeprefix(GROUP)}
        if is_group
        else {"user": conversation.removeprefix(USER)}
    )
    body: JSON = {
        "to": to,
        "data": data,
        "client_id": client_id_or_new(client_id),
        **given(type=type, mentions=list(mentions) or None, reply_to=reply_to),
    }
    return ChatRequest("MS", body, Sent)


def history_page(
    conversation: str, after: int | None, before: int | None, limit: int
) -> ChatRequest[HistoryPage]:
    body = given(conversation=conversation, after=after, before=before, limit=limit)
    return ChatRequest("MP", body, HistoryPage)


def positions(conversation: str, **moved: int) -> ChatRequest[Positions]:
    return ChatRequest("MRN", {"conversation": conversation, **moved}, Positions)


def recall(conversation: str, seq: int) -> ChatRequest[Nothing]:
    return ChatRequest("MR", {"conversation": conversation, "seq": seq}, Nothing)


def typing(conversation: str) -> ChatRequest[Nothing]:
    return ChatRequest("TP", {"conversation": conversation}, Nothing)


def create_group(
    name: str, members: Iterable[str], type: GroupType | None, extra: object
) -> ChatRequest[GroupInfo]:
    return ChatRequest(
        "GC", given(name=name, members=list(members), type=type, extra=extra), GroupInfo
    )


def group_info(group: str) -> ChatRequest[GroupInfo]:
    return ChatRequest("GPGI", {"group": group}, GroupInfo)


def change_group(group: str, **changes: object) -> ChatRequest[GroupInfo]:
    return ChatRequest("GMI", {"group": group, **given(**changes)}, GroupInfo)


def add_members(group: str, users: Iterable[str]) -> ChatRequest[Results]:
    return ChatRequest("GAM", {"group": group, "users": list(users)}, Results)


def remove_members(group: str, users: Iterable[str]) -> ChatRequest[Results]:
    return ChatRequest("GKM", {"group": group, "users": list(users)}, Results)


def leave_group(group: str) -> ChatRequest[Nothing]:
    return ChatRequest("GQ", {"group": group}, Nothing)


def dismiss_group(group: str) -> ChatRequest[Nothing]:
    return ChatRequest("GD", {"group": group}, Nothing)


def presence(users: Iterable[str]) -> ChatRequest[Presence]:
    return ChatRequest("PS", {"users": list(users)}, Presence)


class HistoryWalk:
    """The history, page after page: with `after` forwards to the newest, else backwards.

    While `request` is not None, send it and hand its answer to `take`.
    """

    def __init__(self, conversation: str, after: int | None, before: int | None, page: int) -> None:
        self._conversation = conversation
        self._page = page
        self._forwards = after is not None
        self.request: ChatRequest[HistoryPage] | None = history_page(
            conversation, after, before, page
        )

    def take(self, got: HistoryPage) -> Iterable[HistoryMessage]:
        """The page's messages, in the order of the walk."""
        if not got.more or not got.messages:
            self.request = None
        elif self._forwards:
            last = got.messages[-1].seq
            self.request = history_page(self._conversation, last, None, self._page)
        else:
            first = got.messages[0].seq
            self.request = history_page(self._conversation, None, first, self._page)
        return got.messages if self._forwards else reversed(got.messages)


class MemberWalk:
    """As `HistoryWalk`, of a group's members."""

    def __init__(self, group: str, page: int) -> None:
        self._group = group
        self._page = page
        self.request: ChatRequest[MemberPage] | None = self._after(None)

    def take(self, got: MemberPage) -> Iterable[Member]:
        self.request = None if got.cursor is None else self._after(got.cursor)
        return got.members

    def _after(self, cursor: str | None) -> ChatRequest[MemberPage]:
        body = given(group=self._group, cursor=cursor, limit=self._page)
        return ChatRequest("GPGM", body, MemberPage)


class ConversationWalk:
    """As `HistoryWalk`, of a user's conversations."""

    def __init__(self, page: int) -> None:
        self._page = page
        self.request: ChatRequest[ConversationPage] | None = self._after(None)

    def take(self, got: ConversationPage) -> Iterable[Conversation]:
        self.request = None if got.cursor is None else self._after(got.cursor)
        return got.conversations

    def _after(self, cursor: str | None) -> ChatRequest[ConversationPage]:
        return ChatRequest("CL", given(cursor=cursor, limit=self._page), ConversationPage)
