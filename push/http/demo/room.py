"""The group that everybody of the demo is in. Nobody of them owns it: an owner could dismiss it."""

from __future__ import annotations

from push.chat.conversations import Conversations
from push.chat.groups import Groups
from push.wire.api.groups import NewGroup
from push.wire.errors import RequestError

NAME = "Everyone in the demo"


class Room:
    """The group, made when the first comes. `host` owns it, and has no device."""

    def __init__(self, groups: Groups, conversations: Conversations, host: str) -> None:
        self._groups = groups
        self._conversations = conversations
        self._host = host
        self.group = ""

    async def add(self, user: str) -> None:
        """They read what is written from now on. Only the host and admins add members: nobody who
        has nothing to do with the demo is drawn into it."""
        if self.group:
            try:
                results = await self._groups.add(self.group, [user], None)
            except RequestError as refusal:
                if refusal.code != "unknown_group":
                    raise
            else:
                _check(results.results[user])
                return
        made = await self._groups.create(self._host, NewGroup(NAME, [user]))
        self.group = made.group

    async def knows(self, user: str) -> bool:
        """Whether a user has conversations or groups."""
        page = await self._conversations.page(user, cursor="", limit=1)
        return bool(page.conversations) or bool(await self._groups.streams_of(user))


def _check(code: str) -> None:
    if code != "ok":
        raise RequestError("unavailable", f"the demo's group refuses: {code}", after_seconds=5)
