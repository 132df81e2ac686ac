"""Connections that were accepted, and that nobody serves yet.

To accept one and to look at what it has brought takes a tenth of the time that serving it does.
So all are looked at when they come: one that shows a valid key, or asks for health, does not wait
behind strangers in the queue of the system, of which nobody can tell who is in it.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from itertools import islice
from typing import Any

from push.runtime.bounded_port import ListeningSocket
from push.wire.addresses import Networks, counted_ip, peer_ip

LOOKS_AT_ONCE = 128
_LOOK_BYTES = 2 * 1024
_LOOK = int(socket.MSG_PEEK | socket.MSG_DONTWAIT)


class Arrival:
    """A connection. `owner`: who seems to come, "" for a stranger. `line`: the name of the line in
    which it waits."""

    __slots__ = ("address", "is_silent", "line", "owner", "socket")

    def __init__(self, client: socket.socket, address: Any) -> None:
        self.socket = client
        self.address = address
        self.line = counted_ip(peer_ip(address[0]))
        self.owner = ""
        self.is_silent = True  # has brought nothing yet

    def look(self, owner_of: Callable[[bytes], str]) -> bool:
        """At what it has brought, which can still be read. False: it ended and brought nothing."""
        try:
            data = self.socket.recv(_LOOK_BYTES, _LOOK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        self.is_silent = False
        self.owner = owner_of(data) if data else ""
        return bool(data)


class ArrivalsSocket(ListeningSocket):
    """Gives to Twisted, which accepts from it, the connection that is `let_in`."""

    let_in: Arrival | None = None

    def accept(self) -> tuple[socket.socket, Any]:
        arrival, self.let_in = self.let_in, None
        if arrival is None:
            return super().accept()
        return arrival.socket, arrival.address

    def next_arrival(self) -> Arrival:
        """Raises OSError, BlockingIOError when none has come."""
        return Arrival(*socket.socket.accept(self))


class WaitingArrivals:
    """Those that wait, `most` at one time, in lines: strangers of an address, or connections of one
    that is known. Each line has its turn after the other.

    When there is no room, one more takes the place of the longest waiting of a line that has more
    than half of the places. (Not of the line of one of `proxies`, who stands for many strangers.)
    """

    def __init__(self, most: int, proxies: Networks) -> None:
        self._most = most
        self._proxies = proxies
        self._lines: dict[str, dict[Arrival, None]] = {}
        self.size = 0

    @property
    def is_full(self) -> bool:
        """Whether there is neither room nor a line that has more than half of it."""
        return self.size >= self._most and self._one_of_too_many() is None

    def _one_of_too_many(self) -> Arrival | None:
        line = max(self._lines.values(), key=len)
        first = next(iter(line))
        is_fair = len(line) <= self._most // 2 or peer_ip(first.address[0]) in self._proxies
        return None if is_fair else first

    def add(self, arrival: Arrival) -> None:
        if self.size >= self._most:
            longest_waiting = self._one_of_too_many()
            assert longest_waiting is not None, "it is full"
            self._remove(longest_waiting)
            longest_waiting.socket.close()
        self._lines.setdefault(arrival.line, {})[arrival] = None
        self.size += 1

    def _remove(self, arrival: Arrival) -> None:
        line = self._lines[arrival.line]
        del line[arrival]
        if not line:
            del self._lines[arrival.line]
        self.size -= 1

    def pop(self) -> Arrival:
        """The next; the other lines come before another one of its line."""
        name, line = next(iter(self._lines.items()))
        arrival = next(iter(line))
        self._remove(arrival)
        if line:
            self._lines[name] = self._lines.pop(name)
        return arrival

    def recognised(self, owner_of: Callable[[bytes], str]) -> list[Arrival]:
        """Those that had brought nothing, and now show who they are: they leave."""
        waiting = (each for line in self._lines.values() for each in line)
        silent = list(islice((each for each in waiting if each.is_silent), LOOKS_AT_ONCE))
        for arrival in silent:
            arrival.look(owner_of)
        found = [arrival for arrival in silent if arrival.owner]
        for arrival in found:
            self._remove(arrival)
        return found

    def close(self) -> None:
        while self.size:
            self.pop().socket.close()
