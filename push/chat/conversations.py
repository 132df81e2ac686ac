"""A user's list of conversations, the latest first."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from msgspec import UNSET

from push.chat.actions import Acting
from push.chat.conversation_id import ConversationId, conversation_of
from push.chat.messages import MAX_PAGE_BYTES, message_of
from push.chat.scripts import chat_script, one_list
from push.chat.settings import ChatSettings
from push.chat.types import ConversationPage, ConversationRow
from push.runtime.tasks import gather
from push.wire.errors import RequestError
from push.wire.idents import GROUP_PREFIX, is_offset, user_stream

_summaries = chat_script("summaries")

# When the last message came (us), what tells those of one millisecond apart, and the conversation.
Place = tuple[int, str, ConversationId]


class Conversations:
    """Lists conversations. Those with users are noted when a message comes; of the groups, which
    keep no list for each user, the last messages are looked up."""

    def __init__(self, acting: Acting, settings: ChatSettings) -> None:
        self._acting = acting
        self._settings = settings

    async def page(self, user: str, *, cursor: str, limit: int) -> ConversationPage:
        """Conversations behind the place `cursor`; fewer than `limit` if they are large."""
        places = sorted(await self._places(user), key=_order)
        if cursor:
            behind = _parse(cursor)
            places = [place for place in places if _order(place) > behind]
        wanted = places[:limit]
        conversations = [place[2] for place in wanted]
        details = await self._ask(user, conversations, details=True)
        count = _count_of(details)
        rows = [
            _row_of(conversation, row)
            for conversation, row in zip(conversations[:count], details, strict=False)
            if row
        ]
        return ConversationPage(
            rows, _cursor_of(wanted[count - 1]) if count < len(places) else None
        )

    async def _places(self, user: str) -> list[Place]:
        home = self._acting.shards.of(user_stream(user))
        listed = await home.command(
            "ZRANGEBYSCORE", home.key(f"conversations:{user}"), "-inf", "+inf", "WITHSCORES"
        )
        places = [
            _place(int(listed[i + 1]), conversation_of(user, listed[i].decode()))
            for i in range(0, len(listed), 2)
        ]
        names = await home.command("SMEMBERS", home.key(f"user-streams:{user}"))
        groups = [
            conversation_of(user, name.decode())
            for name in names
            if name.startswith(GROUP_PREFIX.encode())
        ]
        times = await self._ask(user, groups, details=False)
        return places + [
            _place(int(time), group) for group, time in zip(groups, times, strict=True) if time
        ]

    async def _ask(
        self, user: str, conversations: Sequence[ConversationId], *, details: bool
    ) -> list[Any]:
        """What the servers of the conversations say of each; None: the answer was full before."""
        by_server = self._acting.shards.grouped(
            range(len(conversations)), lambda place: conversations[place].owner
        )
        found: list[Any] = [None] * len(conversations)

        async def ask(places: list[int]) -> None:
            owners = [conversations[place].owner for place in places]
            request = {
                "by": user,
                "owners": owners,
                "details": details,
                "max_bytes": MAX_PAGE_BYTES,
                "history_before_join": self._settings.history_before_join,
            }
            rows = await self._acting.look(_summaries, owners[0], request, one_list)
            for place, row in zip(places, rows, strict=False):
                found[place] = row

        await gather(ask(places) for places in by_server.values())
        return found


def _count_of(details: Sequence[Any]) -> int:
    """How many of them make a page: up to those that a server left out, and to its size.

    Each server gives as much as a page may have.
    """
    size = 0
    for n, row in enumerate(details):
        if row is None or size >= MAX_PAGE_BYTES:
            return n
        if row and row[4]:
            size += sum(len(field) for field in row[4])
    return len(details)


def _row_of(conversation: ConversationId, row: list[Any]) -> ConversationRow:
    seq, delivered, read, unread = map(int, row[:4])
    return ConversationRow(
        conversation=conversation.name,
        user=UNSET if conversation.user is None else conversation.user,
        group=UNSET if conversation.group is None else conversation.group,
        last=message_of(conversation.name, row[4]) if row[4] else None,
        seq=seq,
        delivered=delivered,
        read=read,
        unread=unread,
    )


def _place(at_us: int, conversation: ConversationId) -> Place:
    # A cursor has at most 64 bytes, the name of a conversation up to 134.
    digest = hashlib.blake2b(conversation.name.encode(), digest_size=8).hexdigest()
    return at_us, digest, conversation


def _order(place: Place) -> tuple[int, str]:
    return -place[0], place[1]


def _cursor_of(place: Place) -> str:
    return f"{place[0]}.{place[1]}"


def _parse(cursor: str) -> tuple[int, str]:
    """Raises `RequestError` `invalid` for a text that is not our cursor."""
    at_us, _, digest = cursor.partition(".")
    if not (is_offset(at_us) and digest):
        raise RequestError("invalid", "`cursor`: not the cursor of a page", field="cursor")
    return -int(at_us), digest
