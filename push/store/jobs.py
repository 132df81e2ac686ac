"""Every coroutine has an owner: none is fired and forgotten, and its errors are told."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.python.failure import Failure


class Jobs:
    """Coroutines that run beside their owner."""

    def __init__(self) -> None:
        self._running: set[Deferred[None]] = set()

    def run(
        self, job: Coroutine[Any, Any, None], failed: Callable[[Failure], None]
    ) -> Deferred[None]:
        """Run `job` to its end; `failed` is told of an error that is not its cancellation."""
        running: Deferred[None] = Deferred.fromCoroutine(job)
        self._running.add(running)

        def finished(result: Failure | None) -> None:
            self._running.discard(running)
            if isinstance(result, Failure) and not result.check(CancelledError):
                failed(result)

        return running.addBoth(finished)

    def cancel(self) -> None:
        """Cancel all that run now."""
        for job in list(self._running):
            job.cancel()

    async def finished(self) -> None:
        """Wait for all that run now."""
        await DeferredList(list(self._running))
