"""Logs when a server becomes unreachable or is reconnected: one line each, for all its connections.

The first state is logged too. Otherwise a daemon whose server is unreachable from the start would
be silent, and an operator would not know why.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.logger import Logger

from push.runtime.ports import Clock
from push.runtime.timers import Debounced

log = Logger()

# An address that answers nothing at all fails only after the time-out, which is too late for the
# first log line. Sentinels that name no master have been logged by then.
FIRST_WORD_SECONDS = 2.0


class Availability:
    """One server, by the `name` that people know. Its connections report their state.

    `is_explained()`: whether another log line gives the reason (sentinels that name no master).
    """

    def __init__(
        self, reactor: Clock, name: str, is_explained: Callable[[], bool] = lambda: False
    ) -> None:
        self._name = name
        self._is_explained = is_explained
        # Why each of its connections is down, by its purpose; what was logged since all were up,
        # and for which connection last.
        self._down: dict[str, str] = {}
        self._logged: set[str] = set()
        self._logged_by = ""
        self._was_up = False
        self._first_word = Debounced(reactor, FIRST_WORD_SECONDS, self._say_first_word)

    def start(self) -> None:
        self._first_word.request()

    def stop(self) -> None:
        self._first_word.cancel()

    def down(self, purpose: str, what: str, reason: str, *, unfit: bool) -> None:
        """A connection does not work. It is logged once until all of them work.

        Another reason is logged when the server is found unsuitable, or when the connection that
        was logged works again.
        """
        problem = f"{what}: {reason}"
        self._down[purpose] = problem
        other = unfit or self._logged_by not in self._down
        if not self._logged or (other and problem not in self._logged):
            self._logged_by = purpose
            self._log_problem(problem)

    def up(self, purpose: str) -> None:
        """A connection works."""
        self._down.pop(purpose, None)

    def all_up(self) -> None:
        """The server can be used."""
        self.stop()
        if self._logged:
            log.info("Redis at {name}: reconnected", name=self._name, event="redis.reconnected")
        elif not self._was_up:
            log.info("Redis at {name}: connected", name=self._name, event="redis.connected")
        self._was_up = True
        self._logged.clear()
        self._down.clear()

    def _say_first_word(self) -> None:
        if not self._logged and not self._is_explained():
            problem = "is unreachable: no answer yet"
            self._down[self._logged_by] = problem
            self._log_problem(problem)

    def _log_problem(self, problem: str) -> None:
        self._logged.add(problem)
        log.error(
            "Redis at {name} {problem}. Trying again until it is reachable.",
            name=self._name,
            problem=problem.rstrip("."),
            event="redis.unreachable",
        )
