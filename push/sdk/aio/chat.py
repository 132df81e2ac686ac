"""Chat in the asyncio client: conversations with users and in groups, as the session's user.

What a method refuses is a `RequestRefused` with the contract's code: `not_member`, `muted`,
`not_allowed` and so on. All of them wait for a session and raise `ConnectionFailed` when the answer
did not come; only `send` does more about that, see there.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Literal, Protocol, TypeVar

from push.sdk.chat_types import (
    GROUP,
    USER,
    Conversation,
    GroupInfo,
    HistoryMessage,
    HistoryPage,
    Member,
    Positions,
    Sent,
)
from push.sdk.core import chat as requests
from push.sdk.core.chat import PAGE, ChatRequest
from push.sdk.core.requests import REQUEST_SECONDS

T = TypeVar("T")


class AsyncioAsking(Protocol):
    """What is needed of a client."""

    async def _ask(self, request: ChatRequest[T]) -> T: ...

    async def _send(self, request: ChatRequest[T], timeout: float | None) -> T: ...


class AsyncioChat:
    """A conversation with a user, by its name `user:<the other>`."""

    def __init__(self, client: AsyncioAsking, conversation: str) -> None:
        self.conversation = conversation
        self._client = client

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.conversation}>"

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
        request = requests.send_message(
            self.conversation,
            data,
            type=type,
            mentions=mentions,
            reply_to=reply_to,
            client_id=client_id,
        )
        return await self._client._send(request, timeout)

    async def history_page(
        self, *, after: int | None = None, before: int | None = None, limit: int = PAGE
    ) -> HistoryPage:
        """At most `limit` (200) messages after the seq `after` or before `before`; without either
        the newest. The earliest comes first."""
        request = requests.history_page(self.conversation, after, before, limit)
        return await self._client._ask(request)

    async def history(
        self, *, after: int | None = None, before: int | None = None, page: int = PAGE
    ) -> AsyncIterator[HistoryMessage]:
        """The history, `page` messages a request.

        With `after`, from the first message after that seq on to the newest: what a client that
        knows the messages up to there has missed. Else backwards: from the message before `before`,
        or the newest, to the first.
        """
        walk = requests.HistoryWalk(self.conversation, after, before, page)
        while walk.request is not None:
            for message in walk.take(await self._client._ask(walk.request)):
                yield message

    async def delivered(self, seq: int) -> Positions:
        """All up to `seq` have arrived. Positions never go back."""
        return await self._client._ask(requests.positions(self.conversation, delivered=seq))

    async def read(self, seq: int) -> Positions:
        """All up to `seq` have been read, on whichever of the user's devices."""
        return await self._client._ask(requests.positions(self.conversation, read=seq))

    async def recall(self, seq: int) -> None:
        """Take message `seq` back: its sender may, for a while, and in a group its admins."""
        await self._client._ask(requests.recall(self.conversation, seq))

    async def typing(self) -> None:
        """Tell those who are online that this user is typing. There is no answer."""
        await self._client._ask(requests.typing(self.conversation))


class AsyncioGroup(AsyncioChat):
    """A group and its conversation. `group` is its id."""

    @property
    def group(self) -> str:
        return self.conversation.removeprefix(GROUP)

    async def info(self) -> GroupInfo:
        return await self._client._ask(requests.group_info(self.group))

    async def members(self, *, page: int = PAGE) -> AsyncIterator[Member]:
        """All members, by name, `page` a request."""
        walk = requests.MemberWalk(self.group, page)
        while walk.request is not None:
            for member in walk.take(await self._client._ask(walk.request)):
                yield member

    async def add(self, *users: str) -> dict[str, str]:
        """`ok`, or the code of the refusal, for each."""
        return (await self._client._ask(requests.add_members(self.group, users))).results

    async def remove(self, *users: str) -> dict[str, str]:
        """`ok`, or the code of the refusal, for each."""
        return (await self._client._ask(requests.remove_members(self.group, users))).results

    async def leave(self) -> None:
        """The owner transfers the group first."""
        await self._client._ask(requests.leave_group(self.group))

    async def dismiss(self) -> None:
        """The group ends, for all."""
        await self._client._ask(requests.dismiss_group(self.group))

    async def change(
        self,
        *,
        name: str | None = None,
        announcement: str | None = None,
        extra: object = None,
        mute_all: bool | None = None,
        invite: requests.Invite | None = None,
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
        return await self._client._ask(requests.change_group(self.group, **changes))


class AsyncioChatMethods:
    """The part of a client that is about chat."""

    def chat(self: AsyncioAsking, user: str) -> AsyncioChat:
        """The conversation with a user."""
        return AsyncioChat(self, USER + user)

    def group(self: AsyncioAsking, group: str) -> AsyncioGroup:
        """A group, by its id."""
        return AsyncioGroup(self, GROUP + group)

    def conversation(self: AsyncioAsking, name: str) -> AsyncioChat:
        """A conversation by its name, as messages have it: `user:<the other>`, `group:<group>`."""
        return AsyncioGroup(self, name) if name.startswith(GROUP) else AsyncioChat(self, name)

    async def create_group(
        self: AsyncioAsking,
        name: str,
        members: Iterable[str] = (),
        *,
        type: requests.GroupType | None = None,
        extra: object = None,
    ) -> AsyncioGroup:
        """A new group, whose owner is this user; `group.info()` tells the rest.

        When `ConnectionFailed` is raised it is not known whether there is one now.
        """
        made = await self._ask(requests.create_group(name, members, type, extra))
        return AsyncioGroup(self, GROUP + made.group)

    async def conversations(
        self: AsyncioAsking, *, page: int = PAGE
    ) -> AsyncIterator[Conversation]:
        """All conversations of this user, the latest first, `page` a request."""
        walk = requests.ConversationWalk(page)
        while walk.request is not None:
            for conversation in walk.take(await self._ask(walk.request)):
                yield conversation

    async def presence(self: AsyncioAsking, users: Iterable[str]) -> dict[str, bool]:
        """Which of at most 100 users are online; a user whose presence may not be known is left
        out."""
        return (await self._ask(requests.presence(users))).online
