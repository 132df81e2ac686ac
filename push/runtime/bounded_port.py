"""A listening port that takes a bounded part of each turn of the reactor."""

from __future__ import annotations

import errno
import socket
from typing import Any

from twisted.internet import tcp

ACCEPTS_PER_TURN = 8
# Connections that ended while they waited are passed over, so many at once: each costs a few
# hundredths of a millisecond.
MOST_ENDED_AT_ONCE = 32
# States of a connection, in the system's `tcp_states.h`.
_CLOSED, _CLOSE_WAIT = 7, 8


class ListeningSocket(socket.socket):
    """Accepts connections that are still there.

    A flood of connections that are cut at once fills the queue of those that wait to be accepted:
    clients that come after them are to be seen soon.
    """

    def accept(self) -> tuple[socket.socket, Any]:
        """Raises OSError, BlockingIOError when there is none now."""
        for _ in range(MOST_ENDED_AT_ONCE):
            client, address = super().accept()
            if not has_ended(client):
                return client, address
            client.close()
        raise BlockingIOError(errno.EAGAIN, "those that were looked at have ended")


def has_ended(client: socket.socket) -> bool:
    """Whether the peer has reset the connection, or ended it without a byte."""
    if not hasattr(socket, "TCP_INFO"):  # not Linux
        return False
    try:
        state = client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
        if state == _CLOSE_WAIT:
            return not client.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except OSError:
        return True
    return state == _CLOSED


class BoundedPort(tcp.Port):
    """Accepts a few connections in a turn of the reactor, after the events of that turn.

    Twisted accepts more and more, hundreds before the first of them is read. Those would take a
    server's room, and those that came before would be ended for them.

    An event that the reactor works off may close a connection of which a later event, of the same
    look at the system, says that it ended. Accepted between the two, a new connection may get its
    descriptor, and the later event would end that one.
    """

    def createInternetSocket(self) -> socket.socket:
        made: socket.socket = super().createInternetSocket()  # type: ignore[no-untyped-call]  # Twisted has no types here
        listening = ListeningSocket(fileno=made.detach())
        listening.setblocking(False)
        return listening

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

    def doRead(self) -> None:
        self.reactor.callLater(0, self._accept_if_open)

    def _accept_if_open(self) -> None:
        if self.connected and not self.disconnecting:
            self.accept_some()

    def accept_some(self) -> None:
        """Accept those that wait, or see to it that it is done later."""
        super().doRead()  # type: ignore[no-untyped-call]  # as above
