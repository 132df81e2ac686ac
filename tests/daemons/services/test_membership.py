"""A daemon's entries in the registry, and what happens when its name is taken."""

from __future__ import annotations

from typing import Any

import pytest_twisted
from twisted.internet.task import Clock

from push.cluster.registry.entry import RegistryEntry
from push.cluster.registry.interface import NameTaken
from push.daemons.services.membership import TAKEN_SECONDS, Membership

ENTRY = RegistryEntry(service="push-api", instance="a", boot="1")


class TakenRegistry:
    """A registry in which the name is somebody else's for `times` attempts."""

    def __init__(self, times: int) -> None:
        self.left = times
        self.registered: list[RegistryEntry] = []

    def start(self) -> None: ...

    async def stop(self) -> None: ...

    def update(self, entry: RegistryEntry) -> None: ...

    async def register(self, entry: RegistryEntry) -> None:
        if self.left:
            self.left -= 1
            raise NameTaken(*entry.key, "2")
        self.registered.append(entry)


def membership(clock: Clock, registry: Any) -> Membership:
    return Membership(clock, registry, [lambda: ENTRY])


@pytest_twisted.ensureDeferred
async def test_a_taken_name_is_a_problem_until_it_is_free() -> None:
    clock, registry = Clock(), TakenRegistry(2)
    member = membership(clock, registry)
    member.startService()
    assert "the name 'a' is taken" in (member.problem or "")
    clock.advance(TAKEN_SECONDS)
    assert member.problem is not None
    clock.advance(TAKEN_SECONDS)
    assert member.problem is None
    assert registry.registered == [ENTRY]
    await member.stopService()
    assert clock.getDelayedCalls() == []


@pytest_twisted.ensureDeferred
async def test_a_stop_ends_the_attempts() -> None:
    clock = Clock()
    member = membership(clock, TakenRegistry(1))
    member.startService()
    await member.stopService()
    assert clock.getDelayedCalls() == []
