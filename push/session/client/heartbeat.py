"""How long a client may be silent on this network: found out, and remembered. Pure; no clock.

A heartbeat that is rare saves power; one that is too rare loses the connection without a sign,
because routers between the two ends forget a connection after some silence, each after its own
time. So the interval starts low. When `ANSWERS_TO_GROW` heartbeats in a row were answered after a
whole interval of silence, it grows by a quarter of what is left up to the longest possible. When
one is not answered, it goes back to what was proven, and what failed is the ceiling from now on.
A network may only have been out of reach: after `ANSWERS_TO_FORGET` more answers the ceiling goes.
"""

from __future__ import annotations

from collections.abc import MutableMapping

LEAST_SECONDS = 10
FIRST_SECONDS = 30
MOST_SECONDS = 1800
ANSWERS_TO_GROW = 3
ANSWERS_TO_FORGET = 30
SMALLEST_STEP_SECONDS = 5
GROWTH_DIVISOR = 4  # a quarter of the remaining range
_TOLERANCE_SECONDS = 1.0  # a timer that rings early


class AdaptiveHeartbeat:
    """It outlives connections: hand the same object to every session of a client.

    `remembered`: the interval in seconds by the name of the network. Any mapping will do; one
    that an application stores keeps the intervals over a restart.
    """

    def __init__(
        self, remembered: MutableMapping[str, int] | None = None, network: str = ""
    ) -> None:
        self.remembered: MutableMapping[str, int] = {} if remembered is None else remembered
        self._least, self._most = LEAST_SECONDS, MOST_SECONDS
        self._network = network
        self._proven = 0
        self._interval = FIRST_SECONDS
        self._ceiling: int | None = None
        self._answers = 0
        self._begin_network(network)

    @property
    def network(self) -> str:
        return self._network

    @network.setter
    def network(self, name: str) -> None:
        if name != self._network:
            self._begin_network(name)

    @property
    def interval_seconds(self) -> int:
        """What to ask the server for."""
        return min(max(self._interval, self._least), self._most)

    def begin_session(self) -> None:
        """Another server may have other bounds."""
        self._least, self._most = LEAST_SECONDS, MOST_SECONDS

    def granted(self, asked_seconds: int, held_seconds: int) -> None:
        """The server clamps what is asked for: that shows its bounds."""
        if held_seconds < asked_seconds:
            self._most = held_seconds
            self._least = min(self._least, held_seconds)
        elif held_seconds > asked_seconds:
            self._least = held_seconds
            self._most = max(self._most, held_seconds)

    def answered(self, silent_seconds: float) -> bool:
        """A heartbeat after so much silence in both directions was answered: whether the interval
        grew.

        With less silence than the interval it proves nothing: other traffic kept the connection.
        """
        if silent_seconds + _TOLERANCE_SECONDS < self.interval_seconds:
            return False
        self._interval = self.interval_seconds
        self._answers += 1
        if self._interval > self._proven:
            self._proven = self._interval
            self.remembered[self._network] = self._interval
        if self._ceiling is not None and self._answers >= ANSWERS_TO_FORGET:
            self._ceiling = None
        step = self._step()
        if self._answers < ANSWERS_TO_GROW or step < SMALLEST_STEP_SECONDS:
            return False
        self._interval += step
        self._answers = 0
        return True

    def missed(self, silent_seconds: float) -> None:
        """A heartbeat after so much silence in both directions was not answered."""
        if silent_seconds + _TOLERANCE_SECONDS < self.interval_seconds:
            return  # it was not the silence
        failed = self.interval_seconds
        self._ceiling = failed if self._ceiling is None else min(failed, self._ceiling)
        if not 0 < self._proven < failed:
            self._proven = 0
        self._interval = self._proven or max(failed // 2, LEAST_SECONDS)
        self._answers = 0
        self.remembered[self._network] = self._interval

    def _step(self) -> int:
        top = self._most if self._ceiling is None else min(self._most, self._ceiling)
        return (top - self._interval) // GROWTH_DIVISOR

    def _begin_network(self, name: str) -> None:
        self._network = name
        self._proven = _usable(self.remembered.get(name))
        self._interval = self._proven or FIRST_SECONDS
        self._ceiling = None
        self._answers = 0


def _usable(remembered: object) -> int:
    """0 for what was not remembered by this class."""
    if not isinstance(remembered, int) or isinstance(remembered, bool):
        return 0
    return remembered if LEAST_SECONDS <= remembered <= MOST_SECONDS else 0
