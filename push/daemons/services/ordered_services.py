"""A service whose children start in order, and stop in reverse, one by one."""

from __future__ import annotations

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger

_log = Logger()


class OrderedServices(MultiService):
    """A MultiService that stops its children one by one, the last first.

    MultiService stops all at once: Redis would be gone before the connector wrote its cursors.
    """

    def stopService(self) -> Deferred[None]:
        self.running = 0
        return Deferred.fromCoroutine(self._stop_in_turn())

    async def _stop_in_turn(self) -> None:
        for child in reversed(list(self)):
            try:
                await maybeDeferred(child.stopService)
            except Exception:
                # The others must still be stopped; what they hold is on disk only then.
                _log.failure(
                    "{child} could not be stopped cleanly", child=child, event="server.stop_failed"
                )
