"""A user's list of conversations, the latest first."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

from push.chat.actions import Acting
from push.chat.conversation_id import ConversationId, conversation_of
from push.chat.messages import MAX_PAGE_BYTES, message_of
from push.chat.settings import ChatSettings
from push.redis import keyspace
from push.redis.scripts import load_script
from push.runtime.tasks import gather
from push.wire.api.conversations import Conversation, ConversationPage
from push.wire.api.paging import make_cursor, read_cursor
from push.wire.idents import user_stream

_summaries = load_script("chat", "summaries")

# Looked up in one step of Redis: what others ask of it waits for no more than these.
SUMMARIES_AT_A_TIME = 25


class Place(NamedTuple):
    """A conversation, by when its last message came (microseconds since 1970 UTC)."""

    at_us: int
    conversation: ConversationId


class Conversations:
    """Lists conversations. Those with users are noted when a message comes; of the groups, which
    keep no list for each user, the last messages are looked up."""

    def __init__(self, acting: Acting, settings: ChatSettings) -> None:
        self._acting = acting
        self._settings = settings

    async def page(
        self, user: str, *, cursor: str, limit: int, turns_of: Hashable = None
    ) -> ConversationPage:
        """Conversations after the place `cursor`; fewer than `limit` if they are large. `turns_of`:
        the owner of the turns that this waits for, if not the user."""
        turns_of = turns_of or user
        places = sorted(await self._places(user, turns_of), key=_order)
        after = read_cursor("conversations", cursor, int, str)
        if after is not None:
            places = [place for place in places if _order(place) > (-after[0], after[1])]
        wanted = places[:limit]
        conversations = [place.conversation for place in wanted]
        details = await self._ask(user, conversations, turns_of, details=True)
        count = _count_of(details)
        rows = [
            _row_of(conversation, row)
            for conversation, row in zip(conversations[:count], details, strict=False)
            if row
        ]
        last = wanted[count - 1] if count < len(places) else None
        return ConversationPage(
            rows, last and make_cursor("conversations", last.at_us, last.conversation.name)
        )

    async def _places(self, user: str, turns_of: Hashable) -> list[Place]:
        home = self._acting.shards.of(user_stream(user))
        key = home.key(f"{keyspace.CONVERSATIONS}{user}")
        listing = home.command("ZRANGEBYSCORE", key, "-inf", "+inf", "WITHSCORES")
        found: list[Any] = await gather([listing, self._acting.group_streams_of(user)])
        listed, streams = found
        places = [
            Place(int(listed[i + 1]), conversation_of(user, listed[i].decode()))
            for i in range(0, len(listed), 2)
        ]
        groups = [conversation_of(user, stream) for stream in streams]
        times = await self._ask(user, groups, turns_of, details=False)
        return places + [
            Place(int(time), group) for group, time in zip(groups, times, strict=True) if time
        ]

    async def _ask(
        self,
        user: str,
        conversations: Sequence[ConversationId],
        turns_of: Hashable,
        *,
        details: bool,
    ) -> list[Any]:
        """What the servers of the conversations say of each; None: the answer was full before."""
        by_server = self._acting.shards.grouped(
            range(len(conversations)), lambda place: conversations[place].owner
        )
        found: list[Any] = [None] * len(conversations)
        await gather(
            self._ask_server(user, conversations, places, found, turns_of, details=details)
            for places in by_server.values()
        )
        return found

    async def _ask_server(
        self,
        user: str,
        conversations: Sequence[ConversationId],
        places: Sequence[int],
        found: list[Any],
        turns_of: Hashable,
        *,
        details: bool,
    ) -> None:
        """Fill those `places` of `found` that are of one server, until there is a page."""
        home = self._acting.shards.of(conversations[places[0]].owner)
        size = 0
        for start in range(0, len(places), SUMMARIES_AT_A_TIME):
            part = places[start : start + SUMMARIES_AT_A_TIME]
            request = {
                "by": user,
                "owners": [conversations[place].owner for place in part],
                "details": details,
                "max_bytes": MAX_PAGE_BYTES,
                "history_before_join": self._settings.history_before_join,
            }
            (rows,) = await self._acting.run(
                home, _summaries, request, durable=False, turns_of=turns_of
            )
            for place, row in zip(part, rows, strict=False):
                found[place] = row
            if details:
                size += sum(map(_size_of, rows))
                if len(rows) < len(part) or size >= MAX_PAGE_BYTES:
                    return


def _count_of(details: Sequence[Any]) -> int:
    """How many of them make a page: up to those that a server left out, and to its size.

    Each step gives as much as a page may have.
    """
    size = 0
    for n, row in enumerate(details):
        if row is None or size >= MAX_PAGE_BYTES:
            return n
        size += _size_of(row)
    return len(details)


def _size_of(row: list[Any]) -> int:
    """The bytes of its last message, if it has one."""
    return sum(map(len, row[4])) if row and row[4] else 0


def _row_of(conversation: ConversationId, row: list[Any]) -> Conversation:
    seq, delivered, read, unread = map(int, row[:4])
    return Conversation(
        conversation=conversation.name,
        user=conversation.user,
        group=conversation.group,
        last=message_of(conversation.name, row[4]) if row[4] else None,
        seq=seq,
        delivered=delivered,
        read=read,
        unread=unread,
    )


def _order(place: Place) -> tuple[int, str]:
    return -place.at_us, place.conversation.name
