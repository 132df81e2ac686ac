"""What both registries do with a store that never answers a stop, or that came back empty."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

import msgspec
import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from push.cluster.registry.entry import CONNECTOR, Key, RegistryEntry, encode_entry
from push.cluster.registry.interface import RegistryUnavailable
from push.cluster.registry.reconciler import ReconcilingRegistry, RegistrySnapshot
from push.cluster.registry.timing import Timing

ENTRY = RegistryEntry(service=CONNECTOR, instance="n1", boot="b1")
OTHERS = {
    (CONNECTOR, name): encode_entry(RegistryEntry(service=CONNECTOR, instance=name, boot="b1"))
    for name in ("n2", "n3")
}
RETURN_SECONDS = 30.0


class Silent(ReconcilingRegistry):
    """Its exchanges are answered while `answers`; calls that are not cancelled wait forever.

    `others` is what others have registered; the store lost its data when `era` is another one.
    """

    def __init__(self, clock: Clock, timing: Timing) -> None:
        super().__init__(clock, random.Random(1), timing, return_seconds=RETURN_SECONDS)
        self.answers = True
        self.problem_of_store: str | None = None
        self.others: dict[Key, bytes] = {}
        self.era = 1
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
        if self.problem_of_store is not None:
            raise RegistryUnavailable(self.problem_of_store)
        entries = {key: encode_entry(entry) for key, entry in own.items()}
        return RegistrySnapshot({**self.others, **entries}, {}, self.era)

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


def passes(clock: Clock, seconds: float) -> None:
    clock.pump([0.1] * round(10 * seconds))


def believed(registry: Silent) -> set[str]:
    return set(registry.view().get(CONNECTOR, {}))


@pytest.fixture
def cluster() -> tuple[Clock, Silent]:
    """A registry that knows itself and two others."""
    clock = Clock()
    registry = Silent(clock, Timing())
    registry.others = dict(OTHERS)
    registry.start()
    Deferred.fromCoroutine(registry.register(ENTRY))
    clock.advance(0)
    assert believed(registry) == {"n1", "n2", "n3"}
    return clock, registry


def loses_its_data(registry: Silent) -> None:
    registry.era += 1


def was_away(registry: Silent) -> None:
    registry.problem_of_store = "away"


@pytest.mark.parametrize("trouble", [loses_its_data, was_away])
def test_nobody_seems_gone_who_returns_in_time_to_a_store_that_was_emptied(
    cluster: tuple[Clock, Silent], trouble: Callable[[Silent], None]
) -> None:
    clock, registry = cluster
    seen: list[set[str]] = []
    registry.on_change(lambda: seen.append(believed(registry)))
    trouble(registry)
    passes(clock, Timing().renew * 1.3)  # it was noticed
    registry.problem_of_store = None
    registry.others = {}
    passes(clock, 3.0)
    registry.others = dict(list(OTHERS.items())[:1])
    passes(clock, RETURN_SECONDS - 8.0)  # the last one takes much longer than readings that verify
    registry.others = dict(OTHERS)
    passes(clock, 4 * RETURN_SECONDS)
    assert believed(registry) == {"n1", "n2", "n3"}
    assert all(names == {"n1", "n2", "n3"} for names in seen)


@pytest.mark.parametrize("trouble", [loses_its_data, was_away])
def test_who_does_not_return_to_a_store_that_was_emptied_is_gone_in_the_end(
    cluster: tuple[Clock, Silent], trouble: Callable[[Silent], None], log_lines: list[str]
) -> None:
    clock, registry = cluster
    trouble(registry)
    passes(clock, Timing().renew * 1.3)
    registry.problem_of_store = None
    registry.others = dict(list(OTHERS.items())[:1])
    passes(clock, RETURN_SECONDS - 1.0)
    assert believed(registry) == {"n1", "n2", "n3"}
    passes(clock, 4 * Timing().verify)
    assert believed(registry) == {"n1", "n2"}
    assert any("were verified and are gone" in line for line in log_lines)


def test_a_verification_that_was_due_waits_for_those_who_may_return(
    cluster: tuple[Clock, Silent],
) -> None:
    clock, registry = cluster
    registry.others = {}
    passes(
        clock, Timing().renew * 1.3 + Timing().verify
    )  # most are missing, and one reading says so
    loses_its_data(registry)
    passes(clock, RETURN_SECONDS - 1.0)
    assert believed(registry) == {"n1", "n2", "n3"}
    passes(clock, Timing().renew * 1.3 + 2 * Timing().verify)
    assert believed(registry) == {"n1"}
