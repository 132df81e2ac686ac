"""What sessions get in one turn of the reactor leaves in one write for each of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from push.connector.sessions.device_session import Connection
from push.connector.transport.connection import write_to_all
from push.session.entry import PART_BYTES
from push.session.transitions import State

_Parts = tuple[bytes, ...]


class TurnWrites:
    """Waits for the end of a turn; kept here and not with each connection, for nearly all wait for
    nothing."""

    def __init__(self) -> None:
        self._waiting: dict[Connection, _Parts] = {}

    def add(self, connections: Iterable[Connection], data: bytes) -> None:
        """`data` goes to each of `connections`, after what waits for it."""
        waiting, alone = self._waiting, (data,)
        for connection in connections:
            parts = waiting.setdefault(connection, alone)
            if parts is not alone:
                waiting[connection] = parts = (*parts, data)
                if sum(map(len, parts)) > PART_BYTES:  # not too much at once
                    del waiting[connection]
                    _write({connection: parts})

    def write(self) -> None:
        """The turn ends."""
        waiting, self._waiting = self._waiting, {}
        _write(waiting)


def _write(waiting: Mapping[Connection, _Parts]) -> None:
    """To those that may still be written to; the same parts to many at once."""
    closing = State.CLOSING
    alike: list[Connection] = []
    last: _Parts = ()
    for connection, parts in waiting.items():
        if connection.protocol.state is closing:
            continue
        if parts is not last and alike:
            write_to_all(alike, b"".join(last))
            alike = []
        last = parts
        alike.append(connection)
    if alike:
        write_to_all(alike, b"".join(last))
