"""What both registries do at a stop, with a store that never answers."""

from __future__ import annotations

import random
from collections.abc import Mapping

import msgspec
import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from push.cluster.registry.entry import CONNECTOR, Key, RegistryEntry, encode_entry
from push.cluster.registry.reconciler import ReconcilingRegistry, RegistrySnapshot
from push.cluster.registry.timing import Timing

ENTRY = RegistryEntry(service=CONNECTOR, instance="n1", boot="b1")


class Silent(ReconcilingRegistry):
    """Its exchanges are answered while `answers`; calls that are not cancelled wait forever."""

    def __init__(self, clock: Clock, timing: Timing) -> None:
        super().__init__(clock, random.Random(1), timing)
        self.answers = True
        self.unanswered: list[Deferred[None]] = []
        self.removals: list[RegistryEntry] = []
        self.is_closed = False

    def _open(self) -> None:
        """There is nothing to connect to."""

    async def _close(self) -> None:
        self.is_closed = True

    def _away(self) -> str | None:
        return None

    async def _exchange(self, own: Mapping[Key, RegistryEntry], *, fresh: bool) -> RegistrySnapshot:
        await self._answer()
        return RegistrySnapshot({key: encode_entry(entry) for key, entry in own.items()}, {}, 1)

    async def _remove(self, entry: RegistryEntry) -> None:
        self.removals.append(entry)
        await self._answer()

    async def _answer(self) -> None:
        if not self.answers:
            call: Deferred[None] = Deferred()
            self.unanswered.append(call)
            await call


@pytest.mark.parametrize("exchanging", [False, True], ids=["idle", "in-an-exchange"])
def test_what_a_stop_does_not_wait_for_is_cancelled(exchanging: bool, log_lines: list[str]) -> None:
    """Whatever a call to the store may take: nothing of it goes on after the stop."""
    clock = Clock()
    registry = Silent(clock, Timing(stop=0.5))
    registry.start()
    registered = Deferred.fromCoroutine(registry.register(ENTRY))
    clock.advance(0)
    assert registered.called
    registry.answers = False
    if exchanging:
        registry.update(msgspec.structs.replace(ENTRY, draining=True))
        clock.advance(0)
        assert len(registry.unanswered) == 1
    stopped = Deferred.fromCoroutine(registry.stop())
    clock.advance(0.4)
    assert not stopped.called
    assert registry.removals == ([] if exchanging else [ENTRY])  # it waits for the exchange
    clock.advance(0.2)
    assert stopped.called
    assert registry.is_closed
    assert all(call.called for call in registry.unanswered)
    assert clock.getDelayedCalls() == []
    assert any("no answer before the stop" in line for line in log_lines)
