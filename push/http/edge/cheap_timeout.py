"""Time-outs of a connection that cost the same however many connections there are."""

from __future__ import annotations

from collections.abc import Callable

from twisted.protocols.policies import TimeoutMixin

from push.runtime.ports import DelayedCall

LINGER_SECONDS = 2  # of a connection that is to end, for its client to read the last answer


class CheapTimeout(TimeoutMixin):
    """For an earlier time than before, the base class lets the reactor look for the call among all
    that wait: with 500 connections, a third of what a connection costs from its first byte to its
    last. Here the call is cancelled, and another one made."""

    timeOut: float | None  # type: ignore[assignment]  # Twisted says int, and counts by any number
    _lingering: DelayedCall | None = None

    def setTimeout(self, period: float | None) -> float | None:
        """Seconds from now; what it was before."""
        before = self.timeOut
        if period is not None and before is not None and period < before:
            super().setTimeout(None)  # type: ignore[no-untyped-call]  # Twisted has no types here
        super().setTimeout(period)  # type: ignore[no-untyped-call]  # as above
        return before

    def linger(self, end: Callable[[], object]) -> None:
        """Call `end` after `LINGER_SECONDS`, and nothing that was to be called before."""
        self.stop_lingering()
        self._lingering = self.callLater(LINGER_SECONDS, end)  # type: ignore[no-untyped-call]  # as above

    def stop_lingering(self) -> None:
        """The connection has ended: of TLS, an ended one must not be ended again."""
        if self._lingering is not None and self._lingering.active():
            self._lingering.cancel()
