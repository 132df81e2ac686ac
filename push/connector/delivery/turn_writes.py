"""What sessions get in one turn of the reactor leaves in one write for each of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from push.connector.sessions.device_session import DeviceSession
from push.connector.transport.connection import write_to_all
from push.runtime.tasks import for_each
from push.session.entry import PART_BYTES
from push.session.transitions import State

_Parts = tuple[bytes, ...]


class TurnWrites:
    """Waits for the end of a turn; kept here and not with each connection, for nearly all wait for
    nothing."""

    def __init__(self) -> None:
        self._waiting: dict[DeviceSession, _Parts] = {}

    def add(self, devices: Iterable[DeviceSession], data: bytes) -> None:
        """`data` goes to each of `devices`, after what waits for it."""
        waiting, alone = self._waiting, (data,)
        for device in devices:
            parts = waiting.setdefault(device, alone)
            if parts is not alone:
                waiting[device] = parts = (*parts, data)
                if sum(map(len, parts)) > PART_BYTES:  # not too much at once
                    del waiting[device]
                    _write({device: parts})

    def write(self) -> None:
        """The turn ends."""
        waiting, self._waiting = self._waiting, {}
        _write(waiting)


def _write(waiting: Mapping[DeviceSession, _Parts]) -> None:
    """To those that may still be written to; the same parts to many at once."""
    closing = State.CLOSING
    groups: list[tuple[list[DeviceSession], _Parts]] = []
    alike: list[DeviceSession] = []
    last: _Parts = ()
    for device, parts in waiting.items():
        if device.send is None and device.protocol.state is closing:
            continue
        if parts is not last:
            alike, last = [], parts
            groups.append((alike, parts))
        alike.append(device)
    for_each(groups, lambda group: write_to_all(group[0], b"".join(group[1])))
