"""A listening port that takes a bounded part of each turn of the reactor."""

from __future__ import annotations

from twisted.internet import tcp

ACCEPTS_PER_TURN = 8


class BoundedPort(tcp.Port):
    """Accepts a few connections in a turn of the reactor.

    Twisted accepts more and more, hundreds before the first of them is read. Those would take a
    server's room, and those that came before would be ended for them.
    """

    def accepts_now(self) -> int:
        """How many may be accepted in this turn."""
        return ACCEPTS_PER_TURN

    @property
    def numberAccepts(self) -> int:
        """How many Twisted accepts in a turn."""
        return self.accepts_now()

    @numberAccepts.setter
    def numberAccepts(self, _number: int) -> None:
        """What Twisted makes of it is not asked for."""
