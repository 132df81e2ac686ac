"""The real `Domain` of a daemon for tests that have no daemon, and connectors as tests say."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from twisted.internet.defer import Deferred, succeed

from push.access.api_keys import Keyring
from push.access.bans import EndBanned
from push.cluster.registry.entry import CONNECTOR, RegistryEntry
from push.cluster.registry.interface import Registry, Snapshot
from push.daemons.domain import Domain, DomainLimits
from push.redis.shards import Shards


class LiveConnectors(Registry):
    """The connectors of a test, by their boot ids: who is there is what the test says."""

    def __init__(self, boots: Collection[str]) -> None:
        self._boots = boots
        self._view: Snapshot = {}

    def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def register(self, entry: RegistryEntry) -> None: ...

    def update(self, entry: RegistryEntry) -> None: ...

    async def withdraw(self, service: str, instance: str) -> None: ...

    def view(self) -> Snapshot:
        if set(self._boots) != set(self._view.get(CONNECTOR, {})):
            entries = {
                boot: RegistryEntry(service=CONNECTOR, instance=boot, boot=boot)
                for boot in self._boots
            }
            self._view = {CONNECTOR: entries}
        return self._view

    def on_change(self, callback: Callable[[], None]) -> None: ...

    def ready(self) -> Deferred[None]:
        return succeed(None)

    @property
    def problem(self) -> str | None:
        return None

    @property
    def joined(self) -> bool:
        return True


async def nobody(new: Any) -> None:
    """No session is here that a ban could end."""


def make_domain(
    reactor: Any,
    limits: DomainLimits,
    shards: Shards,
    boot: str,
    boots: Collection[str] = (),
    end_banned: EndBanned = nobody,
    keyring: Keyring | None = None,
) -> Domain:
    """That of a connector with the boot id `boot`. `boots`: those of the connectors that can be
    asked something; without any, nobody is."""
    return Domain(
        reactor,
        limits,
        shards,
        LiveConnectors(boots),
        boot,
        boot,
        keyring=Keyring([]) if keyring is None else keyring,
        is_connector=True,
        end_banned=end_banned,
    )
