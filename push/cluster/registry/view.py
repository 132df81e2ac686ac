"""What this process believes about which daemons run.

Both registries hand in what they read; what is believed is decided here, in one place. Arrivals
and changes are believed at once. So are single losses. But when more than half of the nodes are
missing at once, it is more likely that the registry, or our look at it, is at fault than that they
all died: sending every device away from healthy connectors would make an outage of a hiccup. Then
the missing are held, and go only when two more fresh readings, seconds apart, miss them too. The
same holds for every loss while the reading is doubtful: just after an outage others may not have
reconnected yet, and the readings that verify it come later.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType

from twisted.logger import Logger

from push.cluster.registry.entry import Key, RegistryEntry, decode_entry
from push.cluster.registry.interface import Snapshot
from push.wire.errors import shortened

log = Logger()

CONFIRMATIONS = 2


class View:
    """Entries by key, from readings of the whole registry and from news of single entries.

    `window_seconds`: losses this close together count as "at once", because leases and sessions of
    nodes that fail together do not lapse together.
    """

    def __init__(
        self,
        monotonic_seconds: Callable[[], float],
        changed: Callable[[], None],
        *,
        window_seconds: float,
    ) -> None:
        self.snapshot: Snapshot = MappingProxyType({})
        self._monotonic = monotonic_seconds
        self._changed = changed
        self._window_seconds = window_seconds
        self._raw: dict[Key, bytes] = {}
        self._entries: dict[Key, RegistryEntry] = {}
        self._unreadable: dict[Key, bytes] = {}
        # Missing though not believed gone: how many later readings confirmed it.
        self._held: dict[Key, int] = {}
        # Believed gone without confirmation: when.
        self._recently_lost: dict[Key, float] = {}

    @property
    def unsure(self) -> bool:
        """Whether something is held, and a verifying reading is wanted."""
        return bool(self._held)

    def read(
        self, registered: Mapping[Key, bytes], *, verifying: bool = False, doubtful: bool = False
    ) -> None:
        """Take over a reading of the whole registry.

        `verifying` tells that it was made afresh in order to confirm what is missing; readings that
        something else set off may confirm nothing, since they may repeat the same mistake.
        `doubtful`: entries that are missing may well return soon.
        """
        before = dict(self._raw)
        for key, raw in registered.items():
            self._take(key, raw)
        for key in [key for key in self._unreadable if key not in registered]:
            del self._unreadable[key]
        if verifying:
            self._confirm()
        missing = set(self._raw) - set(registered) - set(self._held)
        if doubtful or self._alarming(missing):
            self._hold(missing)
        else:
            for key in missing:
                self._recently_lost[key] = self._monotonic()
                self._drop(key)
        self._notify_if_changed(before)

    def put(self, key: Key, raw: bytes) -> None:
        """One entry is new or changed."""
        before = dict(self._raw)
        self._take(key, raw)
        self._notify_if_changed(before)

    def withdraw(self, key: Key) -> None:
        """One entry was removed by its owner: nothing to doubt."""
        before = dict(self._raw)
        self._held.pop(key, None)
        self._drop(key)
        self._notify_if_changed(before)

    def _take(self, key: Key, raw: bytes) -> None:
        self._held.pop(key, None)
        self._recently_lost.pop(key, None)
        if raw in (self._raw.get(key), self._unreadable.get(key)):
            return
        try:
            entry = decode_entry(key, raw)
        except ValueError as error:
            self._unreadable[key] = raw
            self._drop(key)
            log.error(
                "The registry's entry {service}/{instance} is skipped: {error}",
                service=shortened(key[0], 64),
                instance=shortened(key[1], 128),
                error=shortened(str(error)),
                event="registry.entry_skipped",
            )
            return
        self._unreadable.pop(key, None)
        self._raw[key] = raw
        self._entries[key] = entry

    def _drop(self, key: Key) -> None:
        self._raw.pop(key, None)
        self._entries.pop(key, None)

    def _alarming(self, missing: set[Key]) -> bool:
        """Whether, with what else was lost of late, more than half of a service or of all nodes
        (and more than one) is missing."""
        if not missing:
            return False
        oldest = self._monotonic() - self._window_seconds
        self._recently_lost = {k: at for k, at in self._recently_lost.items() if at > oldest}
        lost = missing | set(self._held) | set(self._recently_lost)
        known = set(self._raw) | lost
        by_service = Counter(service for service, _ in known)
        lost_by_service = Counter(service for service, _ in lost)
        if any(_most(count, by_service[name]) for name, count in lost_by_service.items()):
            return True
        nodes = _nodes(known)
        return _most(len(nodes) - len(_nodes(known - lost)), len(nodes))

    def _hold(self, missing: set[Key]) -> None:
        if missing and not self._held:
            log.warn(
                "{missing} of {known} entries are missing in the registry at once; they are kept "
                "until that is verified",
                missing=len(missing),
                known=len(self._raw),
                event="registry.many_missing",
            )
        self._held.update(dict.fromkeys(missing, 0))

    def _confirm(self) -> None:
        """What is held is still missing in a fresh reading."""
        for key in self._held:
            self._held[key] += 1
        gone = [key for key, confirmed in self._held.items() if confirmed >= CONFIRMATIONS]
        for key in gone:
            del self._held[key]
            self._drop(key)
        if gone:
            log.warn(
                "{gone} missing entries were verified and are gone",
                gone=len(gone),
                event="registry.missing_verified",
            )

    def _notify_if_changed(self, before: dict[Key, bytes]) -> None:
        if before == self._raw:
            return
        services: dict[str, dict[str, RegistryEntry]] = {}
        for (service, instance), entry in sorted(self._entries.items()):
            services.setdefault(service, {})[instance] = entry
        self.snapshot = MappingProxyType(
            {service: MappingProxyType(instances) for service, instances in services.items()}
        )
        self._changed()


def _nodes(keys: Collection[Key]) -> set[str]:
    return {instance for _, instance in keys}


def _most(lost: int, total: int) -> bool:
    return lost > 1 and 2 * lost > total
