"""Sessions that are over: what they acknowledged and that they have ended is stored with their
devices' records."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from push.connector.sessions.device_session import DeviceSession
from push.connector.sessions.sharded_streams import ShardedStreams
from push.devices.sessions import Sessions
from push.redis.connection.errors import StoreUnavailable
from push.runtime.ports import Clock
from push.runtime.timers import sleep

log = Logger()

AGAIN_SECONDS = 1.0


class SessionEnds:
    """`run` runs a coroutine whose errors are logged."""

    def __init__(
        self,
        reactor: Clock,
        sources: ShardedStreams,
        sessions: Sessions,
        run: Callable[[Coroutine[Any, Any, None]], Deferred[None]],
    ) -> None:
        self._reactor = reactor
        self._sources = sources
        self._sessions = sessions
        self._run = run
        self._stopping = False
        self._ends: dict[DeviceSession, Deferred[None]] = {}  # that are being stored

    def stop(self) -> None:
        """From now on the end of a session is tried once."""
        self._stopping = True

    def store(self, device: DeviceSession) -> None:
        """Begin to store the end of a session; one without a token has no record."""
        if device.token is not None:
            self._ends[device] = Deferred()
            self._run(self._close(device, device.token)).addBoth(lambda _: self._stored(device))

    async def are_stored(self) -> None:
        """Return when the ends of until now are stored, if Redis can be reached."""
        for stored in list(self._ends.values()):
            waiter: Deferred[None] = Deferred()
            stored.chainDeferred(waiter)
            await waiter

    def _stored(self, device: DeviceSession) -> None:
        """Or could not be at once."""
        stored = self._ends.pop(device, None)
        if stored is not None:
            stored.callback(None)

    async def _close(self, device: DeviceSession, token: str) -> None:
        subscriptions = [*device.subscriptions.values()]
        window = device.protocol.window
        while True:
            try:
                await self._sources.cursors.flush()
                left = window.tried(subscriptions, self._reactor.seconds()) if window else []
                await self._sessions.close(token, device.session_id, left)
                return
            except StoreUnavailable as error:
                self._stored(device)
                if self._stopping:
                    log.debug(
                        "A session's end was not stored: {reason}",
                        reason=error.reason,
                        event="session.end_not_stored",
                    )
                    return
            # Else the device would be online for as long as this connector is.
            await sleep(self._reactor, AGAIN_SECONDS)
