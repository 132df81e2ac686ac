"""All limits of one connector, as its gateway has them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable
from typing import Any

import msgspec
from twisted.logger import Logger

from push.connector.limits.admission import Admission, AdmissionLimits
from push.connector.limits.counts import CONNECTIONS_PER_USER, MEMORY, LimitCounts
from push.connector.limits.read_queue import ReadQueue
from push.connector.limits.reconnects import Reconnects
from push.connector.limits.session_rates import Rates
from push.runtime.ports import Clock
from push.runtime.timers import Periodic
from push.wire.defaults import SHORT_OF_MEMORY_AFTER_SECONDS
from push.wire.errors import RequestError

log = Logger()

TELL_SECONDS = 60.0
USER_AFTER_SECONDS = 60
SHORT_SESSION_MS = 2000


class ConnectorLimitSettings(msgspec.Struct, frozen=True):
    """What a connector grants one client; 0 = no limit."""

    rates: Rates = Rates()
    admission: AdmissionLimits = AdmissionLimits()
    connections_per_user: int = 0
    connects_per_minute: int = 0


class ConnectorLimits:
    """Limits and what they have counted.

    `is_short_of_memory()`: nothing new is begun. `over_rate`: see `ReadQueue`.
    `connections`: those that there are now.
    """

    def __init__(
        self,
        reactor: Clock,
        settings: ConnectorLimitSettings,
        is_short_of_memory: Callable[[], bool],
        over_rate: Callable[[Any, str], None],
        connections: Collection[Hashable],
    ) -> None:
        self.counts = LimitCounts()
        self.admission = Admission(settings.admission, self.counts, connections)
        self.reads = ReadQueue(reactor, settings.rates, self.counts, over_rate)
        self.reconnects = Reconnects(settings.connects_per_minute, self.counts)
        self._per_user = settings.connections_per_user
        self._is_short_of_memory = is_short_of_memory
        self._telling = Periodic(
            reactor,
            TELL_SECONDS,
            self.counts.tell,
            lambda failure: log.failure(
                "Counts of limits were not logged", failure=failure, event="limits.not_logged"
            ),
        )

    def start(self) -> None:
        self._telling.start()

    def stop(self) -> None:
        self._telling.stop()
        self.reads.stop()

    def lost(self, connection: Any) -> None:
        """It is gone: nothing counts for it any more."""
        self.admission.left(connection)
        self.reads.forget(connection)

    def note_end(self, lasted_ms: int | None) -> None:
        """A connection is lost that had a session for so long, or none. What is opened and cut at
        once, again and again, is worth no more than what is refused: it outweighs that it had a
        session."""
        if lasted_ms is None:
            self.reads.newcomers.note_outcome(session=False)
        elif lasted_ms < SHORT_SESSION_MS:
            self.reads.newcomers.note_outcome(session=False, weight=4)

    def may_begin(self) -> bool:
        """Whether there is memory for something new; counts a refusal if not."""
        if not self._is_short_of_memory():
            return True
        self.counts.acted[MEMORY] += 1
        return False

    def check_memory(self) -> None:
        """Raises `RequestError` `unavailable` while nothing new is begun."""
        if not self.may_begin():
            raise RequestError(
                "unavailable",
                "this connector is short of memory",
                after_seconds=SHORT_OF_MEMORY_AFTER_SECONDS,
            )

    def check_connections_of_user(self, connections: int) -> None:
        """A user has so many here, this one included. Raises `RequestError` `rate_limited`."""
        if self._per_user and connections > self._per_user:
            self.counts.acted[CONNECTIONS_PER_USER] += 1
            raise RequestError(
                "rate_limited",
                f"more than {self._per_user} connections of this user",
                after_seconds=USER_AFTER_SECONDS,
            )
