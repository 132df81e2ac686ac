"""The entries of this process: which of them are registered, and which names others have.

A registration waits while the name is another process's. If that process is dead its entry lapses;
if it shows to be alive the registration fails. An entry that was registered once is never given up.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from push.cluster.registry.entry import Key, RegistryEntry
from push.cluster.registry.interface import NameTaken

log = Logger()


class NameConflict(NamedTuple):
    """Another process's entry under our name.

    `sign` is anything that changes while that process lives: when its lease lapses, its last write.
    """

    boot: str
    sign: int


class OwnEntry:
    """One of our entries. `held`: it was registered once, and from then on is never given up.

    `conflict`: another process's entry that has the name now; `conflict_since` then (seconds of the
    clock) it has shown no sign of life.
    """

    __slots__ = ("answered", "conflict", "conflict_since", "entry", "held", "waiters")

    def __init__(self, entry: RegistryEntry) -> None:
        self.entry = entry
        self.held = False
        self.conflict: NameConflict | None = None
        self.conflict_since = 0.0
        # Calls of `register`: those that the exchange under way answers, and later ones.
        self.answered: list[Deferred[None]] = []
        self.waiters: list[Deferred[None]] = []

    def waiting(self) -> list[Deferred[None]]:
        return self.answered + self.waiters


class OwnEntries:
    """`patience_seconds`: how long the other may show no sign of life before its entry must have
    lapsed; one whose entry is there after that is alive."""

    def __init__(self, patience_seconds: float) -> None:
        self._patience_seconds = patience_seconds
        self._entries: dict[Key, OwnEntry] = {}

    def add(self, entry: RegistryEntry) -> Deferred[None]:
        """Register `entry`, or another state of it; fires when an exchange has written it."""
        own = self._entries.get(entry.key)
        if own is None:
            own = self._entries[entry.key] = OwnEntry(entry)
        own.entry = entry
        waiter: Deferred[None] = Deferred()
        own.waiters.append(waiter)
        return waiter

    def get(self, key: Key) -> OwnEntry | None:
        return self._entries.get(key)

    def remove(self, key: Key) -> OwnEntry | None:
        """No longer ours to register; callers that wait for it are cancelled."""
        own = self._entries.pop(key, None)
        if own is not None:
            for waiter in own.waiting():
                waiter.cancel()
        return own

    def remove_any(self) -> OwnEntry | None:
        """As `remove`; None when there is none left."""
        return self.remove(next(iter(self._entries))) if self._entries else None

    def waiting(self) -> list[Deferred[None]]:
        return [waiter for own in self._entries.values() for waiter in own.waiting()]

    @property
    def problem(self) -> str | None:
        for own in self._entries.values():
            if own.conflict is not None:
                return str(NameTaken(*own.entry.key, own.conflict.boot))
        return None

    @property
    def all_registered(self) -> bool:
        return all(own.held and own.conflict is None for own in self._entries.values())

    @property
    def has_conflict(self) -> bool:
        return any(own.conflict for own in self._entries.values())

    def to_write(self) -> dict[Key, RegistryEntry]:
        """What an exchange writes; it answers the calls of `add` that were made so far."""
        for own in self._entries.values():
            own.answered, own.waiters = own.answered + own.waiters, []
        return {key: own.entry for key, own in self._entries.items()}

    def not_exchanged(self, now: float) -> None:
        """Nothing lapses while the store is unreachable: entries of others prove nothing yet."""
        for own in self._entries.values():
            own.conflict_since = now

    def settle(
        self,
        written: Mapping[Key, RegistryEntry],
        conflicts: Mapping[Key, NameConflict],
        now: float,
    ) -> bool:
        """Release the callers that wait for a registration, with its outcome.

        `written` are the entries of an exchange, but for those whose name another process has.
        Returns whether another state of one came meanwhile, which is still to be written.
        """
        changed = False
        for key in written:
            own = self._entries.get(key)
            if own is None:
                continue
            if key in conflicts:
                self._note_conflict(own, conflicts[key], now)
                continue
            if own.conflict is not None and own.held:
                log.info(
                    "The name {name!r} belongs to this process again",
                    name=key[1],
                    event="registry.name_regained",
                )
            own.conflict = None
            own.held = True
            changed |= own.entry is not written[key]
            answered, own.answered = own.answered, []
            fire(answered)
        return changed

    def _note_conflict(self, own: OwnEntry, conflict: NameConflict, now: float) -> None:
        """Another process has our name: dead and about to lapse, or alive?"""
        known, own.conflict = own.conflict, conflict
        service, instance = own.entry.key
        if known is None or known.boot != conflict.boot:
            own.conflict_since = now
            text = (
                "now another process's" if own.held else "an earlier process's: waiting for its end"
            )
            log.warn(
                "The entry {service}/{instance} is {state} (boot id {boot})",
                service=service,
                instance=instance,
                state=text,
                boot=conflict.boot,
                event="registry.name_taken",
            )
            return
        is_silent = (
            known.sign == conflict.sign and now - own.conflict_since < self._patience_seconds
        )
        if own.held or is_silent:
            return
        del self._entries[own.entry.key]
        for waiter in own.waiting():
            if not waiter.called:
                waiter.errback(NameTaken(service, instance, conflict.boot))


def fire(waiters: Collection[Deferred[None]]) -> None:
    for waiter in waiters:
        if not waiter.called:
            waiter.callback(None)
