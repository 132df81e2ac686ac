"""The connectors apply a change before it is answered (delivery.md, "Writes in effect").

A connector keeps what a session needs to know of its device: whose it is, and what it follows. Code
that changes that asks the connector to read it again, and answers when the connector has.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from push.cluster.survey import ALL_CONNECTORS, Audience, Boots, Survey
from push.devices.session_queries import APPLY, ApplyAsked
from push.wire.idents import group_stream


class Held(NamedTuple):
    """The session that has a device, and the boot id of its connector."""

    session: str
    boot: str


def held_of(session: bytes, boot: bytes) -> list[Held]:
    """What a script says of the session that has a device: none or one."""
    return [Held(session.decode(), boot.decode())] if session and boot else []


class Readers(Protocol):
    """The processes that must apply a write. Both return the names of nodes that did not confirm in
    time: these read it again before they authorise any request. Raises `StoreUnavailable`: then the
    write has happened, and it is unknown which processes have applied it."""

    async def apply_devices(self, held: Iterable[Held]) -> list[str]:
        """The records of the devices that these sessions have were changed."""

    async def apply_groups(self, users: Sequence[str], dismissed: str = "") -> list[str]:
        """The groups of `users` were changed; the group `dismissed` has no members any more."""


class NoReaders:
    """Where no connector is."""

    async def apply_devices(self, held: Iterable[Held]) -> list[str]:
        return []

    async def apply_groups(self, users: Sequence[str], dismissed: str = "") -> list[str]:
        return []


NO_READERS = NoReaders()


class Connectors:
    """The connectors of a deployment."""

    def __init__(self, survey: Survey) -> None:
        self._survey = survey

    async def apply_devices(self, held: Iterable[Held]) -> list[str]:
        """One question for all of them; none where there is no session."""
        found = list(held)
        if not found:
            return []
        boots = Boots([each.boot for each in found])
        return await self._ask(ApplyAsked(sessions=[each.session for each in found]), boots)

    async def apply_groups(self, users: Sequence[str], dismissed: str = "") -> list[str]:
        """Sessions of users without a device are in no record, so all connectors are asked."""
        if not users and not dismissed:
            return []
        stream = group_stream(dismissed) if dismissed else ""
        return await self._ask(ApplyAsked(users=list(users), dismissed=stream), ALL_CONNECTORS)

    async def _ask(self, body: ApplyAsked, audience: Audience) -> list[str]:
        return (await self._survey.ask(APPLY, body, audience, thorough=True)).silent
