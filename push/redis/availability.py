"""What the log says of a server's coming and going: one line each, however many connections it has.

The first state is said as well. A server that is unreachable when a daemon starts would otherwise
be a silence of which nobody knows the reason.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.logger import Logger

from push.runtime.ports import Clock
from push.runtime.timers import Debounced

log = Logger()

# An address that answers nothing at all fails after the time-out only. So late is too late for a
# first word; a sentinel that is asked in vain has said so by then.
FIRST_WORD_SECONDS = 2.0


class Availability:
    """One server, by the `name` that people know. Its connections report what happens to them.

    `is_explained()`: whether the log has the reason from elsewhere (sentinels that name no master).
    """

    def __init__(
        self, reactor: Clock, name: str, is_explained: Callable[[], bool] = lambda: False
    ) -> None:
        self._name = name
        self._is_explained = is_explained
        # Why each of its connections is down, by its purpose; what the log says since all were up,
        # and of which connection last.
        self._down: dict[str, str] = {}
        self._told: set[str] = set()
        self._told_by = ""
        self._was_up = False
        self._first_word = Debounced(reactor, FIRST_WORD_SECONDS, self._say_first_word)

    def start(self) -> None:
        self._first_word.request()

    def stop(self) -> None:
        self._first_word.cancel()

    def down(self, purpose: str, what: str, reason: str, *, unfit: bool) -> None:
        """A connection does not work. Told once until all do.

        Another reason is news when the server is found unfit, or when the connection that the log
        told of works meanwhile.
        """
        problem = f"{what}: {reason}"
        self._down[purpose] = problem
        other = unfit or self._told_by not in self._down
        if not self._told or (other and problem not in self._told):
            self._told_by = purpose
            self._tell(problem)

    def up(self, purpose: str) -> None:
        """A connection works."""
        self._down.pop(purpose, None)

    def all_up(self) -> None:
        """The server can be used."""
        self.stop()
        if self._told:
            log.info("Redis at {name} is back", name=self._name)
        elif not self._was_up:
            log.info("Redis at {name}: connected", name=self._name)
        self._was_up = True
        self._told.clear()
        self._down.clear()

    def _say_first_word(self) -> None:
        if not self._told and not self._is_explained():
            problem = "is away: no answer yet"
            self._down[self._told_by] = problem
            self._tell(problem)

    def _tell(self, problem: str) -> None:
        self._told.add(problem)
        log.error(
            "Redis at {name} {problem}. Trying again until it is back.",
            name=self._name,
            problem=problem.rstrip("."),
        )
