"""Chat in the asyncio client: conversations with users and in groups, as the session's user.

What a method refuses is a `RequestRefused` with the contract's code: `not_member`, `muted`,
`not_allowed` and so on. All of them wait for a session and raise `ConnectionFailed` when the answer
did not come; only `send` does more about that, see there.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any, Literal, Protocol

from push.sdk.aio.requests import REQUEST_SECONDS
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
from push.sdk.encoding import client_id_or_new
from push.sdk.errors import ConnectionFailed, RequestRefused

PAGE = 50
# Refused with one of these, the same message may be taken a moment later.
PASSING_CODES = frozenset({"unavailable", "in_progress"})
PASSING_SECONDS = 1.0


class Asking(Protocol):
    """What is needed of a client."""

    async def publish(
        self, request: str, body: dict[str, object], *, timeout: float | None = REQUEST_SECONDS
    ) -> dict[str, Any]: ...


class Chat:
    """A conversation with a user, by its name `user:<the other>`."""

    def __init__(self, client: Asking, conversation: str) -> None:
        self.conversation = conversation
        self._client = client

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.conversation}>"

    @property
    def _to(self) -> dict[str, str]:
        return {"user": self.conversation.removeprefix(USER)}

    async def send(
        self,
        data: object,
        *,
        type: str | None = None,
        mentions: Iterable[str] = (),
        reply_to: int | None = None,
        client_id: str | None = None,
        timeout: float | None = REQUEST_SECONDS,
    ) -> Sent:
        """Send a message; `data` is any JSON value, `type` "text" unless told.

        When the connection is lost before the answer, or the server is `unavailable`, it is sent
        again within `timeout` seconds. It stays one message, by its `client_id`: a random one
        unless given. Give one that you keep to send the message again later, for up to 7 days.
        Raises `ConnectionFailed` when the time is over: then it is not known whether it was sent.
        """
        body: dict[str, object] = {
            "to": self._to,
            "data": data,
            "client_id": client_id_or_new(client_id),
            **given(type=type, mentions=list(mentions) or None, reply_to=reply_to),
        }
        try:
            async with asyncio.timeout(timeout):
                return await self._send_until_answered(body)
        except TimeoutError:
            raise ConnectionFailed(f"not sent within {timeout:g} s, or not known") from None

    async def _send_until_answered(self, body: dict[str, object]) -> Sent:
        while True:
            try:
                return as_type(Sent, await self._client.publish("MS", body, timeout=None))
            except ConnectionFailed:
                # The next try waits for a session, once the client has seen that this one is over.
                await asyncio.sleep(0)
            except RequestRefused as refused:
                if refused.code not in PASSING_CODES:
                    raise
                await asyncio.sleep(refused.after_seconds or PASSING_SECONDS)

    async def history_page(
        self, *, after: int | None = None, before: int | None = None, limit: int = PAGE
    ) -> HistoryPage:
        """At most `limit` (200) messages after the seq `after` or before `before`; without either
        the newest. The earliest comes first."""
        body = given(conversation=self.conversation, after=after, before=before, limit=limit)
        return as_type(HistoryPage, await self._client.publish("MP", body))

    async def history(
        self, *, after: int | None = None, before: int | None = None, page: int = PAGE
    ) -> AsyncIterator[HistoryMessage]:
        """The history, `page` messages a request.

        With `after`, from the first message after that seq on to the newest: what a client that
        knows the messages up to there has missed. Else backwards: from the message before `before`,
        or the newest, to the first.
        """
        while True:
            got = await self.history_page(after=after, before=before, limit=page)
            for message in got.messages if after is not None else reversed(got.messages):
                yield message
            if not got.more or not got.messages:
                return
            if after is not None:
                after = got.messages[-1].seq
            else:
                before = got.messages[0].seq

    async def delivered(self, seq: int) -> Positions:
        """All up to `seq` have arrived. Positions never go back."""
        return await self._move(delivered=seq)

    async def read(self, seq: int) -> Positions:
        """All up to `seq` have been read, on whichever of the user's devices."""
        return await self._move(read=seq)

    async def _move(self, **positions: int) -> Positions:
        body = {"conversation": self.conversation, **positions}
        return as_type(Positions, await self._client.publish("MRN", body))

    async def recall(self, seq: int) -> None:
        """Take message `seq` back: its sender may, for a while, and in a group its admins."""
        await self._client.publish("MR", {"conversation": self.conversation, "seq": seq})

    async def typing(self) -> None:
        """Tell those who are online that this user is typing. There is no answer."""
        await self._client.publish("TP", {"conversation": self.conversation})


