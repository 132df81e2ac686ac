"""Devices that were sent to a connector and are not among the sessions that it has reported yet.

What a connector tells of its sessions is up to some seconds old, and not of the same moment as what
the others tell. Of a thousand devices that come within a second, all but a few would be sent to the
connector that seems to have the fewest.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from push.cluster.registry.entry import RegistryEntry

# A device that has not come by then is not coming: it went to another of its list, or nowhere.
AWAITED_SECONDS = 10.0


class PlannedLoad:
    """`monotonic_seconds()` is the time. Connectors are known by their boot ids."""

    def __init__(self, monotonic_seconds: Callable[[], float]) -> None:
        self._monotonic = monotonic_seconds
        self._sent: dict[str, deque[float]] = {}
        self._sessions: dict[str, int] = {}

    def sent(self, boot: str) -> None:
        """A device was sent there first."""
        self._sent.setdefault(boot, deque()).append(self._monotonic())

    def told(self, entries: Iterable[RegistryEntry]) -> None:
        """The connectors that there are, by a newer view: devices that have come are awaited no
        longer."""
        sessions = {entry.boot: entry.sessions for entry in entries}
        for boot in [boot for boot in self._sent if boot not in sessions]:
            del self._sent[boot]
        for boot, sent in self._sent.items():
            arrived = sessions[boot] - self._sessions.get(boot, 0)
            for _ in range(min(arrived, len(sent))):
                sent.popleft()
        self._sessions = sessions

    def count(self, boot: str) -> int:
        sent = self._sent.get(boot)
        if sent is None:
            return 0
        oldest = self._monotonic() - AWAITED_SECONDS
        while sent and sent[0] < oldest:
            sent.popleft()
        return len(sent)
