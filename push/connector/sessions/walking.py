"""A look at every session of a connector that stops neither heartbeats nor messages meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from push.connector.sessions.device_session import DeviceSession
from push.runtime.ports import Clock
from push.runtime.timers import sleep

SESSIONS_PER_TURN = 500


async def walk(
    reactor: Clock,
    sessions: Mapping[str, DeviceSession],
    visit: Callable[[DeviceSession], None],
) -> None:
    """Call `visit` with each of the sessions that there are now, a slice of them in a turn of the
    reactor. Some may have ended when their turn comes."""
    devices = list(sessions.values())
    for start in range(0, len(devices), SESSIONS_PER_TURN):
        if start:
            await sleep(reactor, 0)
        for device in devices[start : start + SESSIONS_PER_TURN]:
            visit(device)
