"""Which users are online, for users who ask. `[chat] presence` limits whose presence they see."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from push.chat.settings import ChatSettings
from push.redis import keyspace
from push.redis.shards import Shards
from push.runtime.tasks import gather
from push.wire.idents import GROUP_PREFIX, USER_PREFIX, user_stream

OnlineOf = Callable[[Sequence[str]], Awaitable[dict[str, bool]]]


class PresenceService:
    """Answers which users are online. `online_of(users)` tells it of all users."""

    def __init__(self, shards: Shards, settings: ChatSettings, online_of: OnlineOf) -> None:
        self._shards = shards
        self._settings = settings
        self._online_of = online_of

    async def of(self, user: str, users: Sequence[str]) -> dict[str, bool]:
        """Whether each is online; those that `user` may not know of are left out."""
        asked = list(dict.fromkeys(users))
        if self._settings.presence == "off":
            asked = [each for each in asked if each == user]
        elif self._settings.presence == "contacts":
            asked = await self._contacts(user, asked)
        return await self._online_of(asked) if asked else {}

    async def _contacts(self, user: str, users: list[str]) -> list[str]:
        """The users that share a conversation or a group with `user`."""
        groups = await self._groups_of(user)
        known = await gather(self._is_contact(user, groups, each) for each in users)
        return [each for each, is_known in zip(users, known, strict=True) if is_known]

    async def _is_contact(self, user: str, groups: set[bytes], other: str) -> bool:
        if other == user:
            return True
        home = self._shards.of(user_stream(user))
        listed = home.key(f"{keyspace.CONVERSATIONS}{user}")
        if await home.command("ZSCORE", listed, USER_PREFIX + other) is not None:
            return True
        return bool(groups and groups & await self._groups_of(other))

    async def _groups_of(self, user: str) -> set[bytes]:
        home = self._shards.of(user_stream(user))
        streams = await home.command("SMEMBERS", home.key(f"{keyspace.USER_STREAMS}{user}"))
        return {name for name in streams if name.startswith(GROUP_PREFIX.encode())}
