"""Which users are online, for users who ask. `[chat] presence` limits whose presence they see."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from push.chat.actions import Acting
from push.chat.contacts import Contacts
from push.chat.settings import ChatSettings

OnlineOf = Callable[[Sequence[str]], Awaitable[dict[str, bool]]]


class PresenceService:
    """Answers which users are online. `online_of(users)` tells it of all users."""

    def __init__(
        self, acting: Acting, contacts: Contacts, settings: ChatSettings, online_of: OnlineOf
    ) -> None:
        self._acting = acting
        self._contacts = contacts
        self._settings = settings
        self._online_of = online_of

    async def of(self, user: str, users: Sequence[str]) -> dict[str, bool]:
        """Whether each is online; those that `user` may not know of are left out.

        Raises `RequestError` `rate_limited`.
        """
        asked = list(dict.fromkeys(users))
        rate = self._settings.asking.of(user)
        if self._settings.presence == "contacts":
            others = [each for each in asked if each != user]
            known = await self._contacts.known(user, others, active=True, rate=rate)
            asked = [each for each in asked if each == user or each in known]
        else:
            await self._acting.count(rate)
        if self._settings.presence == "off":
            asked = [each for each in asked if each == user]
        return await self._online_of(asked) if asked else {}