class Group(Chat):
    """A group and its conversation. `group` is its id."""

    @property
    def group(self) -> str:
        return self.conversation.removeprefix(GROUP)

    @property
    def _to(self) -> dict[str, str]:
        return {"group": self.group}

    async def info(self) -> GroupInfo:
        return as_type(GroupInfo, await self._ask("GPGI"))

    async def members(self, *, page: int = PAGE) -> AsyncIterator[Member]:
        """All members, by name, `page` a request."""
        cursor: str | None = None
        while True:
            asked = given(cursor=cursor, limit=page)
            got = as_type(MemberPage, await self._ask("GPGM", **asked))
            for member in got.members:
                yield member
            cursor = got.cursor
            if cursor is None:
                return

    async def add(self, *users: str) -> dict[str, str]:
        """`ok`, or the code of the refusal, for each."""
        return as_type(Results, await self._ask("GAM", users=list(users))).results

    async def remove(self, *users: str) -> dict[str, str]:
        """`ok`, or the code of the refusal, for each."""
        return as_type(Results, await self._ask("GKM", users=list(users))).results

    async def leave(self) -> None:
        """The owner transfers the group first."""
        await self._ask("GQ")

    async def dismiss(self) -> None:
        """The group ends, for all."""
        await self._ask("GD")

    async def change(
        self,
        *,
        name: str | None = None,
        announcement: str | None = None,
        extra: object = None,
        mute_all: bool | None = None,
        invite: Literal["owner", "admin", "member"] | None = None,
    ) -> GroupInfo:
        """Change what is given, all of it or nothing."""
        return await self._change(
            name=name, announcement=announcement, extra=extra, mute_all=mute_all, invite=invite
        )

    async def set_role(self, user: str, role: Literal["admin", "member"]) -> GroupInfo:
        return await self._change(member={"user": user, "role": role})

    async def mute(self, user: str, *, muted: bool = True) -> GroupInfo:
        """A muted member reads, and does not write."""
        return await self._change(member={"user": user, "muted": muted})

    async def transfer(self, user: str) -> GroupInfo:
        """Another member is the owner from now on."""
        return await self._change(owner=user)

    async def _change(self, **changes: object) -> GroupInfo:
        return as_type(GroupInfo, await self._ask("GMI", **given(**changes)))

    async def _ask(self, request: str, **members: object) -> dict[str, Any]:
        return await self._client.publish(request, {"group": self.group, **members})


class ChatClient:
    """The part of a client that is about chat."""

    def chat(self: Asking, user: str) -> Chat:
        """The conversation with a user."""
        return Chat(self, USER + user)

    def group(self: Asking, group: str) -> Group:
        """A group, by its id."""
        return Group(self, GROUP + group)

    def conversation(self: Asking, name: str) -> Chat:
        """A conversation by its name, as messages have it: `user:<the other>`, `group:<group>`."""
        return Group(self, name) if name.startswith(GROUP) else Chat(self, name)

    async def create_group(
        self: Asking,
        name: str,
        members: Iterable[str] = (),
        *,
        type: Literal["normal", "broadcast"] | None = None,
        extra: object = None,
    ) -> Group:
        """A new group, whose owner is this user; `group.info()` tells the rest.

        When `ConnectionFailed` is raised it is not known whether there is one now.
        """
        body = given(name=name, members=list(members), type=type, extra=extra)
        made = as_type(GroupInfo, await self.publish("GC", body))
        return Group(self, GROUP + made.group)

    async def conversations(self: Asking, *, page: int = PAGE) -> AsyncIterator[Conversation]:
        """All conversations of this user, the latest first, `page` a request."""
        cursor: str | None = None
        while True:
            asked = given(cursor=cursor, limit=page)
            got = as_type(ConversationPage, await self.publish("CL", asked))
            for conversation in got.conversations:
                yield conversation
            cursor = got.cursor
            if cursor is None:
                return

    async def presence(self: Asking, users: Iterable[str]) -> dict[str, bool]:
        """Which of at most 100 users are online; a user whose presence may not be known is left
        out."""
        return as_type(Presence, await self.publish("PS", {"users": list(users)})).online
