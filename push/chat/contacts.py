"""Which users a user shares a conversation or a group with."""

from __future__ import annotations

from collections.abc import Sequence

from push.chat.actions import Acting
from push.chat.conversation_id import with_user
from push.chat.settings import UserRate
from push.redis.client import RedisClient
from push.redis.scripts import load_script
from push.wire.idents import GROUP_PREFIX, user_stream

GROUPS_AT_A_TIME = 50  # looked at in one step of Redis, for up to some hundred users each

_contacts = load_script("chat", "contacts")


class Contacts:
    """Asks the servers of conversations and groups, which know it (rule 5)."""

    def __init__(self, acting: Acting) -> None:
        self._acting = acting

    async def known(
        self, user: str, others: Sequence[str], *, active: bool, rate: UserRate | None
    ) -> set[str]:
        """Those of `others` that share a conversation or a group with `user`.

        `active`: only where they have written to `user`, or have created the group or written in
        it. So a stranger who writes to them, or adds them to a group, learns nothing. Counts for
        the `rate`; raises `RequestError` `rate_limited`.
        """
        self._acting.check(rate)
        shards, home = self._acting.shards, user_stream(user)
        groups = await self._groups_of(user)
        found: set[str] = set()
        for server in sorted(shards, key=lambda each: each is not shards.of(home)):
            here = groups.get(server, [])
            for start in range(0, max(len(here), 1), GROUPS_AT_A_TIME):
                left = [each for each in others if each not in found]
                if not (rate or left):
                    return found
                request = {
                    "user": user,
                    "others": left,
                    "chats": [self._chat_on(server, user, other) for other in left],
                    "groups": here[start : start + GROUPS_AT_A_TIME],
                    "active": active,
                    "rate": rate,
                }
                rate = None  # the first question, which the user's own server gets, has counted
                (known,) = await self._acting.run(
                    server, _contacts, request, durable=False, turns_of=user
                )
                found |= {left[position - 1] for position in known}
        return found

    def _chat_on(self, server: RedisClient, user: str, other: str) -> str:
        owner = with_user(user, other).owner
        return owner if self._acting.shards.of(owner) is server else ""

    async def _groups_of(self, user: str) -> dict[RedisClient, list[str]]:
        """The ids of a user's groups, by their servers."""
        found: dict[RedisClient, list[str]] = {}
        for stream in await self._acting.group_streams_of(user):
            server = self._acting.shards.of(stream)
            found.setdefault(server, []).append(stream.removeprefix(GROUP_PREFIX))
        return found
