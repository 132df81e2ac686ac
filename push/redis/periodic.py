"""Work that is done again and again on a server, without anybody who waits for it.

For what is waited for: architecture, "Who waits for a turn".
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Coroutine
from typing import Any

from twisted.logger import Logger
from twisted.python.failure import Failure

from push.redis.client import RedisClient
from push.redis.connection.errors import StoreUnavailable
from push.runtime.ports import Clock
from push.runtime.timers import Periodic

log = Logger()


class PeriodicTask(ABC):
    """Calls `do_due` every so many seconds while the server is reachable, never twice at a time.

    A call that fails is logged as `failed`; the next tries again.
    """

    def __init__(
        self, reactor: Clock, server: RedisClient, interval_seconds: float, failed: str
    ) -> None:
        self._server = server
        self._failed = failed
        self._periodic = Periodic(reactor, interval_seconds, self._if_reachable, self._log)

    @abstractmethod
    async def do_due(self) -> None:
        """Do once what is due now."""

    def start(self) -> None:
        self._periodic.start()

    def stop(self) -> None:
        self._periodic.stop()

    def _if_reachable(self) -> Coroutine[Any, Any, None] | None:
        return self.do_due() if self._server.problem is None else None

    def _log(self, failure: Failure) -> None:
        error = failure.value
        if isinstance(error, StoreUnavailable):
            log.debug(
                "{failed}: {reason}",
                failed=self._failed,
                reason=error.reason,
                event="redis.task_postponed",
            )
        else:
            log.failure("{failed}", failure, failed=self._failed, event="redis.task_failed")
