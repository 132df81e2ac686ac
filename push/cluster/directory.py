"""Questions about the cluster, answered from the registry's view: where to connect, which
processes live."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache
from random import Random
from typing import TypedDict
from urllib.parse import urlsplit

from push.cluster.planned_load import PlannedLoad
from push.cluster.registry.entry import CONNECTOR, RegistryEntry
from push.cluster.registry.interface import Registry, Snapshot
from push.wire.addresses import is_loopback, is_loopback_peer

# Encrypted ones first, across all nodes: a client that goes down the list when a node does not
# answer comes to the next node, and not to the same one without encryption.
CARRIERS = ("tls", "wss", "tcp", "ws")

# Where a device may be sent that is connected by a carrier, in this order.
CARRIERS_INSTEAD_OF = {
    "tls": ("tls",),
    "tcp": ("tcp", "tls"),
    "wss": ("wss",),
    "ws": ("ws", "wss"),
    "sses": ("wss",),
    "sse": ("ws", "wss"),
}

# A node is taken to have room for a quarter more than the fullest one has, each by its size, and
# not for all that it could hold: of 20,000 places 19,000 and 19,900 free ones are as good as the
# same. So an empty node among full ones gets five times their share of what comes: it catches up,
# and is not run over by a whole cluster's reconnects.
HEADROOM = 1.25
LEAST = 1e-9  # while there are no sessions at all the sizes decide


class Totals(TypedDict):
    """`nodes`: names of nodes, whatever runs there. `counters`: summed over all entries."""

    nodes: int
    connectors: int
    sessions: int
    counters: dict[str, int]


class Directory:
    """`random` spreads devices; `zone` is where the caller is: connectors there come first.

    `monotonic_seconds()` is the time.
    """

    def __init__(
        self,
        registry: Registry,
        random: Random,
        monotonic_seconds: Callable[[], float],
        *,
        zone: str = "",
    ) -> None:
        self._registry = registry
        self._random = random
        self._zone = zone
        self._planned = PlannedLoad(monotonic_seconds)
        self._planned_in: Snapshot | None = None
        self._boots: frozenset[str] = frozenset()
        self._boots_of: Snapshot | None = None

    def servers(self, carrier: str | None, client_ip: str) -> list[str]:
        """URLs of connectors that take sessions, best first; of one carrier, or of all.

        A loopback address is given only to a client on loopback: to others it means themselves.

        The order is drawn by lot, weighted by free room: many that ask at once, or that ask several
        daemons with a view of the same second, spread instead of running to the same node. Who is
        answered counts as being on the way to the first. An address that several instances share
        (`reuse_port`) is named once, by the room of all.
        """
        carriers = CARRIERS if carrier is None else (carrier,)
        return self._urls_for(self._ranked(), carriers, client_ip)

    def others(self, carrier: str, boot: str, client_ip: str) -> list[str]:
        """URLs of connectors beside that of `boot`, for a device that is connected by `carrier`:
        of the same kind, and never without encryption if it has it."""
        ranked = [entry for entry in self._ranked() if entry.boot != boot]
        return self._urls_for(ranked, CARRIERS_INSTEAD_OF[carrier], client_ip)

    def nodes(self) -> list[RegistryEntry]:
        """Every entry, ordered by service and instance."""
        return [e for instances in self._registry.view().values() for e in instances.values()]

    def connectors(self) -> dict[str, str]:
        """The connectors that are there: boot id → name of the node."""
        entries = self._registry.view().get(CONNECTOR, {}).values()
        return {entry.boot: entry.instance for entry in entries}

    def processes(self) -> dict[str, str]:
        """All processes, each once, whatever daemons it is: boot id → name of the node."""
        return {entry.boot: entry.instance for entry in self.nodes()}

    def is_live_boot(self, boot: str) -> bool:
        """Whether the connector with this boot id is registered (architecture, rule 17)."""
        view = self._registry.view()
        if view is not self._boots_of:  # a view is never modified, only replaced
            self._boots = frozenset(entry.boot for entry in view.get(CONNECTOR, {}).values())
            self._boots_of = view
        return boot in self._boots

    def totals(self) -> Totals:
        """The cluster in numbers."""
        entries = self.nodes()
        counters: Counter[str] = Counter()
        for entry in entries:
            counters.update(entry.counters)
        return {
            "nodes": len({entry.instance for entry in entries}),
            "connectors": len(self._registry.view().get(CONNECTOR, {})),
            "sessions": sum(entry.sessions for entry in entries),
            "counters": dict(counters),
        }

    def _ranked(self) -> list[RegistryEntry]:
        """Connectors with room, drawn without replacement with their room as weight.

        The least of -log(random) / weight comes first (Efraimidis and Spirakis)."""
        view = self._registry.view()
        entries = list(view.get(CONNECTOR, {}).values())
        if view is not self._planned_in:  # a view is never modified, only replaced
            self._planned.told(entries)
            self._planned_in = view
        room = _room(entries, self._planned)
        draws = [
            (entry.zone != self._zone, self._random.expovariate(weight), entry.instance, entry)
            for entry, weight in room
        ]
        draws.sort(key=lambda draw: draw[:3])
        return [draw[3] for draw in draws]

    def _urls_for(
        self, ranked: Sequence[RegistryEntry], carriers: Sequence[str], client_ip: str
    ) -> list[str]:
        """The URLs for a device, which is taken to go to the first."""
        is_near = is_loopback_peer(client_ip)
        found = [
            (url, entry.boot)
            for name in carriers
            for entry in ranked
            if (url := entry.addresses.get(name))
            and (is_near or entry.public or not _leads_to_loopback(url))
        ]
        if found:
            self._planned.sent(found[0][1])
        return list(dict.fromkeys(url for url, _ in found))


@lru_cache(1024)
def _leads_to_loopback(url: str) -> bool:
    """Whether the client of a URL would connect to its own machine, or to nothing at all."""
    try:
        host = urlsplit(url).hostname
    except ValueError:
        return True
    return host is None or is_loopback(host)


def _room(
    entries: Sequence[RegistryEntry], planned: PlannedLoad
) -> list[tuple[RegistryEntry, float]]:
    """Each connector that may be given out, with the sessions that it lacks to a common level.

    It is level with others by its size: its capacity (without a limit: that of the largest) times
    its weight.
    """
    taking = [
        entry
        for entry in entries
        if not entry.draining
        and entry.weight > 0
        and (entry.capacity <= 0 or entry.sessions < entry.capacity)
    ]
    largest = max((entry.capacity for entry in taking), default=0) or 1
    loads = [
        (
            entry,
            entry.sessions + planned.count(entry.boot),
            entry.weight * (entry.capacity or largest),
        )
        for entry in taking
    ]
    fullest = max((load / size for _, load, size in loads), default=0.0)
    level = max(HEADROOM * fullest, LEAST)
    return [
        (entry, max(min(level * size, entry.capacity or math.inf) - load, LEAST))
        for entry, load, size in loads
    ]
