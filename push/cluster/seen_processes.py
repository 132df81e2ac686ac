"""Processes that were listed in the last minutes.

The registry forgets a process that was paused for longer than its lease. It may go on at any time,
and have what others take for gone, so questions go on to name it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from push.runtime.ports import Clock

KEPT_SECONDS = 600.0


class SeenProcesses:
    """`listed()`: boot id → name of the node, now."""

    def __init__(self, clock: Clock, listed: Callable[[], Mapping[str, str]]) -> None:
        self._clock = clock
        self._listed = listed
        self._seen: dict[str, tuple[str, float]] = {}

    def look(self) -> None:
        now = self._clock.seconds()
        for boot, node in self._listed().items():
            self._seen[boot] = node, now
        over = [boot for boot, (_, at) in self._seen.items() if now - at > KEPT_SECONDS]
        for boot in over:
            del self._seen[boot]

    def unlisted(self) -> dict[str, str]:
        """Those that are not listed any more."""
        self.look()
        listed = self._listed()
        return {boot: node for boot, (node, _) in self._seen.items() if boot not in listed}
